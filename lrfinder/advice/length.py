"""How many updates the coming run has."""

from __future__ import annotations

from lrfinder.errors import UsageError
from lrfinder.records import Setup


def run_length(setup: Setup, steps: int | None, epochs: float | None) -> int | None:
    """Return the run's length in updates: `steps`, or `epochs` times the loader's length; None if neither is given.

    Raises UsageError if both are given, if one is not above 0, or if the loader has no length.
    """
    if steps is not None and epochs is not None:
        raise UsageError("steps and epochs can't both be given", hint="keep one: they say the same thing")
    if steps is not None:
        if steps < 1:
            raise UsageError(f"steps must be at least 1, got {steps}")
        return steps
    if epochs is None:
        return None
    if not epochs > 0:
        raise UsageError(f"epochs must be above 0, got {epochs:g}")
    if setup.batches_per_epoch is None:
        raise UsageError(
            "epochs can't be counted: the train_loader of this run has no length",
            hint="give the run's length in updates: --steps",
        )
    return max(1, round(epochs * setup.batches_per_epoch))
