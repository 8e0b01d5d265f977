"""Warm up, then keep the peak rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int) -> float:  # noqa: ARG001 - the same at every update
    """Return 1."""
    return 1.0


class Constant(Schedule):
    """The peak rate, after the warm-up, for the rest of the run.

    factor(t) = 1        for t >= W

    With W = 0 this is torch's optimizer as it is; with W > 0, Hugging Face's `constant_with_warmup` one update ahead
    (theirs begins at rate 0).
    """

    advice: ClassVar[str] = "runs of unknown length, short trials, and baselines; a decay nearly always ends lower"
    formula = staticmethod(decay)
    name: Literal["constant"] = "constant"
