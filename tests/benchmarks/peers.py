"""What the peers' released packages suggest for a task, each by its public interface and with its own defaults.

And the other ways to a rate that people use: what each does from nothing to a trained model is in `END_TO_END`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import matplotlib as mpl
import torch
from torch import nn
from torch.utils.data import DataLoader
from training import loss_of

mpl.use("Agg")

UPDATES = 100  # every finder's default length
MIN_LR = 1e-7  # torch-lr-finder and ignite begin at the optimizer's own rate, fastai at 1e-7, lightning at 1e-8
MAX_LR = 10.0  # torch-lr-finder, fastai and ignite; lightning ends at 1


class Whole(nn.Module):
    """A task's model together with its loss, so that every task looks alike to a peer: batch in, loss out."""

    def __init__(self, task: ModuleType) -> None:
        super().__init__()
        self.task = task
        self.model = task.model()

    def forward(self, *parts: Any) -> torch.Tensor:
        """Return the loss of a batch, given as one tuple or as its parts."""
        batch = parts[0] if len(parts) == 1 and isinstance(parts[0], list | tuple) else list(parts)
        return loss_of(self.task, self.model, batch)


class Wrapped:
    """A loader whose batches end with a target that nobody needs; `nested`: the rest is one input, not several."""

    def __init__(self, loader: DataLoader[Any], *, nested: bool) -> None:
        self.loader, self.nested = loader, nested
        self.dataset, self.batch_size = loader.dataset, loader.batch_size

    def __iter__(self) -> Iterator[Any]:
        none = torch.zeros(1)
        for batch in self.loader:
            yield (tuple(batch), none) if self.nested else (*batch, none)

    def __len__(self) -> int:
        return len(self.loader)


def as_it_is(output: torch.Tensor, *_: Any) -> torch.Tensor:
    """Return the loss that the model computed."""
    return output


def torch_lr_finder(task: ModuleType) -> dict[str, float | None]:
    """torch-lr-finder's `range_test` and the suggestion of its plot."""
    from torch_lr_finder import LRFinder, TrainDataLoaderIter

    class Batches(TrainDataLoaderIter):
        def inputs_labels_from_batch(self, batch_data: Any) -> Any:
            return batch_data

    whole = Whole(task)
    loader = task.train_loader()
    inner = loader.collate_fn
    wrapped = DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        shuffle=True,
        drop_last=loader.drop_last,
        collate_fn=lambda samples: (tuple(inner(samples)), torch.zeros(1)),
    )
    finder = LRFinder(whole, task.optimizer(whole.parameters(), MIN_LR), as_it_is, device="cpu")
    finder.range_test(Batches(wrapped), end_lr=MAX_LR, num_iter=UPDATES)
    try:
        _, rate = finder.plot(ax=mpl.figure.Figure().subplots())
    except (RuntimeError, ValueError):  # it refuses short curves
        rate = None
    return {"torch-lr-finder": rate}


def ignite(task: ModuleType) -> dict[str, float | None]:
    """ignite's FastaiLRFinder."""
    from ignite.engine import Engine
    from ignite.handlers import FastaiLRFinder

    whole = Whole(task)
    optimizer = task.optimizer(whole.parameters(), MIN_LR)

    def update(_engine: Engine, batch: Any) -> float:
        optimizer.zero_grad()
        loss = whole(tuple(batch))
        loss.backward()
        optimizer.step()
        return loss.item()

    finder = FastaiLRFinder()
    saved = {"model": whole, "optimizer": optimizer}
    with finder.attach(Engine(update), to_save=saved, num_iter=UPDATES, end_lr=MAX_LR) as trainer:
        trainer.run(task.train_loader(), max_epochs=UPDATES)
    try:
        return {"ignite": finder.lr_suggestion()}
    except RuntimeError:  # "unexpected curve shape"
        return {"ignite": None}


