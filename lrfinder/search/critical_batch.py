"""The critical batch: how large a batch is as noisy as its mean gradient is long."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any, ClassVar

from lrfinder.records import GradientNoise
from lrfinder.records.strict import STRICT

# Student's t, 90 % between both signs, by the degrees of freedom; the last one holds for more.
_T_90 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalBatch:
    """The critical batch in samples, between `low` and `high` at 90 %; infinite: larger than can be told."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    samples: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isinf(self.low):
            return "larger than can be told"
        if math.isinf(self.samples):
            return f"at least {self.low:.0f} samples (at 90 %)"
        to = "or more" if math.isinf(self.high) else f"to {self.high:.0f}"
        return f"about {self.samples:.0f} samples ({self.low:.0f} {to}, at 90 %)"


def critical_batch(noise: GradientNoise) -> CriticalBatch:
    """Return tr(Sigma) / |G|^2: the batch whose gradient's noise is as large as the gradient G of all data.

    |G|^2 = (n m - s) / (n - 1),    tr(Sigma) / b = n (s - m) / (n - 1)

    for each group of n gradients of b samples, with s the mean of their squared norms and m the squared norm of their
    mean: both are without bias. The interval is that of the inverse, |G|^2 / tr(Sigma), the ratio of the groups' sums:
    its standard error follows by leaving each group out in turn (the jackknife), its width by Student's t. Where it
    reaches 0, no batch is too large.

    Source: McCandlish, Kaplan, Amodei, "An empirical model of large-batch training", arXiv:1812.06162, appendix A.1.
    """
    n, b = noise.each, noise.batch
    pairs = list(zip(noise.squares, noise.means, strict=True))
    signal = [(n * m - s) / (n - 1) for s, m in pairs]
    spread = [b * n * (s - m) / (n - 1) for s, m in pairs]
    whole, count = sum(spread), len(pairs)
    if min(whole - one for one in spread) <= 0:  # all gradients are alike: more samples bring nothing
        return CriticalBatch(samples=0.0, low=0.0, high=0.0)
    inverse = sum(signal) / whole
    without = [(sum(signal) - g) / (whole - t) for g, t in zip(signal, spread, strict=True)]
    error = math.sqrt((count - 1) ** 2 / count) * statistics.stdev(without)
    half = _T_90[min(count - 1, len(_T_90)) - 1] * error
    low, middle, high = (1 / x if x > 0 else math.inf for x in (inverse + half, inverse, inverse - half))
    return CriticalBatch(samples=middle, low=low, high=high)
