"""Fall in a straight line from the peak to a final share of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, final: float) -> float:
    """Return final + (1 - final) * (1 - x), x = u / length."""
    x = u / length if length else 0.0
    return final + (1 - final) * (1 - x)


class Linear(Schedule):
    """A straight line from the peak to `final` times the peak.

    factor(t) = final + (1 - final) * (1 - u / D)        u = t - W, D = T - W, in updates

    `final` is the rate at t = T over the peak, 0 ... 1 (default 0: "linear to zero", D2Z); the last update of the run,
    t = T - 1, is one step above it. Past the end `final` is held.

    Linear to zero is worst-case optimal for the last iterate, and at least as good as cosine over ten problems in
    Defazio et al., arXiv:2310.07831; best of its kind for language models in Bergsma et al., arXiv:2502.15938.
    """

    advice: ClassVar[str] = "the default for a run of known length: straight down to zero"
    formula = staticmethod(decay)
    name: Literal["linear"] = "linear"
    final: float = Field(default=0.0, ge=0, le=1)
