"""Which shape the coming run's decay has if nobody named one, and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lrfinder.optimizers import classes_of, traits_of
from lrfinder.records import OptimizerFacts, ShortRun

DEFAULT_SCHEDULE = "linear"
OPEN_SCHEDULE = "wsd"
# Of the fall: by so much another shape must end lower to be chosen over the recommended one; two seeds differ by less.
BETTER = 0.02

_SCHEDULE_FREE = (
    "ScheduleFree"  # in the names of its classes: SGDScheduleFree, AdamWScheduleFree, RAdamScheduleFree, ...
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A shape's name, the reason in words, and whether it is to be warmed up."""

    name: str
    why: str
    warms_up: bool = True


def choose(optimizer: OptimizerFacts, *, open_ended: bool = False, trials: Iterable[ShortRun] = ()) -> Choice:
    """Return the shape for a run of known length, or for an `open_ended` one, on what evidence there is.

    In this order: an optimizer that decays by itself keeps its rate; an unknown length allows no decay to be planned;
    what `verify --schedules` measured on this very model decides between shapes, if one ended lower by more than
    BETTER of the fall; else a straight line to zero, worst-case optimal and at least as good as cosine in Defazio et
    al., arXiv:2310.07831, and Bergsma et al., arXiv:2502.15938.
    """
    if all(_SCHEDULE_FREE in one for one in classes_of(optimizer.name)):
        why = f"{optimizer.name} averages its weights instead of decaying its rate, and warms up itself"
        return Choice(name="constant", why=why, warms_up=False)
    no_decay = traits_of(optimizer.name).no_decay
    if no_decay is not None:
        return Choice(name="constant", why=no_decay, warms_up=False)
    if open_ended:
        why = (
            "the peak, held, since the length isn't known; to end, set `steps` to the update at which it ends and "
            "`cooldown` to a fifth of that, and train on (Haegele et al., arXiv:2405.18392)"
        )
        return Choice(name=OPEN_SCHEDULE, why=why)
    return _measured(tuple(trials)) or Choice(
        name=DEFAULT_SCHEDULE, why="a straight line to zero, the safest shape for a known length"
    )


def _measured(trials: tuple[ShortRun, ...]) -> Choice | None:
    """Return the shape that ended lowest in the longest runs in which several were tried, or None."""
    ended = [trial for trial in trials if trial.loss is not None and trial.initial_loss is not None]
    for same in sorted({_made_of(trial) for trial in ended}, reverse=True):
        steps, best = same[0], dict[str, float]()
        alike = [trial for trial in ended if _made_of(trial) == same]
        for trial in alike:
            name, loss = trial.plan.schedule, trial.loss or 0.0
            best[name] = min(best.get(name, loss), loss)
        if len(best) > 1:
            return _lowest(best, steps, start=max(trial.initial_loss or 0.0 for trial in alike))
    return None


def _made_of(trial: ShortRun) -> tuple[int, int, int]:
    """Return what two trials share if their ends compare: length, seed, and on how many batches (0: all)."""
    return trial.plan.steps, trial.seed, trial.plan.batches or 0


def _lowest(best: Mapping[str, float], steps: int, *, start: float) -> Choice | None:
    """Return the shape with the lowest loss, or the default shape if none is clearly below it."""
    lowest = min(best, key=lambda name: best[name])
    fall = start - best[lowest]
    if fall <= 0 or DEFAULT_SCHEDULE not in best:
        return None
    gain = (best[DEFAULT_SCHEDULE] - best[lowest]) / fall
    if gain > BETTER:
        return Choice(
            name=lowest,
            why=f"{lowest}, which ended lowest of {len(best)} shapes in runs of {steps} updates, {gain:.0%} of the "
            f"fall below {DEFAULT_SCHEDULE}",
        )
    others = ", ".join(name for name in best if name != DEFAULT_SCHEDULE)
    return Choice(
        name=DEFAULT_SCHEDULE,
        why=f"a straight line to zero: in runs of {steps} updates {others} ended no more than {BETTER:.0%} of the fall "
        "below it",
    )
