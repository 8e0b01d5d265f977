"""`lrfinder.find`: sweep, recommend and verify, from a model file to the schedule config of its coming run."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.advice import Advice, Request
from lrfinder.advice.advise import pick_text
from lrfinder.advice.length import run_length
from lrfinder.advice.verify.budget import LEAST_BUDGET, Budget, read_budget
from lrfinder.api.drawn import Drawn
from lrfinder.api.given import model_reference
from lrfinder.api.recommend import recommend_run
from lrfinder.api.runs.run_files import check_name
from lrfinder.api.sweeping.settings import asked, make_settings, make_source
from lrfinder.api.sweeping.stored_code import Tell
from lrfinder.api.sweeping.sweep_run import SweepRun, Watch, sweep_run
from lrfinder.api.training.executors import Elsewhere, elsewhere
from lrfinder.api.verify import verify_run
from lrfinder.api.verify_request import VerifyOptions, check_options
from lrfinder.config import ScheduleConfig, dump
from lrfinder.errors import UsageError
from lrfinder.options import Precision, Stop, Strategy
from lrfinder.records import Chart, Pick, Script, Status
from lrfinder.records.given import convert_numbers

if TYPE_CHECKING:
    from lrfinder.advice.verify.verification import Verification
    from lrfinder.api.verify import VerifyResult
    from lrfinder.records import SweepResult

SHARE = 0.05  # of the coming run: what trials may cost if nobody says how much


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
    """The coming run, and what may be spent on its rate; `budget` is as in `verify`, None: SHARE, "0": no trials.

    Numbers become Python's own. Raises ValueError for what is none.
    """

    steps: int | None = None
    epochs: float | None = None
    schedule: str | None = None
    warmup: int | None = None
    budget: float | str | None = None
    jobs: int | None = None
    where: Elsewhere | None = None
    script: Script | None = None  # what was swept, if it is one
    seed: int = 0

    def __post_init__(self) -> None:
        convert_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Found(Drawn):
    """A peak rate for the coming run, and what it rests on.

    `advice` is the recommendation, with the rate that trials confirmed or corrected in front. `verification` is None
    if no trials were made; `unverified` then says why. If a signal ended the search, `advice` is what was known then.
    """

    advice: Advice
    result: SweepResult
    run: Path
    updates: int
    seconds: float
    verification: Verification | None = None
    unverified: str = ""
    picture: Path | None = None
    written: Path | None = None
    problem: str = ""  # why the recommendation is not kept in the run folder

    def __str__(self) -> str:
        if self.verification is None or self.verification.lr is not None:  # then its words are those of the advice
            return str(self.advice)
        return f"{self.advice} {self.verification}"

    def __repr__(self) -> str:
        return f"Found({pick_text(self.advice.picks[0])})"

    def _chart(self) -> Chart:
        return self.advice.chart(self.result)

    @property
    def lr(self) -> float | None:
        """The peak rate; None if none can be recommended, and `advice.why` says why."""
        return self.advice.lr

    @property
    def status(self) -> Status:
        """How far `lr` may be trusted."""
        return self.advice.picks[0].status

    @property
    def schedule(self) -> ScheduleConfig | None:
        """The schedule config with that rate."""
        return self.advice.schedule

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule config; the suffix says whether as YAML, JSON or TOML. Raises UsageError without one."""
        if self.schedule is None:
            raise UsageError("there is no schedule to save", hint=self.advice.hint)
        dump(self.schedule, path)


