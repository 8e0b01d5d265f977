"""The advice on a sweep: pick or refusal, band, and the schedule config of the coming run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from lrfinder.advice.doubts import doubts
from lrfinder.advice.length import run_length
from lrfinder.advice.plan import plan_schedule
from lrfinder.advice.refusal import Refusal, refuse_curve, refuse_points
from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.fit import Curve, fit_curve
from lrfinder.numbers import interval, loss, rate
from lrfinder.records import Band, Fit, Pick, Status, SweepResult
from lrfinder.rules import DEFAULT_RULE, FIT_RULES, RULE_NAMES, pick_all
from lrfinder.rules.band import trainable_band

GIVEN = "given"  # the rule's name where the caller names the rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a sweep allows to say. `picks[0]` is the one that counts; `lr` is its rate, None where it is refused.

    `why` is a paragraph for people; `hint` says what to do where `status` is `refused`. `schedule` is the config of
    the coming run, None where there is no rate or no length. `updates` counts every optimizer update spent.
    """

    lr: float | None
    status: Status
    why: str
    hint: str
    picks: tuple[Pick, ...]
    band: Band | None
    fit: Fit | None
    schedule: ScheduleConfig | None
    updates: int

    def reported(self) -> dict[str, Any]:
        """Return what every report takes as keywords: fit, picks, band, and the rule that was chosen."""
        return {"fit": self.fit, "picks": self.picks, "band": self.band, "chosen": self.picks[0].rule}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the coming run is to be: its length, and what the caller insists on (None: lrfinder chooses)."""

    steps: int | None = None
    epochs: float | None = None
    schedule: str | None = None
    warmup: int | None = None
    rule: str = DEFAULT_RULE
    lr: float | None = None
    seed: int = 0  # of the bootstrap


def advise(result: SweepResult, request: Request) -> Advice:
    """Fit the sweep, pick a rate or refuse, and plan the coming run.

    Raises UsageError where the request can't be meant (unknown rule or schedule, a length that can't be counted).
    """
    length = run_length(result.setup, request.steps, request.epochs)
    _check(request)
    curve, refusal = _fit_or_refuse(result, request.seed)
    picks = _picks(result, curve, refusal, request)
    band = trainable_band(curve) if curve is not None and refusal is None else None
    chosen = _given(request.lr, band) if request.lr is not None else picks[0]
    config, plan = None, ""
    if chosen.lr is not None and length is not None:
        schedule, plan = plan_schedule(result.setup.optimizer, length, name=request.schedule, warmup=request.warmup)
        config = _config(result, chosen, band, schedule)
    return Advice(
        lr=config.optimizer.lr if config is not None else chosen.lr,
        status=chosen.status,
        why=_paragraph(result, curve, chosen, band, plan),
        hint=_hint(refusal, chosen),
        picks=picks if chosen is picks[0] else (chosen, *picks),
        band=band,
        fit=curve.record() if curve is not None else None,
        schedule=config,
        updates=result.updates,
    )


def _check(request: Request) -> None:
    if request.rule not in RULE_NAMES:
        raise UsageError(f"unknown rule {request.rule!r}", hint=f"choose one of: {', '.join(RULE_NAMES)}")
    if request.lr is not None and not (math.isfinite(request.lr) and request.lr > 0):
        raise UsageError(f"lr must be a finite number above 0, got {request.lr}")


def _fit_or_refuse(result: SweepResult, seed: int) -> tuple[Curve | None, Refusal | None]:
    refusal = refuse_points(result.traces, result.settings)
    if refusal is not None:
        return None, refusal
    curve = fit_curve(result.traces, result.settings.lrs(), seed=seed)
    return curve, refuse_curve(curve, result.traces, result.settings)


def _picks(result: SweepResult, curve: Curve | None, refusal: Refusal | None, request: Request) -> tuple[Pick, ...]:
    """Return every rule's pick, the requested rule's first; on a refusal that one alone, refused."""
    if refusal is not None or curve is None:
        why = refusal.why if refusal is not None else ""
        return (Pick(rule=request.rule, lr=None, low=None, high=None, status=Status.REFUSED, why=why),)
    found = doubts(curve, result.traces, result.settings)
    picks = [_doubted(pick, found) for pick in pick_all(curve, result.traces, result.settings.steps)]
    return tuple(sorted(picks, key=lambda pick: pick.rule != request.rule))  # a stable sort: the rest keeps its order


def _doubted(pick: Pick, found: tuple[str, ...]) -> Pick:
    if not found or pick.rule not in FIT_RULES:
        return pick
    return dataclasses.replace(pick, status=Status.UNCERTAIN, why="; ".join((pick.why, *found)))


def _given(lr: float, band: Band | None) -> Pick:
    if band is None:
        where = "this sweep can't say whether it is a good one"
    elif band.low <= lr <= band.high:
        where = "it is inside the trainable band"
    else:
        where = f"it is {'below' if lr < band.low else 'above'} the trainable band"
    return Pick(rule=GIVEN, lr=lr, low=None, high=None, status=Status.UNCERTAIN, why=f"the rate you gave; {where}")


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")  # three digits: 0.5 % at most, far inside any interval, and readable


def _config(result: SweepResult, pick: Pick, band: Band | None, schedule: object) -> ScheduleConfig:
    setup = result.setup
    ratios = setup.optimizer.group_ratios
    return ScheduleConfig.model_validate(
        {
            "optimizer": OptimizerConfig(
                name=setup.optimizer.name,
                lr=_rounded(pick.lr or math.nan),
                groups=ratios if len(ratios) > 1 else None,
                settings={
                    key: value
                    for key, value in setup.optimizer.settings.items()
                    if value is not None and _tells(key, value)
                },
            ),
            "schedule": schedule,
            "evidence": Evidence(
                rule=pick.rule,
                band=(_rounded(band.low), _rounded(band.high)) if band is not None else None,
                status=pick.status,
                model=setup.model,
                run=result.run,
                updates=result.updates,
                torch=setup.torch,
                lrfinder=setup.lrfinder,
            ),
        }
    )


def _tells(key: str, value: object) -> bool:
    """Leave out of the config what is switched off, and what AdamW's name says already."""
    return value is not False and key != "decoupled_weight_decay"


def _hint(refusal: Refusal | None, chosen: Pick) -> str:
    if chosen.status is not Status.REFUSED:
        return ""
    return refusal.hint if refusal is not None else "choose another --rule"


def _paragraph(result: SweepResult, curve: Curve | None, pick: Pick, band: Band | None, plan: str) -> str:
    if pick.lr is None or curve is None or band is None:
        return pick.why
    between = f" (90 % interval {interval(pick.low, pick.high)})" if pick.low and pick.high else ""
    fell = (
        f"Over {len(result.traces)} x {result.settings.steps} updates the loss fell "
        f"from {loss(curve.points.start)} to {loss(curve.points.start - curve.points.fall)}."
    )
    picked = f"Rule {pick.rule} picks {rate(pick.lr)}{between}: {pick.why}."
    sentences = [fell, picked, f"The model trains at rates from {interval(band.low, band.high)}."]
    if plan:
        sentences.append(f"The schedule: {plan}.")
    sentences.append("The sweep is short: how the best rate moves with the length of the run was not measured.")
    return " ".join(sentences)
