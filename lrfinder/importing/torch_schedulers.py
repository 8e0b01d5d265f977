"""What the schedulers of torch.optim.lr_scheduler may be in our shapes, by class; judged by their rates alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from lrfinder.importing.match import Candidate, shape
from lrfinder.schedules import Schedule

# (scheduler, steps, warmup, base) -> what it may be, `warmup` updates after the run's start, from the rate `base`.
Reading = Callable[[Any, int, int, float], Schedule | None]
# (scheduler, steps, its fastest group) -> what it may be, and its peak.
PeakedReading = Callable[[Any, int, int], Candidate | None]


def candidates(scheduler: Any, *, steps: int, peak: float, group: int) -> Iterator[Callable[[], Candidate | None]]:
    """Return what `scheduler` may be by its class: `peak` is the largest rate of its fastest param group, `group`."""
    for name in (kind.__name__ for kind in type(scheduler).__mro__):  # a subclass may be what it is made from, or not
        if name == "SequentialLR":
            yield partial(_after_warmup, scheduler, steps, peak, started=False)
            yield partial(_after_warmup, scheduler, steps, peak, started=True)
        elif name in _PEAKED:
            yield partial(_PEAKED[name], scheduler, steps, group)
        elif name in _READINGS:
            yield partial(_read, name, scheduler, steps, 0, peak)


def _read(name: str, scheduler: Any, steps: int, warmup: int, base: float) -> Candidate | None:
    made = _READINGS[name](scheduler, steps, warmup, base)
    return None if made is None else Candidate(peak=base, schedule=made)


def _after_warmup(scheduler: Any, steps: int, peak: float, *, started: bool) -> Candidate | None:
    """Read a SequentialLR of two as a warm-up, `started` where its first part starts or at 1 / W, and what follows."""
    parts, milestones = scheduler._schedulers, scheduler._milestones  # noqa: SLF001 - torch shows them nowhere else
    if len(parts) != 2 or milestones[0] > steps:  # noqa: PLR2004
        return None
    name = type(parts[1]).__name__
    read = _read(name, parts[1], steps, milestones[0], peak) if name in _READINGS else None
    if read is None or not started:
        return read
    start = getattr(parts[0], "start_factor", 0.0)  # of LinearLR; a function may start at 0
    made = shape(**{**read.schedule.model_dump(by_alias=True), "warmup_start": start})
    return None if made is None else Candidate(peak=peak, schedule=made)


def _constant(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    return shape("constant", steps=steps, warmup=warmup)


def _linear(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    start, end, length = it.start_factor, it.end_factor, it.total_iters
    if start < end and warmup:
        return None
    if start < end and math.isclose(end / start, length + 1):  # a rise from 1 / W to the peak in its last update
        return shape("constant", steps=steps, warmup=length + 1)
    if start < end:
        return shape("constant", steps=steps, warmup=length, warmup_start=start / end)
    decay = steps - warmup
    if length < decay:
        return shape("polynomial", steps=steps, warmup=warmup, over=length, final=end / start)
    final = (start + (end - start) * decay / length) / start if length else 1.0
    return shape("linear", steps=steps, warmup=warmup, final=final)


def _step(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    return shape("step", steps=steps, warmup=warmup, every=it.step_size, factor=float(it.gamma))


def _multi_step(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    milestones = tuple(sorted(it.milestones.elements()))
    if not milestones:
        return shape("constant", steps=steps, warmup=warmup)
    return shape("multi-step", steps=steps, warmup=warmup, milestones=milestones, factor=float(it.gamma))


def _exponential(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    return shape("exponential", steps=steps, warmup=warmup, factor=float(it.gamma))


def _polynomial(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:  # noqa: ARG001
    whole = it.total_iters == steps - warmup
    if whole and it.power == 1:
        return shape("linear", steps=steps, warmup=warmup)
    over = None if whole else it.total_iters
    return shape("polynomial", steps=steps, warmup=warmup, power=float(it.power), over=over)


def _cosine(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:
    if it.T_max != steps - warmup:  # beyond T_max it rises again, along a wave
        return None
    return shape("cosine", steps=steps, warmup=warmup, final=it.eta_min / base)


def _cosine_restarts(it: Any, steps: int, warmup: int, base: float) -> Schedule | None:
    floor = it.eta_min / base
    return shape("cosine-restarts", steps=steps, warmup=warmup, first=it.T_0, growth=float(it.T_mult), final=floor)


def _one_cycle(it: Any, steps: int, group: int) -> Candidate | None:
    rates, phases = it.optimizer.param_groups[group], it._schedule_phases  # noqa: SLF001
    peak = float(rates["max_lr"])
    if len(phases) != 2 or it.total_steps != steps:  # noqa: PLR2004 - three: it comes down to the start, then further
        return None
    made = shape(
        "one-cycle",
        steps=steps,
        rise=(phases[0]["end_step"] + 1) / steps,
        start=float(rates["initial_lr"]) / peak,
        final=float(rates["min_lr"]) / peak,
        anneal=it._anneal_func_type,  # noqa: SLF001
        momentums=_momentums(it, group),
    )
    return None if made is None else Candidate(peak=peak, schedule=made)


def _momentums(it: Any, group: int) -> tuple[float, float] | None:
    """Return the bounds between which OneCycleLR and CyclicLR move the momentum, where they do and ours can."""
    if not it.cycle_momentum:
        return None
    bounds = it.optimizer.param_groups[group]
    low, high = float(bounds["base_momentum"]), float(bounds["max_momentum"])
    return (low, high) if 0 <= low <= high < 1 else None


def _cyclic(it: Any, steps: int, group: int) -> Candidate | None:
    peak, up = float(it.max_lrs[group]), it.total_size * it.step_ratio
    down = it.total_size - up
    made = shape(
        "cyclical",
        steps=steps,
        up=round(up),
        down=None if math.isclose(up, down) else round(down),
        base=float(it.base_lrs[group]) / peak,
        mode=it.mode.replace("_", "-"),
        gamma=float(it.gamma),
        momentums=_momentums(it, group),
    )
    return None if made is None else Candidate(peak=peak, schedule=made)


# Those whose first rate, or that after their warm-up, is their peak.
_READINGS: Mapping[str, Reading] = MappingProxyType(
    {
        "ConstantLR": _constant,
        "LinearLR": _linear,
        "StepLR": _step,
        "MultiStepLR": _multi_step,
        "ExponentialLR": _exponential,
        "PolynomialLR": _polynomial,
        "CosineAnnealingLR": _cosine,
        "CosineAnnealingWarmRestarts": _cosine_restarts,
    }
)
# Those that name their peak, which may lie between two updates.
_PEAKED: Mapping[str, PeakedReading] = MappingProxyType({"OneCycleLR": _one_cycle, "CyclicLR": _cyclic})
