"""Halve the rate, as often as the length of the run has binary digits."""

from __future__ import annotations

from typing import ClassVar, Literal

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, halved_first: bool) -> float:
    """Return 2 to the minus number of the phase."""
    phases = max(1, length.bit_length() - 1)
    phase = min(phases - 1, u * phases // length) if length else 0
    return float(0.5 ** (phase + halved_first))


class Geometric(Schedule):
    """Phases of equal length, each with half the rate of the one before; their number is the logarithm of the run's.

    factor(t) = 2 ** -min(L - 1, floor(u L / D)),    L = max(1, floor(log2 D)),    u = t - W, D = T - W, in updates

    The first phase has the peak rate; with `halved_first` it has half of it already, which only matters for theory's
    constants. The length must be known. Past the end the rate of the last phase is held.

    Ge, Kakade, Kidambi & Netrapalli, arXiv:1904.12838: for streaming least squares the last iterate is optimal up to
    logarithms, where every polynomial decay is not. The phases are this project's reading of it; only constants hang
    on the base of the logarithm.
    """

    advice: ClassVar[str] = "convex problems such as least squares on a stream, where it is near optimal"
    formula = staticmethod(decay)
    name: Literal["geometric"] = "geometric"
    halved_first: bool = False
