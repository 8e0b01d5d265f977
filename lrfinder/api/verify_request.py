"""What a verification is asked for: its options, the run that they are about, and what that comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lrfinder.advice import Advice, Request, SweepEvidence, advise
from lrfinder.advice.constant_rate import CONSTANT
from lrfinder.advice.length import check_length, run_length
from lrfinder.advice.plan import carried_warmup
from lrfinder.advice.verify.budget import Budget, VerifyRequest, budget_in_updates
from lrfinder.api.runs.run_files import LastRecommendation, last_recommendation
from lrfinder.api.training.executors import Elsewhere
from lrfinder.config import load_schedule
from lrfinder.errors import UsageError, unknown_choice
from lrfinder.options import MOST_PROCESSES
from lrfinder.records import Script, Setup
from lrfinder.records.given import convert_numbers, whole
from lrfinder.schedules import SCHEDULES

CONFIG_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".toml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What a verification is asked for; None: as the last recommendation says, or as lrfinder chooses.

    `budget` is a number of updates, a share of the coming run (0.25 or "25%") or a time ("5min"): see `read_budget`.
    `model` or `script` replaces what was swept. Numbers become Python's own. Raises ValueError for what is none.
    """

    steps: int | None = None
    epochs: float | None = None
    schedule: str | None = None
    schedules: tuple[str, ...] = ()
    warmup: int | None = None
    lr: float | None = None
    against: tuple[float, ...] = ()
    budget: Budget | float | str | None = None
    jobs: int | None = None
    where: Elsewhere | None = None
    model: str | None = None
    script: Script | None = None
    critical_batch: bool = False  # measure it, too
    seed: int = 0

    def __post_init__(self) -> None:
        convert_numbers(self)


def check_options(options: VerifyOptions) -> None:
    """Raise UsageError for a length, a warm-up, a number of jobs or the name of a schedule that can't be."""
    check_length(options.steps, options.epochs)
    if options.warmup is not None:
        whole("warmup", options.warmup)
    if options.jobs is not None and not 1 <= options.jobs <= MOST_PROCESSES:
        raise UsageError(f"jobs must be from 1 to {MOST_PROCESSES}, got {options.jobs}")
    if options.jobs is not None and options.where is not None:
        raise UsageError("--jobs and --on both say where trials are made", hint="leave one of them out")
    for name in options.schedules:
        if name not in SCHEDULES:
            raise unknown_choice("schedule", name, SCHEDULES)


def run_of(target: Path) -> Path:
    """Return the run folder `target`, or the one that this config names. Raises UsageError if it names none."""
    if not _is_config(target):
        return target
    config = load_schedule(target)
    if config.evidence is None or config.evidence.run is None:
        hint = "give the run folder instead: lrfinder verify RUN --steps T"
        raise UsageError(f"{target}: evidence.run is missing: the config doesn't name its run", hint=hint)
    return Path(config.evidence.run)


def _is_config(target: Path) -> bool:
    return target.suffix in CONFIG_SUFFIXES and not target.is_dir()


def recommended(target: Path, options: VerifyOptions) -> tuple[Path, LastRecommendation | None]:
    """Return the run folder, and the recommendation to verify; None if the options say how long the run is."""
    given = options.steps is not None or options.epochs is not None
    folder = run_of(target)
    if given:
        return folder, None
    last = last_recommendation(folder)
    if _is_config(target):
        path = last.path if last is not None else None
        own = path if path is not None and path.resolve() == target.resolve() else None
        last = LastRecommendation(config=load_schedule(target), path=own)
    return folder, last


def request_of(
    evidence: SweepEvidence,
    options: VerifyOptions,
    last: LastRecommendation | None,
    budget: Budget | None,
    pace: float | None,
) -> tuple[Advice, VerifyRequest | None]:
    """Return the advice and what is to be verified of it; None if the sweep allows no recommendation."""
    steps = run_length(evidence.result, options.steps, options.epochs)
    lr, schedule, warmup = options.lr, options.schedule, options.warmup
    if steps is None and last is None:
        hint = "add --steps T or --epochs E (in Python: steps=..., epochs=...), or run `lrfinder recommend` with one"
        raise UsageError("the length of the coming run is needed", hint=hint)
    if steps is None and last is not None:
        steps = last.config.steps
        name = last.config.schedule.name
        schedule = schedule or name
        if lr is None and (schedule == CONSTANT) is (name == CONSTANT):  # else that rate is for another kind of run
            lr = last.config.optimizer.lr
        if warmup is None and schedule in SCHEDULES:
            warmup = carried_warmup(last.config.schedule.warmup, name, schedule)
    steps = steps or 1
    advice = advise(evidence, Request(steps=steps, schedule=schedule, warmup=warmup, lr=lr))
    if advice.lr is None or advice.schedule is None:
        return advice, None
    against = _against(options, evidence.result.setup)
    more = len(options.schedules) + sum(rate != advice.lr for rate in against)
    return advice, VerifyRequest(
        steps=steps,
        budget=budget_in_updates(budget, steps, more, pace=pace),
        lr=advice.lr,
        schedule=advice.schedule.schedule.name,
        schedules=options.schedules,
        warmup=warmup,
        seed=options.seed,
        band=evidence.band,
        chance_onset=evidence.chance_onset,
        against=against,
        seconds=None if budget is None else budget.seconds,
    )


def _against(options: VerifyOptions, setup: Setup) -> tuple[float, ...]:
    """Return the rates to compare with: the model file's, or that at which a run stopped; then those asked for."""
    own = setup.optimizer.own_lr if setup.start is None else setup.start.lr
    return tuple(dict.fromkeys((*([own] if own else []), *options.against)))
