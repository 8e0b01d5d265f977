"""Which rate to try next when every short run is expensive: bracket the lowest point, then refine."""

from __future__ import annotations

from lrfinder.search.lr_profile import LrProfile, RunLoss

_SAME = 0.01  # decades (2 %): two rates nearer than that count as equal


def next_bracket(profile: LrProfile, step: float) -> float | None:
    """Return log10 of the missing rate one `step` (decades) beside the lowest point; None if both sides have one.

    The higher side comes first: the search starts from a continuous sweep, which finds the steepest fall at too low a
    rate (rules/README.md#early).
    """
    at = profile.points.index(profile.lowest)
    x = profile.lowest.x
    higher, lower = profile.points[at + 1 :], profile.points[:at]
    if not higher and profile.lowest.trained:
        return x + step
    if not lower:
        return x - step
    return None


def next_refinement(profile: LrProfile, step: float) -> float | None:
    """Return log10 of the rate halfway to a neighbour of the lowest point; None if both are within `step` decades.

    The neighbour with the lower loss comes first: the lowest point of a parabola lies on that side.
    """
    at = profile.points.index(profile.lowest)
    neighbours = [profile.points[index] for index in (at - 1, at + 1) if 0 <= index < len(profile.points)]
    far = [point for point in neighbours if abs(point.x - profile.lowest.x) > step + _SAME]
    if not far:
        return None
    nearest = min(far, key=_by_loss)
    return (nearest.x + profile.lowest.x) / 2


def _by_loss(point: RunLoss) -> float:
    return point.loss
