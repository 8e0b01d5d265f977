"""What is as it was after a range test, by lrfinder, torch-lr-finder and Lightning: `make restoration`.

Each finder sweeps the same live model, optimizer and loader, called as its own documentation shows (torch-lr-finder:
`range_test`, then `reset`; Lightning: `Tuner.lr_find`). Each thing is compared bit for bit with what it was before.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS = 40
FAILS_AT = 25
EXITS = ("finished", "diverged", "exception", "Ctrl-C", "twice")


class Net(nn.Module):
    """A batch norm, dropout, a buffer that isn't saved, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
        self.frozen = nn.Linear(3, 3).requires_grad_(False).eval()
        self.register_buffer("running", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.frozen(self.body(x))
        self.running = 0.9 * self.running + 0.1 * out.detach().mean(0)
        return out


class World:
    """Everything that a user has at hand, trained a little before."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = Net()
        self.optimizer = torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=1e-3)
        data = TensorDataset(torch.randn(256, 8), torch.randint(0, 3, (256,)))
        self.loader = DataLoader(data, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1))
        self.model.body[2].eval()  # one layer is in another mode than the rest
        for x, y in itertools.islice(self.loader, 3):
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()

    def seen(self) -> dict[str, Any]:
        """Return what must not change, by the name of its class."""
        model, optimizer = self.model, self.optimizer
        return {
            "weights": bits(model.parameters()),
            "batch norm statistics": bits(model.body[1].buffers()),
            "buffers that aren't saved": bits([model.running]),
            "optimizer state": bits(
                value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)
            ),
            "optimizer settings": repr([{**group, "params": len(group["params"])} for group in optimizer.param_groups]),
            "gradients": bits(p.grad if p.grad is not None else torch.empty(0) for p in model.parameters()),
            "modes of layers": [module.training for module in model.modules()],
            "what is frozen": [p.requires_grad for p in model.parameters()],
            "the sampler's generator": bits([self.loader.generator.get_state()]),
            "Python's and NumPy's generators": repr((random.getstate(), np.random.get_state())),  # noqa: NPY002
            "torch's generator": bits([torch.get_rng_state()]),
        }


def bits(tensors: Any) -> list[bytes]:
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def loss_that(how: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a loss that ends a sweep that way."""
    calls = itertools.count()

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        random.random(), np.random.random()  # noqa: NPY002, S311 - as an augmentation would
        value = nn.functional.cross_entropy(output, target)
        if next(calls) < FAILS_AT:
            return value
        if how == "exception":
            raise ValueError("no good")
        if how == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        return value + 1e4 if how == "diverged" else value

    return loss


def by_lrfinder(world: World, how: str) -> None:
    import lrfinder

    lrfinder.sweep(
        world.model,
        train_loader=world.loader,
        loss_fn=loss_that(how),
        optimizer=world.optimizer,
        steps=STEPS,
        repeats=1,
        device="cpu",
    )


def by_torch_lr_finder(world: World, how: str) -> None:
    from torch_lr_finder import LRFinder

    finder = LRFinder(world.model, world.optimizer, loss_that(how), device="cpu")
    finder.range_test(world.loader, end_lr=10, num_iter=STEPS)
    finder.reset()


def by_lightning(world: World, how: str) -> None:
    import lightning
    from lightning.pytorch.tuner import Tuner

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lr, self.loss = world.model, 1e-3, loss_that(how)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self.loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return world.optimizer

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    Tuner(trainer).lr_find(Module(), train_dataloaders=world.loader, num_training=STEPS, update_attr=False)


FINDERS = {"lrfinder": by_lrfinder, "torch-lr-finder": by_torch_lr_finder, "Lightning": by_lightning}


def changed_by(finder: str, how: str) -> set[str]:
    """Return the classes of things that are not as they were after a sweep that ends that way."""
    world = World()
    before = world.seen()
    for _ in range(2 if how == "twice" else 1):
        with contextlib.suppress(ValueError, KeyboardInterrupt, SystemExit):  # the exit that was asked for
            FINDERS[finder](world, "finished" if how == "twice" else how)
    after = world.seen()
    return {name for name in before if before[name] != after[name]}


def table() -> dict[str, dict[tuple[str, str], bool]]:
    """Return, for each class of thing, whether it is as it was, by finder and exit."""
    rows: dict[str, dict[tuple[str, str], bool]] = {name: {} for name in World().seen()}
    for finder, how in itertools.product(FINDERS, EXITS):
        changed = changed_by(finder, how)
        for name, row in rows.items():
            row[finder, how] = name not in changed
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch, Path(os.devnull).open("w") as nowhere:
        os.chdir(scratch)
        out, sys.stdout, sys.stderr = sys.stdout, nowhere, nowhere  # the finders talk
        try:
            rows = table()
        finally:
            sys.stdout, sys.stderr = out, sys.__stderr__
    print(f"| as it was after a sweep that ended: {', '.join(EXITS)} | {' | '.join(FINDERS)} |")
    print("| --- " * (1 + len(FINDERS)) + "|")
    for name, row in rows.items():
        cells = (" ".join("yes" if row[finder, how] else "NO" for how in EXITS) for finder in FINDERS)
        print(f"| {name} | {' | '.join(cells)} |")
    for finder in FINDERS:
        kept = sum(row[finder, how] for row in rows.values() for how in EXITS)
        print(f"{finder}: {kept} of {len(rows) * len(EXITS)}")


if __name__ == "__main__":
    main()
