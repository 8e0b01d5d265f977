"""Up and down between two rates, again and again."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Momentums, Schedule


def decay(
    u: int, length: int, *, up: int, down: int | None, mode: str, gamma: float, base: float, top: float = 1.0
) -> float:
    """Return base + (top - base) * x * s, of the run's last update if u is past it."""
    u = min(u, max(length - 1, 0))
    down = down if down is not None else up
    cycle, behind = divmod(u, up + down)
    height = behind / up if behind <= up else 1 - (behind - up) / down
    scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp-range": gamma**u}[mode]
    return float(base + (top - base) * (height * scale))


class Cyclical(Schedule):
    """Triangles between `base` times the peak and the peak, each `up` updates up and `down` updates down.

    factor(t) = base + (1 - base) * x * s

    x is the height of the triangle, 0 ... 1, at u = t; s is 1 for `mode` "triangular" (default), 2 ** -i in cycle
    i = 0, 1, ... for "triangular2", and gamma ** u for "exp-range". `base` is 0 ... 1 (default 1/4: Smith advises a
    third to a quarter), `down` as long as `up` by default. It has a rise of its own, so `warmup` must be 0. Past the
    end the rate of the last update is held. With `momentums` [low, high], torch's defaults being [0.8, 0.9], the
    momentum (Adam's beta1) moves the other way: momentum(t) = high + (low - high) * x * s.

    Smith, arXiv:1506.01186, who advises an `up` of 2 to 10 epochs. torch's `CyclicLR` (base_lr = base * peak).
    """

    advice: ClassVar[str] = "open-ended runs without a plan for their end; a run of known length ends lower with linear"
    rises_itself: ClassVar[bool] = True
    formula = staticmethod(decay)
    name: Literal["cyclical"] = "cyclical"
    up: int = Field(ge=1)
    down: int | None = Field(default=None, ge=1)
    base: float = Field(default=0.25, ge=0, le=1)
    mode: Literal["triangular", "triangular2", "exp-range"] = "triangular"
    gamma: float = Field(default=1.0, gt=0, le=1)
    momentums: Momentums = None

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return four cycles; they have a rise of their own, whatever `warmup` says."""
        del warmup
        return cls(steps=steps, up=max(1, steps // 8))

    def momentum(self, t: int) -> float | None:
        """Return the momentum: `low` at the top of the triangle, `high` at its foot."""
        if self.momentums is None:
            return None
        low, high = self.momentums
        return decay(t, self.steps, **{**self.arguments(), "base": high, "top": low})
