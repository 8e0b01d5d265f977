"""The advice on a sweep: pick or refusal, band, and the schedule config of the coming run."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrfinder.advice.against import Against, compare_rate, start_text
from lrfinder.advice.constant_rate import CONSTANT, for_constant
from lrfinder.advice.length import run_length
from lrfinder.advice.plan import plan_schedule
from lrfinder.advice.summary import summary
from lrfinder.advice.sweep.doubts import (
    curve_warnings,
    hardly_begun,
    late_onset,
    line_search,
    lr_drifts,
    sweep_too_long,
    weak_fall,
)
from lrfinder.advice.sweep.evidence import TOO_SMALL, SweepEvidence, untrainable_runs
from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError, unknown_choice
from lrfinder.fit import usual_arithmetic
from lrfinder.formatting import format_interval, format_lr, round_lr
from lrfinder.optimizers import tells
from lrfinder.records import Band, Chart, Fit, Pick, ShortRun, Status, SweepResult
from lrfinder.records.given import convert_numbers
from lrfinder.rules import DEFAULT_RULE, FIT_RULES, OLD_NAMES, PLATEAU_RULE, RULE_NAMES, pick_all, renamed
from lrfinder.rules.trials import TRIALS_RULE, pick_by_trials, reference_length, sweep_estimate

_NO_RULE = "choose another --rule, or sweep again with --mode auto"
LONGEST_CONFIDENT = 12.0  # times as long as what was tried: advice/README.md#longest_confident
_CHANCE = "no rate was tried that is too small to learn at, so chance may have made this fall"
_CACHED = "it was measured on the same batches over and over, so its interval leaves out the chance of the data"
GIVEN = "given"  # the rule's name if the caller names the rate


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Advice:
    """What a sweep allows to say. `picks[0]` is the one that counts; `lr` is its rate, None if it is refused.

    `why` is a paragraph for people; `hint` says what to do if `status` is `refused`. `schedule` is the config of
    the coming run, None if there is no rate or no length. `updates` counts every optimizer update spent.
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
    notes: tuple[str, ...] = ()  # what holds for all picks, each a sentence; it stands in their `why`, too
    against: tuple[Against, ...] = ()  # your optimizer's own rate, if it is known, and those that were asked for
    start: str = ""  # from which checkpoint the run goes on, and whether its last rate is as good

    def __str__(self) -> str:
        if self.lr is not None:
            return self.why
        return f"No learning rate can be suggested: {self.why}. What to do: {self.hint}."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({pick_text(self.picks[0])})"

    def chart(self, result: SweepResult) -> Chart:
        """Return what a picture of `result`, the sweep that was advised on, shows."""
        return Chart(result=result, fit=self.fit, picks=self.picks, band=self.band, chosen=self.picks[0].rule)


