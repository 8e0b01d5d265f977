"""Hugging Face's `lr_scheduler_type`s: what each multiplies the rate by, and the shape of ours that it may be.

f(t) / learning_rate for update t = 0, 1, 2, ... of T, W of them warm-up, with u = t - W and x = u / max(1, T - W):

    t / W                       for t < W, but in `constant`, which has no warm-up
    after(u)                    from W on: each type's own formula

transformers 5; version 4 has the same formulas, without `greedy` and some arguments. `num_warmup_steps` and
`num_training_steps` of `transformers.get_scheduler` are W and T. The tests hold each equal to it at every update.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lrfinder.importing.match import shape
from lrfinder.schedules import Schedule

_OTHER_RATES = "no named shape has its rates"
_WITHOUT_WARMUP = 10_000  # updates: the timescale of `inverse_sqrt` there


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a formula is given: the peak rate, the updates of warm-up and those of the whole run."""

    peak: float
    warmup: int
    steps: int

    def shape(self, name: str, *, start: float = 0.0, **parameters: Any) -> Schedule | None:
        """Return our shape of this length, whose warm-up begins at `start`; None if it doesn't take these."""
        warmed = {"warmup": self.warmup, "warmup_start": start} if self.warmup else {}
        return shape(name, steps=self.steps, **warmed, **parameters)

    def over(self, u: float) -> float:
        """Return x, the share of the decay that is over."""
        return u / max(1, self.steps - self.warmup)


