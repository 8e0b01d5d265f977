"""One sweep by one tool in a process of its own, timed; prints a JSON line.

    python tests/benchmarks/speed_tools.py TOOL MODEL --updates N --device cpu [--sweeps 1]

Every tool trains the same model on the same batches with the same optimizer, from MIN_LR to MAX_LR in N updates: rates
so low that nobody stops early. A tool is only imported in its own process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import logging
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MIN_LR, MAX_LR = 1e-7, 1e-4
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

Names = dict[str, Any]


def bare(names: Names, updates: int, device: str) -> None:
    """The loop that a sweep can't do without: no finder, the losses stay on the device until the end."""
    import torch

    model = names["model"]().to(device)
    optimizer = names["optimizer"](model.parameters(), MIN_LR)
    losses = torch.empty(updates, device=device)
    batches = _forever(names["train_loader"])
    for step, (inputs, target) in enumerate(itertools.islice(batches, updates)):
        for group in optimizer.param_groups:
            group["lr"] = MIN_LR * (MAX_LR / MIN_LR) ** (step / (updates - 1))
        optimizer.zero_grad()
        loss = names["loss_fn"](model(inputs.to(device)), target.to(device))
        losses[step].copy_(loss.detach())
        loss.backward()
        optimizer.step()
    losses.tolist()


def lrfinder(names: Names, updates: int, device: str) -> None:
    """Our continuous sweep as the command makes it: with the run folder and the progress."""
    import lrfinder as package

    with tempfile.TemporaryDirectory() as folder:
        package.sweep(
            names["model"],
            **{key: value for key, value in names.items() if key != "model"},
            min_lr=MIN_LR,
            max_lr=MAX_LR,
            steps=updates,
            repeats=1,
            mode="continuous",
            device=device,
            out=Path(folder) / "run",
            progress=True,
        )


def torch_lr_finder(names: Names, updates: int, device: str) -> None:
    """torch-lr-finder's `range_test`, `reset` and suggestion."""
    import matplotlib as mpl
    from torch_lr_finder import LRFinder

    mpl.use("Agg")
    model = names["model"]()
    finder = LRFinder(model, names["optimizer"](model.parameters(), MIN_LR), names["loss_fn"], device=device)
    finder.range_test(names["train_loader"], start_lr=MIN_LR, end_lr=MAX_LR, num_iter=updates)
    finder.plot(ax=mpl.figure.Figure().subplots())
    finder.reset()


def fastai(names: Names, updates: int, device: str) -> None:
    """fastai's `lr_find`."""
    import torch
    from fastai.callback.schedule import valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    loader = names["train_loader"]
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(loader, loader, path=folder, device=torch.device(device)),
            names["model"]().to(device),
            loss_func=names["loss_fn"],
            opt_func=lambda params, lr, **_: OptimWrapper(opt=names["optimizer"](list(params), lr)),
            path=folder,
        )
        with learner.no_bar(), learner.no_logging():
            learner.lr_find(start_lr=MIN_LR, end_lr=MAX_LR, num_it=updates, show_plot=False, suggest_funcs=(valley,))


def lightning(names: Names, updates: int, device: str) -> None:
    """Lightning's Tuner."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lr = names["model"](), MIN_LR

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return names["loss_fn"](self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return names["optimizer"](self.parameters(), self.lr)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with tempfile.TemporaryDirectory() as folder:
        accelerator = "gpu" if device.startswith("cuda") else "cpu"
        trainer = Trainer(accelerator=accelerator, devices=1, max_epochs=updates, default_root_dir=folder, **quiet)
        found = Tuner(trainer).lr_find(
            Module(),
            train_dataloaders=names["train_loader"],
            min_lr=MIN_LR,
            max_lr=MAX_LR,
            num_training=updates,
            update_attr=False,
        )
        assert found is not None
        found.suggestion()


def ignite(names: Names, updates: int, device: str) -> None:
    """ignite's FastaiLRFinder over its own supervised trainer."""
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    model = names["model"]().to(device)
    optimizer = names["optimizer"](model.parameters(), MIN_LR)
    trainer = create_supervised_trainer(model, optimizer, names["loss_fn"], device=device)
    finder = FastaiLRFinder()
    with finder.attach(
        trainer,
        to_save={"model": model, "optimizer": optimizer},
        num_iter=updates,
        start_lr=MIN_LR,
        end_lr=MAX_LR,
    ) as attached:
        attached.run(names["train_loader"], max_epochs=updates)
    with contextlib.suppress(RuntimeError):  # "unexpected curve shape"
        finder.lr_suggestion()


TOOLS: dict[str, Callable[[Names, int, str], None]] = {
    "bare": bare,
    "lrfinder": lrfinder,
    "torch-lr-finder": torch_lr_finder,
    "fastai": fastai,
    "lightning": lightning,
    "ignite": ignite,
}


def _forever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _device_seconds(events: list[Any]) -> float:
    return events[0].elapsed_time(events[-1]) / 1e3 / (len(events) - 1)


def measure(tool: str, model: str, updates: int, device: str, sweeps: int = 1) -> dict[str, Any]:
    """Run the tool, and return what it took: seconds an update (wall and processor), updates, device memory in MB.

    Several sweeps are made one after the other, each with a seed of its own; the first one is timed.

    On a GPU `mean_s` is the device's own time from the beginning of one forward pass to that of the next: the host
    runs ahead of it, so the host's clock says nothing.
    """
    import speed_models
    import torch

    torch.set_num_threads(1)
    names = getattr(speed_models, model)()
    on_gpu = device.startswith("cuda")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of few workers, of deprecated functions: the tools' own to mend
        for seed in range(sweeps):
            torch.manual_seed(seed)
            TOOLS[tool](names, updates, device)
    if on_gpu:
        torch.cuda.synchronize()
    starts = speed_models.STARTS[:updates]
    pairs = list(itertools.pairwise(starts))[len(starts) // 10 :]  # the first ones warm up
    first = len(starts) - len(pairs) - 1
    wall, processor = ([after[clock] - before[clock] for before, after in pairs] for clock in (0, 1))
    return {
        "updates": len(starts) if sweeps == 1 else len(speed_models.STARTS),
        "median_s": statistics.median(wall),
        "mean_s": _device_seconds(speed_models.EVENTS[first:updates]) if on_gpu else statistics.fmean(wall),
        "processor_s": statistics.median(processor),
        "device_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("model")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sweeps", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(measure(given.tool, given.model, given.updates, given.device, given.sweeps)))