def find(
    model: str | os.PathLike[str],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    budget: float | str | None = None,
    jobs: int | None = None,
    on: str | None = None,
    devices_per_trial: int | None = None,
    nproc: int | None = None,
    upload: bool = False,
    optimizer: str | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    precision: str = Precision.AUTO,
    accumulate: int = 1,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    strategy: str = Strategy.DDP,
    device: str = "auto",
    start_from: str | os.PathLike[str] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Found:
    """Sweep a model file, recommend a rate for a run of `steps` updates or `epochs`, and verify it by short trainings.

    `budget` is what the trials may cost: a number of updates, a share of the coming run (0.05 or "5%", the default), a
    time ("5min"), or 0 for none. If the default share pays for fewer than 800 updates none are made, since shorter
    trials can't tell the best rates apart. All is kept in the run folder `out` (default: lrfinder-runs/<model>-<time>),
    the config too. The other keywords are those of `sweep`. `.lr`, `.status`, `.schedule`, `.save(path)`.

    Raises UsageError for keywords that make no sense, and what `sweep` and `verify` raise.
    """
    from lrfinder.report.progress import SweepProgress

    source = make_source(
        model_reference(model),
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        device=device,
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
        clip_value=clip_value,
        strategy=strategy,
        start_from=start_from,
    )
    options = asked(
        FindOptions,
        steps=steps,
        epochs=epochs,
        schedule=schedule,
        warmup=warmup,
        budget=budget,
        jobs=jobs,
        where=elsewhere(on, devices_per_trial, upload=upload, nproc=nproc),
        seed=seed,
    )
    watch = SweepProgress if progress else None
    place = None if out is None else Path(out)

    def sweep() -> SweepRun:
        return sweep_run(source, make_settings(seed=seed), out=place, watch=watch, where=options.where)

    from lrfinder.api.sweeping.together import together

    return together(lambda: find_model(sweep, options, watch=watch), device=device)


def find_model(
    sweep: Callable[[], SweepRun],
    options: FindOptions,
    *,
    write: Path | None = None,
    watch: Watch | None = None,
    tell: Tell | None = None,
) -> Found:
    """Find a rate from the sweep that `sweep` makes or carries on, in its run folder; the one way to do it.

    The config goes to `write`, or into the run folder. `watch` is as in `sweep_model`, `tell` as in `verify_run`.
    """
    begun = time.monotonic()
    budget = _check(options)
    if write is not None:
        check_name(write)
    swept = sweep()
    found = Found(
        advice=swept.advice,
        result=swept.sweep,
        run=swept.folder,
        updates=swept.sweep.updates,
        seconds=time.monotonic() - begun,
        picture=swept.picture,
    )
    if swept.sweep.status in {Stop.INTERRUPTED, Stop.TERMINATED}:
        return found
    request = Request(steps=options.steps, epochs=options.epochs, schedule=options.schedule, warmup=options.warmup)
    try:
        recommended = recommend_run(swept.folder, request, write=write)
    except UsageError as error:  # only the loader tells whether epochs can be counted
        kept = f"the sweep is kept: lrfinder find --resume {shlex.quote(str(swept.folder))} --steps T"
        raise UsageError(str(error), hint=f"{error.hint}; {kept}" if error.hint else kept) from None
    if recommended.unwritten is not None:
        raise recommended.unwritten
    found = replace(
        found,
        advice=recommended.recommendation,
        picture=recommended.picture,
        written=recommended.written,
        problem=recommended.problem,
    )
    steps = run_length(swept.sweep, options.steps, options.epochs) or 1
    if found.lr is None or (unverified := _left_out(budget, steps)):
        return replace(found, unverified=unverified if found.lr is not None else "", seconds=time.monotonic() - begun)
    checked = verify_run(
        swept.folder,
        VerifyOptions(
            budget=budget or SHARE, jobs=options.jobs, where=options.where, script=options.script, seed=options.seed
        ),
        write=write,
        watch=watch,
        tell=tell,
    )
    told = with_verification(replace(found, seconds=time.monotonic() - begun), checked)
    if told.schedule is not None and told.schedule != found.schedule and checked.written is None and told.written:
        dump(told.schedule, told.written)  # what is on the disk is no surer than what is said
    return told


def with_verification(found: Found, checked: VerifyResult) -> Found:
    """Return what was found with the rate that trials confirmed or corrected; if they can't tell, it is uncertain."""
    verification = checked.verification
    advice = found.advice
    if verification.lr is not None:
        advice = replace(
            advice,
            lr=verification.lr,
            status=verification.status,
            why=verification.why,
            hint=verification.hint,
            picks=verification.picks,
            schedule=verification.schedule,
            updates=verification.updates,
        )
    elif verification.stop is None:
        first, *others = advice.picks
        doubted = replace(first, status=Status.UNCERTAIN, why=f"{first.why}; {verification.pick.why}")
        advice = replace(advice, status=Status.UNCERTAIN, picks=(doubted, *others), schedule=_doubted(found, doubted))
    return replace(
        found,
        advice=advice,
        verification=verification,
        updates=verification.updates,
        written=checked.written or found.written,
    )


def _doubted(found: Found, pick: Pick) -> ScheduleConfig | None:
    """Return the schedule with the doubts in its evidence."""
    config = found.schedule
    if config is None or config.evidence is None:
        return config
    evidence = config.evidence.model_copy(update={"status": pick.status, "why": pick.why})
    return config.model_copy(update={"evidence": evidence})


def _check(options: FindOptions) -> Budget | None:
    """Return the budget; raise UsageError, before anything is measured, for what could not be planned afterwards."""
    if options.steps is None and options.epochs is None:
        raise UsageError("the length of the coming run is needed", hint="add --steps T or --epochs E")
    schedules = () if options.schedule is None else (options.schedule,)
    check_options(
        VerifyOptions(
            steps=options.steps,
            epochs=options.epochs,
            schedules=schedules,
            warmup=options.warmup,
            jobs=options.jobs,
            where=options.where,
        )
    )
    budget = read_budget(options.budget)
    if budget is not None and budget.seconds is None and not budget.is_nothing:
        budget.in_updates(options.steps or round(1 / SHARE) * LEAST_BUDGET, None)
    return budget


def _left_out(budget: Budget | None, steps: int) -> str:
    """Return why no trials are made for a run of `steps` updates; empty if they are."""
    if budget is not None and budget.is_nothing:
        return "the budget is 0"
    if budget is None and SHARE * steps < LEAST_BUDGET:
        return (
            f"{SHARE:.0%} of the run, {round(SHARE * steps)} updates, can't tell the best rates apart; "
            f"--budget {LEAST_BUDGET} makes trials"
        )
    return ""
