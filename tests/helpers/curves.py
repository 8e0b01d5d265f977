"""Curves whose truth is known, for tests of whatever reads curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lrfinder.records import OptimizerFacts, Setup, Stop, SweepResult, SweepSettings, Trace

Shape = Callable[[float], float]  # log10(rate) -> expected loss


def falls_and_explodes(
    x: float, *, start: float = 2.3, fall: float = 2.0, middle: float = -2.5, edge: float = -0.5
) -> float:
    """A flat start, a fall centred on `middle` (where the exact slope is steepest), an explosion from `edge` on."""
    return start - fall / (1 + math.exp(-4 * (x - middle))) + 10 ** (2 * (x - edge)) * 0.05


def trace_of(
    settings: SweepSettings,
    shape: Shape,
    *,
    noise: float = 0.0,
    seed: int = 0,
    repeat: int = 0,
    stop_above: float = math.inf,
    stop: Stop | None = None,
) -> Trace:
    """Return the repeat that measures `shape` with normal noise; it ends, diverged, after a loss above `stop_above`."""
    rng = np.random.default_rng([seed, repeat])
    losses: list[float] = []
    lrs = settings.lrs()
    ended = Stop.COMPLETED
    for lr in lrs:
        losses.append(shape(math.log10(lr)) + noise * float(rng.standard_normal()))
        if losses[-1] > stop_above:
            ended = Stop.DIVERGED
            break
    first = shape(math.log10(lrs[0])) + noise * float(rng.standard_normal())
    return Trace(
        repeat=repeat,
        seed=seed,
        initial_loss=first,
        lrs=lrs[: len(losses)],
        losses=tuple(losses),
        stop=stop or ended,
        updates=len(losses),
    )


def traces_of(settings: SweepSettings, shape: Shape = falls_and_explodes, **options: float) -> tuple[Trace, ...]:
    """Return `settings.repeats` noisy measurements of the same shape."""
    return tuple(trace_of(settings, shape, repeat=repeat, **options) for repeat in range(settings.repeats))  # type: ignore[arg-type]


def sweep_of(traces: Sequence[Trace], sweep: SweepSettings, /, **optimizer: object) -> SweepResult:
    """Wrap traces as the sweep of a made-up model with AdamW."""
    facts = {
        "name": "AdamW",
        "settings": {"betas": (0.9, 0.999), "weight_decay": 0.01},
        "default_lr": 1e-3,
        **optimizer,
    }
    setup = Setup(
        model="made_up",
        parameters=1234,
        loss="loss_fn",
        optimizer=OptimizerFacts(**facts),  # type: ignore[arg-type]
        batch_size=64,
        batches_per_epoch=21,
        device="cpu",
        torch="2.13.0",
        python="3.11.7",
        lrfinder="0.1.0",
    )
    return SweepResult(settings=sweep, setup=setup, traces=tuple(traces))


def depleting_sweep(
    settings: SweepSettings, *, best: float = -1.5, floor: float = 0.1, start: float = 2.3, rate_at_best: float = 0.08
) -> Trace:
    """A sweep whose every update removes the share r(lr) of what is left above `floor`: a model with a memory.

    r rises with the rate, peaks at log10(rate) = `best`, and is negative (the loss grows) well above it: exactly the
    curve of SGD on a quadratic in one direction, r = 1 - (1 - lr * c)^2 with lr * c = 1 at the best rate, scaled.
    """
    loss, losses = start, []
    for lr in settings.lrs():
        relative = 10 ** (math.log10(lr) - best)
        share = rate_at_best * (1 - (1 - relative) ** 2)
        loss = min(floor + (loss - floor) * (1 - share), 10 * start)
        losses.append(loss)
    return Trace(
        repeat=0,
        seed=0,
        initial_loss=start,
        lrs=settings.lrs(),
        losses=tuple(losses),
        stop=Stop.COMPLETED,
        updates=len(losses),
    )
