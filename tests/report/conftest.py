"""Curves as sweeps of real models give them, made from a formula, with a fit by plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lrfinder.records import (
    Band,
    Chart,
    Fit,
    OptimizerFacts,
    Pick,
    Setup,
    Spacing,
    Status,
    Stop,
    SweepResult,
    SweepSettings,
    Trace,
)

SETUP = Setup(
    model="digits_mlp",
    parameters=8970,
    loss="loss_fn CrossEntropyLoss",
    optimizer=OptimizerFacts(name="AdamW", settings={"betas": (0.9, 0.999)}, default_lr=1e-3),
    batch_size=64,
    batches_per_epoch=23,
    device="cpu",
    torch="2.13.0",
    python="3.11",
    lrfinder="0.1.0",
)


def truth(lrs: np.ndarray, *, start: float, floor: float, turn: float, blowup: float) -> np.ndarray:
    """Flat at `start`, a fall to `floor` around `turn`, an explosion from `blowup` on."""
    x = np.log10(lrs)
    fall = start - (start - floor) / (1 + np.exp(-3.2 * (x - math.log10(turn))))
    excess = np.clip(x - math.log10(blowup), 0, None)
    return fall + abs(start - floor) * (np.exp(3.0 * excess) - 1) * 0.25


def sweep(
    *,
    settings: SweepSettings | None = None,
    start: float = 2.3,
    floor: float = 0.35,
    turn: float = 4e-3,
    blowup: float = 0.3,
    noise: float = 0.05,
    seed: int = 0,
    stop_at: float = 3.0,
    tail: tuple[float, ...] = (),
    setup: Setup = SETUP,
) -> SweepResult:
    settings = settings or SweepSettings(repeats=3)
    traces = []
    for repeat in range(settings.repeats):
        rng = np.random.default_rng([seed, repeat])
        lrs = np.array(settings.lrs())
        losses = truth(lrs, start=start, floor=floor, turn=turn, blowup=blowup)
        losses = losses + noise * abs(start - floor or 1) * rng.standard_normal(len(lrs))
        keep = int(np.searchsorted(lrs, stop_at * (1 + 0.3 * repeat)))
        values = [*losses[:keep].tolist(), *tail][: len(lrs)]
        stop = Stop.NON_FINITE if tail else Stop.DIVERGED if keep < len(lrs) else Stop.COMPLETED
        traces.append(
            Trace(
                repeat=repeat,
                seed=seed + repeat,
                initial_loss=start,
                lrs=tuple(lrs[: len(values)].tolist()),
                losses=tuple(values),
                stop=stop,
                updates=len(values),
            )
        )
    return SweepResult(settings=settings, setup=setup, traces=tuple(traces))


def smooth(result: SweepResult, *, bandwidth: float = 0.22) -> Fit:
    """Local linear regression on log10(rate) with a Gaussian kernel: enough of a fit to look at."""
    assert result.traces[0].initial_loss is not None
    start = result.traces[0].initial_loss
    lowest = min(y for t in result.traces for y in t.losses if math.isfinite(y))
    top = start + 2 * (start - lowest)
    pairs = [(lr, y) for t in result.traces for lr, y in zip(t.lrs, t.losses, strict=True) if y < top]
    x = np.log10([lr for lr, _ in pairs])
    y = np.array([value for _, value in pairs])
    grid = np.linspace(x.min(), x.max(), 161)
    losses, slopes = [], []
    for centre in grid:
        w = np.sqrt(np.exp(-0.5 * ((x - centre) / bandwidth) ** 2))
        a = np.stack([w, w * (x - centre)], axis=1)
        level, slope = np.linalg.lstsq(a, w * y, rcond=None)[0]
        losses.append(float(level))
        slopes.append(float(slope))
    noise = float(np.std(y[:20]))
    half = np.full(len(grid), 0.9 * noise)
    return Fit(
        lrs=tuple((10**grid).tolist()),
        losses=tuple(losses),
        low=tuple((np.array(losses) - half).tolist()),
        high=tuple((np.array(losses) + half).tolist()),
        slopes=tuple(slopes),
        start=float(np.median([t.initial_loss for t in result.traces])),
        noise=noise,
        bandwidth=bandwidth,
    )


def pick(rule: str, lr: float | None, status: Status = Status.CONFIDENT, why: str = "", width: float = 1.6) -> Pick:
    low, high = (None, None) if lr is None else (lr / width, lr * width)
    return Pick(rule=rule, lr=lr, low=low, high=high, status=status, why=why or f"where {rule} points")


RULES = (
    pick("steepest", 0.0042, why="steepest descent of the fit; 3 of 3 repeats agree within a factor of 1.4"),
    pick("lowest/10", 0.012, Status.UNCERTAIN, "a tenth of the rate with the lowest loss"),
    pick("valley", 0.0051, Status.UNCERTAIN, "fastai: a third into the longest valley"),
    pick("slide", 0.021, Status.UNCERTAIN, "fastai: before the loss shoots up"),
    pick("minimum", 0.0121, Status.UNCERTAIN, "fastai: a tenth of the minimum of the smoothed loss"),
    pick("steep", 0.0008, Status.UNCERTAIN, "fastai: steepest slope of the smoothed loss"),
    pick("torch-lr-finder", 0.0061, Status.UNCERTAIN, "steepest gradient of the smoothed loss"),
    pick("lightning", 0.00055, Status.UNCERTAIN, "steepest gradient of the raw loss"),
    pick("ignite", None, Status.REFUSED, "no minimum inside the range: the loss still falls at its end"),
)
BAND = Band(low=0.0007, high=0.11, low_interval=(0.0005, 0.001), high_interval=(0.08, 0.14))


def advised(result: SweepResult, *, scale: float = 1.0) -> Chart:
    def scaled(p: Pick) -> Pick:
        return p if p.lr is None or p.low is None or p.high is None else replace(
            p, lr=p.lr * scale, low=p.low * scale, high=p.high * scale
        )  # fmt: skip

    band = Band(low=BAND.low * scale, high=BAND.high * scale)
    picks = tuple(scaled(p) for p in RULES)
    return Chart(result=result, fit=smooth(result), picks=picks, band=band, chosen="steepest")


def refused(result: SweepResult, why: str, *, fit: bool = False) -> Chart:
    picks = (pick("steepest", None, Status.REFUSED, why), pick("valley", None, Status.REFUSED, why))
    return Chart(result=result, fit=smooth(result) if fit else None, picks=picks, chosen="steepest")


def _named(model: str) -> SweepResult:
    return sweep(setup=replace(SETUP, model=model))


def _diverged_at_once() -> SweepResult:
    lrs = SweepSettings().lrs()[:5]
    losses = (2.31, 9.0, 4e3, 1e9, 1e25)
    traces = tuple(
        Trace(repeat=r, seed=r, initial_loss=2.3, lrs=lrs, losses=losses, stop=Stop.DIVERGED, updates=5)
        for r in range(3)
    )  # fmt: skip
    return SweepResult(settings=SweepSettings(), setup=SETUP, traces=traces)


def _nothing_finite() -> SweepResult:
    trace = Trace(repeat=0, seed=0, initial_loss=None, lrs=(1e-6,), losses=(math.nan,), stop=Stop.NON_FINITE, updates=1)
    return SweepResult(settings=SweepSettings(repeats=1), setup=SETUP, traces=(trace,))


CURVES: dict[str, Callable[[], Chart]] = {
    "digits": lambda: advised(sweep()),
    "nan_tail": lambda: advised(sweep(tail=(8.0, 3e3, 1e12, math.inf, math.nan), seed=1)),
    "negative": lambda: advised(sweep(start=-1.0, floor=-6.5, seed=2)),
    "huge": lambda: advised(sweep(start=48_000.0, floor=2_500.0, seed=3)),
    "one_repeat": lambda: advised(sweep(settings=SweepSettings(repeats=1, steps=40), noise=0.1, seed=4)),
    "sgd": lambda: advised(sweep(turn=4e-1, blowup=30.0, stop_at=90.0, noise=0.09, seed=5), scale=100.0),
    "linear": lambda: Chart(
        result=sweep(settings=SweepSettings(min_lr=1e-3, max_lr=1.0, spacing=Spacing.LINEAR), turn=2e-2, seed=6),
        picks=(pick("steepest", 0.09), pick("valley", 0.2, Status.UNCERTAIN)),
        band=Band(low=0.03, high=0.4),
        chosen="steepest",
    ),
    "never_fell": lambda: refused(
        sweep(start=2.3, floor=2.3, noise=0.03, blowup=1e9, stop_at=1e9),
        "the loss never fell below where it began, by more than the noise of a single measurement; raise the largest "
        "rate (--max-lr) or check that the labels belong to the inputs",
        fit=True,
    ),
    "diverged_at_once": lambda: refused(_diverged_at_once(), "the loss diverged within 5 updates; lower --min-lr"),
    "nothing_finite": lambda: refused(_nothing_finite(), "every repeat gave NaN at its first update; check the inputs"),
    "many_repeats": lambda: advised(sweep(settings=SweepSettings(repeats=7), noise=0.12, seed=7)),
    "hostile_name": lambda: advised(_named("<script>alert(1)</script> $x^2$ \u6a21\u578b & co")),
}


@pytest.fixture(params=CURVES)
def curve(request: pytest.FixtureRequest) -> Chart:
    """Every curve in turn."""
    return CURVES[request.param]()


@pytest.fixture
def digits() -> Chart:
    return CURVES["digits"]()


@pytest.fixture
def named() -> Callable[[str], Chart]:
    """Any of the curves, by its name."""
    return lambda name: CURVES[name]()
