"""How many updates the coming run has."""

from __future__ import annotations

from numbers import Real

from lrfinder.errors import UsageError
from lrfinder.records import SweepResult
from lrfinder.records.given import whole
from lrfinder.schedules.base import MAX_STEPS


def run_length(sweep: SweepResult, steps: int | None, epochs: float | None) -> int | None:
    """Return the run's length in updates: `steps`, or `epochs` times the loader's length; None if neither is given.

    Raises UsageError if both are given, if one is not above 0, or if the loader has no length, or a wrong one.
    """
    check_length(steps, epochs)
    if steps is not None:
        return whole("steps", steps)
    if epochs is None:
        return None
    per_epoch = sweep.batches_per_epoch
    if per_epoch is None:
        wrong = sweep.setup.batches_per_epoch is not None
        raise UsageError(
            f"epochs can't be counted: the train_loader of this run has {'a wrong' if wrong else 'no'} length",
            hint="give the run's length in updates: --steps",
        )
    updates = max(1, round(epochs * per_epoch)) if per_epoch <= MAX_STEPS else per_epoch
    return _checked(updates, f"{epochs:g} epochs, in updates,")


def check_length(steps: int | None, epochs: float | None) -> None:
    """Raise UsageError if both are given, or one that can't be a length, whatever the loader."""
    if steps is not None and epochs is not None:
        raise UsageError("steps and epochs can't both be given", hint="keep one: they say the same thing")
    if steps is not None:
        _checked(steps, "steps")
    if epochs is not None and not (isinstance(epochs, Real) and 0 < epochs <= MAX_STEPS):
        raise UsageError(f"epochs must be above 0 and at most {MAX_STEPS:g}, got {epochs!r}")


def _checked(updates: int, what: str) -> int:
    updates = whole(what, updates)
    if not 1 <= updates <= MAX_STEPS:
        bound = "least 1" if updates < 1 else f"most {MAX_STEPS}"
        raise UsageError(f"{what} must be at {bound}, got {updates}")
    return updates