def lightning(task: ModuleType) -> dict[str, float | None]:
    """Lightning's Tuner."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.whole, self.lr = Whole(task), 1e-3

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return self.whole(tuple(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return task.optimizer(self.parameters(), self.lr)

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(accelerator="cpu", max_epochs=UPDATES, default_root_dir=folder, **quiet)
        finder = Tuner(trainer).lr_find(Module(), train_dataloaders=task.train_loader(), update_attr=False)
    return {"lightning": None if finder is None else finder.suggestion()}


def fastai(task: ModuleType) -> dict[str, float | None]:
    """fastai's `lr_find` with its four rules."""
    from fastai.callback import schedule
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    names = ("valley", "slide", "minimum", "steep")

    def guarded(name: str) -> Callable[..., Any]:
        def suggest(lrs: torch.Tensor, losses: torch.Tensor, num_it: int) -> tuple[Any, Any]:
            try:
                return getattr(schedule, name)(lrs, losses, num_it)
            except (IndexError, ValueError, RuntimeError):  # too few losses: it has no check of its own
                return None, None

        suggest.__name__ = name
        return suggest

    def opt_func(params: Iterable[Any], lr: float, **_: Any) -> Any:
        return OptimWrapper(opt=task.optimizer(list(params), lr))

    loader = Wrapped(task.train_loader(), nested=False)
    with tempfile.TemporaryDirectory() as folder:
        loaders = DataLoaders(loader, loader, path=folder, device=torch.device("cpu"))
        learner = Learner(loaders, Whole(task), loss_func=as_it_is, opt_func=opt_func, path=folder)
        with learner.no_bar(), learner.no_logging():
            found = learner.lr_find(show_plot=False, suggest_funcs=tuple(guarded(name) for name in names))
    return {f"fastai {name}": rate for name, rate in zip(names, found, strict=True)}


FINDERS: Mapping[str, Callable[[ModuleType], dict[str, float | None]]] = {
    "torch-lr-finder": torch_lr_finder,
    "fastai": fastai,
    "lightning": lightning,
    "ignite": ignite,
}


def suggestions(task: ModuleType, seed: int) -> dict[str, float | None]:
    """Return what every finder suggests, each from a model and an order of batches seeded by `seed`."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found: dict[str, float | None] = {}
    for finder in FINDERS.values():
        torch.manual_seed(seed)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            with contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")  # of deprecated torch functions, of few workers: theirs to mend
                found |= finder(task)
    return {name: None if rate is None else float(rate) for name, rate in found.items()}


def default_rate(task: ModuleType) -> float:
    """Return the rate that the task's optimizer takes when it is given none."""
    made = task.optimizer(task.model().parameters(), 1e-3)
    return float(type(made)(task.model().parameters()).defaults["lr"])


def cosine(steps: int) -> Callable[[int], float]:
    """Return torch's CosineAnnealingLR to zero, as a factor of the peak."""
    return _factors(lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps), steps)


def one_cycle(steps: int) -> Callable[[int], float]:
    """Return fastai's `fit_one_cycle`: a quarter of the run up from 1/25 of the peak, then down to 1e-5 of it.

    By torch's OneCycleLR, whose final rate is a share of the initial one; fastai's momentum cycle is left out.
    """
    shape = {"pct_start": 0.25, "div_factor": 25.0, "final_div_factor": 1e5 / 25.0, "cycle_momentum": False}
    return _factors(lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 1.0, steps, **shape), steps)


def _factors(make: Callable[[Any], Any], steps: int) -> Callable[[int], float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, factors = make(optimizer), []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(factors) < steps:
            schedule.step()
    return lambda update: factors[min(update, steps - 1)]


def prodigy(params: Any, _rate: float) -> torch.optim.Optimizer:
    """Prodigy, which finds its own rate; 1.0 is what its authors give it."""
    from prodigyopt import Prodigy

    return Prodigy(params, lr=1.0)


def schedule_free(params: Any, _rate: float) -> torch.optim.Optimizer:
    """Schedule-free AdamW at its default rate."""
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(params)
    optimizer.train()
    return optimizer