class Formula(BaseModel, ABC):
    """An `lr_scheduler_type`; its fields are `lr_scheduler_kwargs`, with transformers' defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def factor(self, t: int, run: Run) -> float:
        """Return the rate of update `t` over the peak."""
        return t / run.warmup if t < run.warmup else self.after(t - run.warmup, run)

    @abstractmethod
    def after(self, u: int, run: Run) -> float:
        """Return the factor `u` updates after the warm-up."""

    @abstractmethod
    def named(self, run: Run) -> Schedule | None:
        """Return the shape that this may be."""

    def why_table(self, run: Run) -> str:  # noqa: ARG002
        """Return why it is no named shape."""
        return _OTHER_RATES


class ConstantWithWarmup(Formula):
    """after(u) = 1."""

    model_config = ConfigDict(extra="ignore")  # transformers doesn't look at them, either

    def after(self, u: int, run: Run) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0

    def named(self, run: Run) -> Schedule | None:
        """Return our constant."""
        return run.shape("constant")


class Constant(ConstantWithWarmup):
    """factor(t) = 1, whatever the warm-up."""

    def factor(self, t: int, run: Run) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0

    def named(self, run: Run) -> Schedule | None:
        """Return our constant without a warm-up."""
        return shape("constant", steps=run.steps)


class Linear(Formula):
    """after(u) = max(0, 1 - x)."""

    def after(self, u: int, run: Run) -> float:
        """Return what is left of the decay, from the number of updates that are left, as transformers computes it."""
        return max(0.0, run.over(run.steps - run.warmup - u))

    def named(self, run: Run) -> Schedule | None:
        """Return our linear."""
        return run.shape("linear")


class Cosine(Formula):
    """after(u) = (1 + cos(2 pi num_cycles x)) / 2."""

    num_cycles: float = 0.5

    def after(self, u: int, run: Run) -> float:
        """Return the wave."""
        return max(0.0, self.wave(run.over(u)))

    def wave(self, x: float) -> float:
        """Return (1 + cos(2 pi num_cycles x)) / 2."""
        return 0.5 * (1.0 + math.cos(math.pi * self.num_cycles * 2.0 * x))

    def named(self, run: Run) -> Schedule | None:
        """Return our cosine, which is half a wave."""
        return run.shape("cosine")


class CosineWithRestarts(Formula):
    """after(u) = (1 + cos(pi (num_cycles x mod 1))) / 2, and 0 from x = 1 on."""

    num_cycles: float = 1

    def after(self, u: int, run: Run) -> float:
        """Return the wave of the cycle that u lies in."""
        x = run.over(u)
        return 0.0 if x >= 1.0 else max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((self.num_cycles * x) % 1.0))))

    def named(self, run: Run) -> Schedule | None:
        """Return our restarts, whose cycles are whole updates long."""
        first = round((run.steps - run.warmup) / self.num_cycles)
        return run.shape("cosine-restarts", first=first, growth=1.0)


class Polynomial(Formula):
    """after(u) = ((peak - lr_end) (1 - x) ** power + lr_end) / peak."""

    lr_end: float = 1e-7
    power: float = 1.0

    def after(self, u: int, run: Run) -> float:
        """Return the power of what is left, above lr_end; raise ValueError where transformers does."""
        if self.lr_end >= run.peak:
            raise ValueError(f"lr_end ({self.lr_end:g}) must be below learning_rate ({run.peak:g})")
        left = 1 - u / (run.steps - run.warmup)
        return ((run.peak - self.lr_end) * float(left**self.power) + self.lr_end) / run.peak

    def named(self, run: Run) -> Schedule | None:
        """Return our polynomial."""
        final = self.lr_end / run.peak
        return run.shape("polynomial", power=self.power, final=final)


class InverseSqrt(Formula):
    """after(u) = 1 / sqrt((u + s) / s), s = timescale, else W, else 10,000."""

    timescale: float | None = Field(default=None, gt=0)

    def after(self, u: int, run: Run) -> float:
        """Return the root."""
        scale = self.scale(run)
        return 1.0 / math.sqrt((u + scale) / scale)

    def scale(self, run: Run) -> float:
        """Return s, in updates."""
        return self.timescale if self.timescale is not None else run.warmup or _WITHOUT_WARMUP

    def named(self, run: Run) -> Schedule | None:
        """Return our inverse square root."""
        given = None if self.timescale is None else round(self.timescale)
        return run.shape("inverse-sqrt", timescale=given)


class CosineWithMinLr(Cosine):
    """after(u) = r + (1 - r) (1 + cos(2 pi num_cycles x)) / 2, r = min_lr_rate, or min_lr / peak."""

    min_lr: float | None = None
    min_lr_rate: float | None = None

    @model_validator(mode="after")
    def _one_floor(self) -> Self:
        if (self.min_lr is None) == (self.min_lr_rate is None):
            raise ValueError("expected one of min_lr and min_lr_rate (a share of learning_rate)")
        return self

    def floor(self, run: Run) -> float:
        """Return r."""
        return self.min_lr / run.peak if self.min_lr is not None else self.min_lr_rate or 0.0

    def after(self, u: int, run: Run) -> float:
        """Return the wave above the floor."""
        return max(0.0, self.wave(run.over(u)) * (1 - self.floor(run)) + self.floor(run))

    def named(self, run: Run) -> Schedule | None:
        """Return our cosine with its floor."""
        return run.shape("cosine", final=self.floor(run))


class CosineWarmupWithMinLr(CosineWithMinLr):
    """One update ahead of `cosine_with_min_lr`: (t + 1) / W, or w + (1 - w) t / (W - 1); then x = (u + 1) / (T - W).

    w is warmup_lr_rate.
    """

    warmup_lr_rate: float | None = None

    def factor(self, t: int, run: Run) -> float:
        """Return the rise, then the wave that begins one update into its fall."""
        if t >= run.warmup:
            return self.after(t + 1 - run.warmup, run)
        if self.warmup_lr_rate is None:
            return (t + 1.0) / run.warmup
        return self.warmup_lr_rate + (1.0 - self.warmup_lr_rate) * t / max(1, run.warmup - 1)

    def why_table(self, run: Run) -> str:  # noqa: ARG002
        """Return why it is no named shape."""
        return "its decay is one update ahead: it is at its floor in the last update, not after it"


Curve = Literal["linear", "cosine", "1-sqrt"]


class WarmupStableDecay(Formula):
    """r + (1 - r) rise(t / W), then 1 for num_stable_steps, then r + (1 - r) fall(x) for num_decay_steps, then r.

    r = min_lr_ratio; num_stable_steps is what the two others leave of T, where it isn't given.
    """

    num_decay_steps: float
    num_stable_steps: float | None = None
    warmup_type: Curve = "linear"
    decay_type: Curve = "cosine"
    min_lr_ratio: float = 0.0
    num_cycles: float = 0.5

    def factor(self, t: int, run: Run) -> float:
        """Return the rise, above min_lr_ratio, and what follows it."""
        if t >= run.warmup:
            return self.after(t - run.warmup, run)
        x = t / run.warmup
        rise = {"linear": x, "cosine": 0.5 * (1.0 - math.cos(math.pi * x)), "1-sqrt": 1.0 - math.sqrt(1.0 - x)}
        return self._above(rise[self.warmup_type])

    def after(self, u: int, run: Run) -> float:
        """Return 1, the fall, or what is left behind it."""
        into = u - self.stable(run)
        if into < 0:
            return 1.0
        if into >= self.num_decay_steps:
            return self.min_lr_ratio
        x = into / max(1.0, self.num_decay_steps)
        wave = 0.5 * (1.0 + math.cos(math.pi * self.num_cycles * 2.0 * x))
        return self._above({"linear": 1.0 - x, "cosine": wave, "1-sqrt": 1.0 - math.sqrt(x)}[self.decay_type])

    def stable(self, run: Run) -> float:
        """Return the updates at the peak."""
        if self.num_stable_steps is not None:
            return self.num_stable_steps
        return run.steps - run.warmup - self.num_decay_steps

    def _above(self, share: float) -> float:
        return max(0.0, share * (1.0 - self.min_lr_ratio) + self.min_lr_ratio)

    def named(self, run: Run) -> Schedule | None:
        """Return our stable phase and cooldown, where both end with the run."""
        return run.shape(
            "wsd",
            start=self.min_lr_ratio,
            cooldown=round(self.num_decay_steps),
            shape=self.decay_type,
            final=self.min_lr_ratio,
        )

    def why_table(self, run: Run) -> str:
        """Return why it is no named shape."""
        return "its warm-up is no line" if run.warmup and self.warmup_type != "linear" else _OTHER_RATES


FORMULAS: Mapping[str, type[Formula]] = MappingProxyType(
    {
        "linear": Linear,
        "cosine": Cosine,
        "cosine_with_restarts": CosineWithRestarts,
        "polynomial": Polynomial,
        "constant": Constant,
        "constant_with_warmup": ConstantWithWarmup,
        "inverse_sqrt": InverseSqrt,
        "cosine_with_min_lr": CosineWithMinLr,
        "cosine_warmup_with_min_lr": CosineWarmupWithMinLr,
        "warmup_stable_decay": WarmupStableDecay,
    }
)
# Those that wait for the evaluation. torch's plateau is one here, too; GreedyLR also raises the rate, as nothing else.
PLATEAU = "reduce_lr_on_plateau"
GREEDY = "greedy"
