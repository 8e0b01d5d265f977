"""When a range test has gone far enough: the loss is clearly above where it began. Pure, no torch.

Let s be the median of the first five losses (the one before any update included), m_i the median of the five losses
up to i, b_i the lowest m up to i, and n_i the median of |L_j - L_(j-1)| over the first fifty differences up to i.
The losses have diverged at i when

    m_i > s + max(s - b_i, 10 * n_i, least_rise)

Both sides move with the losses: L -> a * L + c with a > 0 (and least_rise -> a * least_rise) changes no decision, so
negative losses and losses near zero are judged like any others. The peers' rule, `loss > 4 * best`, fails on both.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable

WINDOW = 5  # losses in a median: engine/README.md#window
EARLY = 50  # differences that estimate the noise: engine/README.md#early
NOISE_MULTIPLE = 10.0  # times n: engine/README.md#noise_multiple
LEAST_SHARE = 0.2  # of the first loss: the least rise that counts: engine/README.md#least_share


class DivergenceRule:
    """Takes losses one by one, and says when they have diverged.

    `least_rise`, in the loss's own unit, is the smallest rise above the start that can count as divergence.
    """

    def __init__(self, *, least_rise: float) -> None:
        self._least_rise = least_rise
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._differences: list[float] = []  # sorted
        self._lowest, self._highest = math.inf, -math.inf
        self.start = math.nan  # s: where the losses began
        self.limit = math.nan  # what the median of the last five losses must exceed, when it was last compared

    def observe(self, loss: float) -> bool:
        """Add a finite loss, and return whether the losses so far have diverged."""
        if len(self._differences) < EARLY:  # where the losses began, and how noisy they are
            if self._last:
                bisect.insort(self._differences, abs(loss - self._last[-1]))
            if len(self._first) < WINDOW:
                self._first = sorted([*self._first, loss])
                self.start = self._first[len(self._first) // 2]
        self._last.append(loss)
        if len(self._last) < WINDOW:
            return False
        median = sorted(self._last)[WINDOW // 2]
        self._lowest, self._highest = min(self._lowest, median), max(self._highest, median)
        if median <= self.start:  # the limit is never below the start, and takes longer
            return False
        noise = self._differences[len(self._differences) // 2]
        self.limit = self.start + max(self.start - self._lowest, NOISE_MULTIPLE * noise, self._least_rise)
        return median > self.limit

    @property
    def rise(self) -> float:
        """How far the highest median of WINDOW losses lies above the start."""
        return self._highest - self.start

    @property
    def reason(self) -> str:
        """Why the losses have diverged, in words."""
        return f"the loss began at {self.start:.4g}, and the median of the last five is above {self.limit:.4g}"


def rise_of(losses: Iterable[float]) -> float:
    """Return how far the losses of a whole run rose, 0 if they never diverged; the first is that before any update."""
    rule, diverged = None, False
    for loss in losses:
        rule = rule or DivergenceRule(least_rise=LEAST_SHARE * abs(loss))
        diverged |= rule.observe(loss)
    return rule.rise if rule is not None and diverged else 0.0