def pick_text(pick: Pick) -> str:
    """Return a pick in a line: its rate, interval and status."""
    if pick.lr is None:
        return f"no rate, {pick.status}"
    between = f" ({format_interval(pick.low, pick.high)})" if pick.low is not None and pick.high is not None else ""
    return f"lr {format_lr(pick.lr)}{between}, {pick.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the coming run is to be: its length, and what the caller insists on (None: lrfinder chooses).

    Numbers become Python's own. Raises ValueError for what is none.
    """

    steps: int | None = None
    epochs: float | None = None
    open_ended: bool = False  # its length isn't known, and a schedule is wanted all the same
    schedule: str | None = None
    warmup: int | None = None
    rule: str | None = None  # None: `trials`, without any `steepest`; see _default_rule
    lr: float | None = None
    against: tuple[float, ...] = ()  # rates to compare with, such as the one that is used so far

    def __post_init__(self) -> None:
        convert_numbers(self)


@usual_arithmetic()
def advise(evidence: SweepEvidence, request: Request, trials: Iterable[ShortRun] = ()) -> Advice:
    """Pick a rate or refuse, and plan the coming run; `trials` of `verify` help to choose its shape.

    Raises UsageError if the request can't be met (unknown rule or schedule, a length that can't be counted).
    """
    result = evidence.result
    if request.rule is not None and request.rule in OLD_NAMES:
        warnings.warn(renamed(request.rule), FutureWarning, stacklevel=2)
        request = dataclasses.replace(request, rule=OLD_NAMES[request.rule])
    length = run_length(result, request.steps, request.epochs)
    _check(request)
    picks, notes = _picks(evidence, request, length), _too_far(result, length)
    picks = tuple(_doubted(pick, notes) for pick in picks)
    band = evidence.band
    chosen = _given(request.lr, band) if request.lr is not None else picks[0]
    if request.schedule == CONSTANT and request.lr is None:
        chosen = for_constant(chosen, result.setup.optimizer)
    config, plan = None, ""
    if chosen.lr is not None and (length is not None or request.open_ended):
        schedule, plan = plan_schedule(
            result.setup.optimizer, length, name=request.schedule, warmup=request.warmup, trials=trials
        )
        config = _config(result, chosen, band, schedule)
    lr = None if chosen.lr is None else round_lr(chosen.lr, 3)
    own = result.setup.optimizer.own_lr
    rates = dict.fromkeys((*([own] if own and result.setup.start is None else []), *request.against))
    compared = () if lr is None else (compare_rate(evidence, rate, lr, request.schedule) for rate in rates)
    against = tuple(rate for rate in compared if rate.worse is not None or rate.lr in request.against)
    start = start_text(result.setup.start, evidence, lr, request.schedule)
    return Advice(
        lr=lr,
        status=chosen.status,
        why=" ".join((summary(evidence, chosen, band, plan), *([start] if start and lr else []), *map(str, against))),
        hint=_hint(evidence, chosen),
        picks=picks if chosen is picks[0] else (chosen, *picks),
        band=band,
        fit=evidence.curve.record() if evidence.curve is not None else None,
        schedule=config,
        updates=result.updates,
        notes=notes,
        against=against,
        start=start,
    )


def _check(request: Request) -> None:
    if request.open_ended and (request.steps is not None or request.epochs is not None):
        raise UsageError("an open-ended run has no length", hint="give a length or open_ended, not both")
    if request.rule is not None and request.rule not in {*RULE_NAMES, *FIT_RULES}:
        raise unknown_choice("rule", request.rule, RULE_NAMES)
    if request.lr is not None and not (math.isfinite(request.lr) and request.lr > 0):
        raise UsageError(f"lr must be a finite number above 0, got {request.lr}")


def _picks(evidence: SweepEvidence, request: Request, length: int | None) -> tuple[Pick, ...]:
    """Return every rule's pick, the requested rule's first; if that rule can make none, its refusal first."""
    result, source, curve, picks = evidence.result, evidence.pick_source, evidence.usable_curve, []
    optimizer = result.setup.optimizer
    common = (
        *evidence.doubts,
        *line_search(optimizer),
        *hardly_begun(result.runs, length),
        *((_CACHED,) if result.setup.cached_batches is not None else ()),
    )
    plateau = () if curve is None else late_onset(curve)
    if curve is not None:
        common = (*sweep_too_long(source.settings), *weak_fall(curve), *plateau, *common)
        moves = lr_drifts(optimizer, source.settings.steps, length)
        found = (*curve_warnings(curve, source.traces, source.settings), *moves, *common)
        picks = [_doubted(pick, found) for pick in pick_all(curve, result.traces, result.settings.steps)]
    if evidence.profile is not None:
        guide = sweep_estimate(next((pick for pick in picks if pick.rule == DEFAULT_RULE), None), source.settings)
        found = common if curve is not None or untrainable_runs(evidence.profile) else (_CHANCE, *common)
        tried = evidence.profile.steps if guide is not None else max(evidence.profile.steps, reference_length(length))
        found = (*lr_drifts(optimizer, tried, length), *found)
        picks.insert(0, _doubted(pick_by_trials(evidence.profile, guide, optimizer, length), found))
    wanted = request.rule or _default_rule(evidence, picks, after_plateau=bool(plateau))
    if not any(pick.rule == wanted for pick in picks):
        why = evidence.refusal.why if evidence.refusal is not None else _not_there(wanted, result)
        picks.insert(0, Pick(rule=wanted, lr=None, low=None, high=None, status=Status.REFUSED, why=why))
    return tuple(sorted(picks, key=lambda pick: pick.rule != wanted))  # a stable sort: the rest keeps its order


def _default_rule(evidence: SweepEvidence, picks: Sequence[Pick], *, after_plateau: bool) -> str:
    """Return the rule whose pick counts: `trials`, if there are any.

    After a plateau short runs end too early to be trusted. There it is the fit's own steepest point, if anything is
    learned at it, or the pick by trials, if that is lower: rules/README.md#plateau_rule.
    """
    if not after_plateau:
        return DEFAULT_RULE if evidence.profile is None else TRIALS_RULE
    raw, tried = (next((pick for pick in picks if pick.rule == name), None) for name in (PLATEAU_RULE, TRIALS_RULE))
    if raw is None or not _learns(raw, evidence.band):
        return DEFAULT_RULE
    lower = tried is not None and raw.lr is not None and tried.lr is not None and tried.lr < raw.lr
    return TRIALS_RULE if lower else PLATEAU_RULE


def _learns(pick: Pick, band: Band | None) -> bool:
    """Tell whether anything is learned at this pick: on a noisy curve it may be a chance fall far below the band."""
    return pick.lr is None or band is None or pick.lr > band.low / 10**TOO_SMALL


def _too_far(result: SweepResult, steps: int | None) -> tuple[str, ...]:
    """Return a doubt if what was measured is too short to say much of a run of `steps` updates."""
    longest = result.settings.run_steps if result.runs else result.settings.steps
    if steps is None or steps <= LONGEST_CONFIDENT * longest:
        return ()
    times = f"{steps / longest:.0f} times as long as any that was tried"
    return (f"the coming run is {times}: `lrfinder verify` measures longer ones",)


def _not_there(rule: str, result: SweepResult) -> str:
    if not result.runs:
        return "the sweep made no short runs"
    if rule == TRIALS_RULE:
        return "none of the trial runs brought the loss clearly below where it began"
    return "the sweep has no curve that this rule could read"


def _doubted(pick: Pick, found: tuple[str, ...]) -> Pick:
    if not found or pick.lr is None or pick.rule not in {TRIALS_RULE, *FIT_RULES}:
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


def _config(result: SweepResult, pick: Pick, band: Band | None, schedule: object) -> ScheduleConfig:
    setup = result.setup
    ratios = setup.optimizer.group_ratios
    return ScheduleConfig.model_validate(
        {
            "optimizer": OptimizerConfig(
                name=setup.optimizer.name,
                lr=round_lr(pick.lr or math.nan, 3),
                groups=ratios if len(ratios) > 1 else None,
                settings={
                    key: value
                    for key, value in setup.optimizer.settings.items()
                    if value is not None and tells(setup.optimizer.name, key, value)
                },
            ),
            "schedule": schedule,
            "evidence": Evidence(
                rule=pick.rule,
                band=(round_lr(band.low, 3), round_lr(band.high, 3)) if band is not None else None,
                status=pick.status,
                model=setup.model,
                run=result.run,
                updates=result.updates,
                torch=setup.torch,
                lrfinder=setup.lrfinder,
            ),
        }
    )


def _hint(evidence: SweepEvidence, chosen: Pick) -> str:
    if chosen.status is not Status.REFUSED:
        return ""
    hint = evidence.refusal.hint if evidence.refusal is not None else _NO_RULE
    known = evidence.refusal is not None and evidence.refusal.known
    if evidence.result.runs and evidence.profile is None and not known:
        longer = 4 * evidence.result.settings.run_steps  # a run of 400 updates learns on what one of 75 only begins on
        return f"if it sits on a plateau first, let short runs take longer (--run-steps {longer}); otherwise {hint}"
    return hint
