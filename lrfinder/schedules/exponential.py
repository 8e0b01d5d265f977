"""Multiply the rate by the same factor again and again."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, base: float, every: int, staircase: bool) -> float:
    """Return base ** (u / every), the exponent rounded down with `staircase`."""
    if staircase:
        return float(base ** (min(u, max(length - 1, 0)) // every))
    return float(base ** (u / every))


class Exponential(Schedule):
    """Multiply the rate by `factor` in every `every` updates, smoothly or, with `staircase`, all at once.

    factor(t) = factor ** (u / every)              u = t - W, in updates
    factor(t) = factor ** floor(u / every)         with `staircase`

    `factor` (the attribute is `base`) is above 0 and at most 1. Past the end the value at t = T is held, or, with
    `staircase`, that of the last update.

    TensorFlow's `exponential_decay` and Keras's `ExponentialDecay` (decay_rate = factor, decay_steps = every); torch's
    `ExponentialLR` with gamma = factor ** (1 / every). With `staircase` and the updates of one epoch as `every` it is
    the rate that scripts multiply by a constant after each epoch (`adjust_learning_rate`).
    """

    advice: ClassVar[str] = "recipes that multiply the rate by a constant after each epoch"
    formula = staticmethod(decay)
    name: Literal["exponential"] = "exponential"
    base: float = Field(alias="factor", gt=0, le=1)
    every: int = Field(default=1, ge=1)
    staircase: bool = False

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a fall to a hundredth of the peak over the run: a usual range of exponential decays."""
        return cls(steps=steps, warmup=warmup, factor=0.01, every=max(1, steps - warmup))
