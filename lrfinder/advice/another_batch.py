"""The rate for another batch than the one that was swept: worked out by a law, never measured, so never confident."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lrfinder.advice.advise import Advice, Request, advise
from lrfinder.advice.sweep.evidence import SweepEvidence
from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.formatting import format_lr, round_lr
from lrfinder.records import GradientNoise, Pick, Setup, Status
from lrfinder.search.critical_batch import CriticalBatch, critical_batch

RULE = "another batch"  # the rule's name of what the law says
EXPONENT = 0.65  # of the batch, for Adam up to the critical one: advice/README.md#exponent
# Decades, for a batch four times as large: how far a law is off at 90 %: advice/README.md#linear_error-power_error
LINEAR_ERROR, POWER_ERROR = 0.2, 0.3
MOST_TIMES = 4.0  # larger or smaller than the swept batch: advice/README.md#most_times
_INSTEAD = "sweep with that batch: `lrfinder sweep MODEL --batch-size N`, or --accumulate N"


def linear_law(batch: float, target: float, critical: float) -> float:
    """Return the factor of SGD's rate from a `batch` to a `target`: (1 + C / b) / (1 + C / B).

    The rate grows with the batch far below the critical batch C, and stays far above it. Source: McCandlish, Kaplan,
    Amodei, arXiv:1812.06162, equation 2.7.
    """
    if math.isinf(critical):
        return target / batch
    return (1 + critical / batch) / (1 + critical / target)


def power_law(batch: float, target: float, critical: float) -> float:
    """Return the factor of Adam's rate from a `batch` to a `target`: (min(B, C) / min(b, C)) ** EXPONENT.

    The rate grows with a power of the batch up to the critical batch C, and stays above it. EXPONENT lies between the
    root of theory (Malladi, Lyu, Panigrahi, Arora, arXiv:2205.10287) and 0.81, the fit of 1,911 runs of language models
    (Li et al., arXiv:2503.04715).
    """
    critical = max(critical, 1.0)
    return math.pow(min(target, critical) / min(batch, critical), EXPONENT)


A = TypeVar("A", bound=Advice)


@dataclass(frozen=True, slots=True)
class Law:
    """How a best rate follows the batch: its factor from batch `b` to `B` with the critical batch `C`, in this order.

    `grows` says it in words, for batches below the critical one; `error` is how far it is off, as LINEAR_ERROR is.
    """

    factor: Callable[[float, float, float], float]
    grows: str
    error: float


_POWER = Law(power_law, f"grows as the batch to the power of {EXPONENT:g}", POWER_ERROR)
# By the name of the optimizer's class.
LAWS: Mapping[str, Law] = {
    "SGD": Law(linear_law, "grows with the batch", LINEAR_ERROR),
    "Adam": _POWER,
    "AdamW": _POWER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRate:
    """The rate `lr` for `target` samples an update, `factor` times that for `batch`.

    The factor lies between `low` and `high` at 90 %, by the tasks that the law was compared with. `critical` is the
    critical batch, as it was measured; `why` says how the factor follows from it.
    """

    lr: float
    batch: int
    target: int
    factor: float
    low: float
    high: float
    critical: CriticalBatch
    why: str


def check_law(setup: Setup) -> int:
    """Return the samples of the swept batch. Raises UsageError if no law holds for what was swept."""
    name = setup.optimizer.name
    if name not in LAWS:
        raise UsageError(
            f"how the best rate of {name} follows the batch isn't known: laws hold for {', '.join(LAWS)}", hint=_INSTEAD
        )
    if setup.batch_size is None:
        raise UsageError("the run doesn't know how many samples an update takes", hint=_INSTEAD)
    return setup.batch_size


def rate_for_batch(lr: float, setup: Setup, noise: GradientNoise | None, target: int) -> BatchRate:
    """Return the rate for `target` samples an update, from the rate `lr` for the swept batch.

    The factor is that of the optimizer's law at the critical batch. Its interval goes from the law at one end of the
    critical batch's own interval to that at the other, and error |log(B / b)| / log 4 decades further on both sides.

    Raises UsageError if there is no law, if the critical batch wasn't measured with the swept batch, and for a target
    more than MOST_TIMES as large or as small.
    """
    batch = check_law(setup)
    if not 1 / MOST_TIMES <= target / batch <= MOST_TIMES:
        few, many = math.ceil(batch / MOST_TIMES), int(MOST_TIMES * batch)
        raise UsageError(
            f"the target batch must be from {few} to {many}, got {target}: the run was swept with {batch}, and no law "
            "was compared with training farther from that",
            hint=_INSTEAD,
        )
    if noise is None or noise.batch != batch:
        raise UsageError(
            "how far the best rate follows the batch depends on the critical batch, which wasn't measured",
            hint="measure it, by some 200 updates: lrfinder verify RUN --critical-batch",
        )
    law = LAWS[setup.optimizer.name]
    found = critical_batch(noise)
    factor, *ends = (law.factor(batch, target, at) for at in (found.samples, found.low, found.high))
    off = 10 ** (law.error * abs(math.log(target / batch)) / math.log(4))
    low, high = min(factor, *ends) / off, max(factor, *ends) * off
    why = (
        f"it was worked out, not measured: {format_lr(lr)} is for {batch} samples an update, and the rate of "
        f"{setup.optimizer.name} {law.grows} up to the critical one, {found}: so it is {factor:.2f} times that for "
        f"{target}, or {low:.2f} to {high:.2f} (at 90 %)"
    )
    return BatchRate(
        lr=factor * lr, batch=batch, target=target, factor=factor, low=low, high=high, critical=found, why=why
    )


def advice_for_batch(advice: A, evidence: SweepEvidence, found: BatchRate, request: Request) -> A:
    """Return `advice`, which is for the swept batch, for the batch of `found`: always uncertain.

    A run that is given in epochs passes over the data as often, in updates of the other batch. What is known of the
    swept batch alone is left out: its trainable band, and how other rates did.
    """
    pick = advice.picks[0]
    low, high = pick.low or pick.lr or math.nan, pick.high or pick.lr or math.nan
    scaled = dataclasses.replace(
        pick,
        rule=RULE,
        lr=found.lr,
        low=found.low * low,
        high=found.high * high,
        status=Status.UNCERTAIN,
        why="; ".join((found.why, pick.why) if pick.status is Status.UNCERTAIN else (found.why,)),
    )
    lr = round_lr(found.lr, 3)
    config = advice.schedule
    if config is not None:
        length = config.steps if request.epochs is None else max(1, round(config.steps * found.batch / found.target))
        wanted = Request(
            steps=None if request.open_ended else length,
            open_ended=request.open_ended,
            schedule=config.schedule.name,
            warmup=request.warmup,
            lr=lr,
        )
        config = _without_run(advise(evidence, wanted).schedule, scaled)
    return dataclasses.replace(
        advice,
        lr=lr,
        status=scaled.status,
        why=f"For {found.target} samples an update the peak rate is {format_lr(lr)}, uncertain: {scaled.why}.",
        picks=(scaled, *advice.picks),
        band=None,
        schedule=config,
        against=(),
        start="",
    )


def _without_run(config: ScheduleConfig | None, pick: Pick) -> ScheduleConfig | None:
    """Return the config with the pick as its evidence, and without the run: that was made with another batch."""
    if config is None or config.evidence is None:
        return config
    told = {"rule": pick.rule, "status": pick.status, "why": pick.why, "band": None, "run": None}
    return config.model_copy(update={"evidence": config.evidence.model_copy(update=told)})
