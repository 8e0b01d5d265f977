"""Each peer's rule against the real package: the same scripted losses go through the peer's own sweep and ours."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder.rules.peers import PEER_RULES
from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.fastai import fastai_curve

mpl.use("Agg")


def _realistic(steps: int, *, noise: float = 0.0, seed: int = 0, blow_up: float = 0.1) -> list[float]:
    """A plateau, a fall by two thirds in the middle of the sweep, and a rise from four fifths of it on."""
    at = np.linspace(0, 1, steps)
    losses = 2.4 - 1.6 / (1 + np.exp(-25 * (at - 0.55))) + blow_up * np.expm1(np.clip(at - 0.8, 0, None) * 35)
    return list(losses * (1 + noise * np.random.default_rng(seed).standard_normal(steps)))


_NOISE = np.random.default_rng(8).standard_normal(100)
CURVES = {
    "smooth": _realistic(100),
    "long": _realistic(300, noise=0.1),
    **{f"noisy-{seed}": _realistic(100, noise=0.15, seed=seed) for seed in range(5)},
    "diverging": _realistic(100, noise=0.05, blow_up=5),
    "diverging-late": [*_realistic(90, noise=0.05, blow_up=0), 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12],
    "diverging-early": [1.0, 0.9, 0.8, *[1e6] * 60],
    "spike-first": [90.0, *_realistic(99, noise=0.05)],
    "constant": [0.7] * 60,
    "rising": list(np.linspace(1, 2, 80)),
    "falling": list(np.geomspace(3, 0.01, 100)),
    "noise-only": list(1 + 0.02 * _NOISE),
    "turning-negative": list(np.linspace(1, -2, 90)),
    # Humps whose smoothed height lies between four and five times the lowest, in one of the smoothings each: the steep
    # fall behind a hump is seen by a peer only if the hump didn't end its sweep.
    **{f"hump-{height}": [*[0.1] * 30, *[height] * 40, *[0.0] * 30] for height in (0.27, 0.5, 0.58)},
    "negative": list(-1 - 0.1 * _NOISE),
    "late-dent": [*np.linspace(1, 1.2, 60), 1.19, *np.linspace(1.21, 1.4, 30)],
    "infinite-last": [*_realistic(80, noise=0.05), 3e38, 3e38, 3e38],
    "near-zero": list(1e-9 * np.abs(_NOISE)),
    "12-updates": _realistic(12),
    "13-updates": _realistic(13),
    "16-updates": _realistic(16, noise=0.1),
    "17-updates": _realistic(17, noise=0.1),
    "22-updates": _realistic(22, noise=0.1),
    "5-updates": _realistic(5),
}
# As losses come from torch: single precision.
CURVES = {name: [float(np.float32(loss)) for loss in losses] for name, losses in CURVES.items()}
MIN_LR, MAX_LR = 1e-7, 10.0


@contextlib.contextmanager
def peers_own_warnings() -> Iterator[None]:
    """The peers warn of deprecated torch functions, of few workers, and so on: theirs to mend, not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scripted(losses: Sequence[float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A loss that returns the given values in turn, with a gradient of zero for any output."""
    values = iter(losses)
    return lambda output: output.sum() * 0 + next(values)


def batches(count: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(torch.ones(count, 1), torch.ones(count, 1)), batch_size=1)


def none_where_refused(suggestion: Callable[[], float], message: str) -> float | None:
    try:
        return suggestion()
    except RuntimeError as error:
        if message not in str(error):
            raise
        return None


def peer_curves(recorded_lrs: Sequence[float], losses: Sequence[float]) -> tuple[PeerCurve, PeerCurve]:
    """The losses that the peer recorded, and all scripted ones, with rates that go on rising where it stopped early.

    A rule must give the same rate for both: it ends the sweep where the peer does, and knows the length asked for.
    """
    beyond = (recorded_lrs[-1] * 1.2**i for i in itertools.count(1))
    lrs = itertools.islice(itertools.chain(recorded_lrs, beyond), len(losses))
    whole = PeerCurve(lrs=tuple(lrs), losses=tuple(losses), steps=len(losses))
    recorded = tuple(recorded_lrs)[: len(losses)]
    return PeerCurve(lrs=recorded, losses=whole.losses[: len(recorded)], steps=whole.steps), whole


@pytest.mark.parametrize("losses", CURVES.values(), ids=CURVES)
def test_torch_lr_finder(losses: list[float]) -> None:
    with peers_own_warnings():
        from torch_lr_finder import LRFinder

        model = nn.Linear(1, 1)
        loss = scripted(losses)
        optimizer = torch.optim.SGD(model.parameters(), lr=MIN_LR)
        finder = LRFinder(model, optimizer, lambda output, _target: loss(output), device="cpu")
        finder.range_test(batches(4), end_lr=MAX_LR, num_iter=len(losses))
        figure = mpl.figure.Figure()
        theirs = none_where_refused(lambda: finder.plot(ax=figure.subplots())[1], "Need at least 17 iterations")
    for curve in peer_curves(finder.history["lr"], losses):
        assert PEER_RULES["torch-lr-finder"].suggest(curve) == theirs


@pytest.mark.parametrize("losses", CURVES.values(), ids=CURVES)
def test_ignite(losses: list[float]) -> None:
    with peers_own_warnings():
        from ignite.engine import Engine
        from ignite.handlers import FastaiLRFinder

        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=MIN_LR)
        loss = scripted(losses)
        trainer = Engine(lambda _engine, batch: loss(batch))
        finder = FastaiLRFinder()
        with finder.attach(trainer, to_save={"model": model, "optimizer": optimizer}, end_lr=MAX_LR) as attached:
            attached.run(torch.ones(len(losses), 1), max_epochs=1)
        theirs = none_where_refused(finder.lr_suggestion, "unexpected curve shape")
    for curve in peer_curves(finder.get_results()["lr"], losses):
        assert PEER_RULES["ignite"].suggest(curve) == theirs


@pytest.mark.as_pinned("lightning")  # 2.5 suggests other rates
@pytest.mark.parametrize("losses", CURVES.values(), ids=CURVES)
def test_lightning(losses: list[float], tmp_path: Path) -> None:
    with peers_own_warnings():
        from lightning.pytorch import LightningModule, Trainer
        from lightning.pytorch.tuner import Tuner

        class Scripted(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.lr, self.loss = nn.Linear(1, 1), MIN_LR, scripted(losses)

            def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
                return self.loss(self.layer(batch[0]))

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=self.lr)

        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = Trainer(accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, **quiet)
        finder = Tuner(trainer).lr_find(
            Scripted(), train_dataloaders=batches(len(losses)), num_training=len(losses), update_attr=False
        )
        assert finder is not None
        theirs = finder.suggestion()
    for curve in peer_curves(finder.results["lr"], losses):
        assert PEER_RULES["lightning"].suggest(curve) == theirs


@pytest.mark.parametrize("losses", CURVES.values(), ids=CURVES)
def test_fastai(losses: list[float], tmp_path: Path) -> None:
    rules = ("valley", "slide", "minimum", "steep")
    with peers_own_warnings():
        from fastai.callback import schedule
        from fastai.data.core import DataLoaders
        from fastai.learner import Learner

        seen: dict[str, torch.Tensor] = {}

        def guarded(name: str) -> Callable[..., Any]:
            def suggest(lrs: torch.Tensor, smoothed: torch.Tensor, num_it: int) -> tuple[Any, Any]:
                seen.update(lrs=lrs, losses=smoothed)
                try:
                    return getattr(schedule, name)(lrs, smoothed, num_it)
                except (IndexError, ValueError, RuntimeError):  # too few losses: fastai has no check of its own
                    return None, None

            suggest.__name__ = name
            return suggest

        loss = scripted([*losses, *[losses[-1]] * 6])  # fastai makes at least six updates
        loaders = DataLoaders(batches(len(losses)), batches(1), path=tmp_path)
        learner = Learner(loaders, nn.Linear(1, 1), loss_func=lambda output, _target: loss(output), path=tmp_path)
        theirs = learner.lr_find(
            num_it=len(losses), show_plot=False, suggest_funcs=tuple(guarded(name) for name in rules)
        )
    for curve in peer_curves(learner.recorder.lrs, losses):
        if len(losses) > 5:
            assert_same_as_fastai(curve, seen, theirs._asdict())
        else:  # fastai makes six updates, of which one is left; ours has none left
            assert all(PEER_RULES[name].suggest(curve) is None for name in rules)


def assert_same_as_fastai(curve: PeerCurve, seen: dict[str, torch.Tensor], theirs: dict[str, float | None]) -> None:
    ours_seen = fastai_curve(curve)
    assert ours_seen.losses.tolist() == pytest.approx(seen["losses"].tolist(), rel=1e-5)
    assert np.float32(ours_seen.lrs).tolist() == seen["lrs"].tolist()
    for name, their in theirs.items():
        ours = PEER_RULES[name].suggest(curve)
        if their is None:
            assert ours is None, name
        elif name == "steep":
            # Where two slopes agree to six digits, the last bit of ln, which is the machine's, decides between them.
            slopes = seen["losses"].diff() / seen["lrs"].log().diff()
            assert ours is not None
            assert slopes[ours_seen.lrs.index(ours)].item() == pytest.approx(slopes.min().item(), rel=1e-5)
        else:  # fastai gives its rates in single precision; neighbouring rates differ by 5 % and more
            assert ours == pytest.approx(their, rel=1e-6), name
