"""`lrfinder.verify`: confirm or correct a recommendation by short trainings around it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfinder.advice import Advice, gather_evidence
from lrfinder.advice.verify.budget import Account, VerifyRequest, estimate, read_budget
from lrfinder.advice.verify.kept_trials import replayed
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.advice.verify.verification import Verification, conclude
from lrfinder.api.critical_batch import MeasuredBatch, check_measurable, measure_critical_batch
from lrfinder.api.given import items, run_folder, seed_of
from lrfinder.api.runs.run_files import check_written, config_target, write_verification
from lrfinder.api.sweeping.settings import asked
from lrfinder.api.sweeping.stored_code import Tell, announce_model, announce_script
from lrfinder.api.sweeping.sweep_run import Watch, check_checkpoint
from lrfinder.api.training.executors import Elsewhere, elsewhere
from lrfinder.api.training.time_limit import TimeLimit
from lrfinder.api.verify_request import VerifyOptions, check_options, recommended, request_of, run_of
from lrfinder.config import dump
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.errors import RunError, UsageError
from lrfinder.records import Cost, ShortRun, Stop, SweepResult
from lrfinder.report.documents import verify_document
from lrfinder.store import TRIALS, Source, load_run, load_source, read_cost, read_log
from lrfinder.task.reference import check_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """A verification, the sweep that it is about, and where its schedule was written (None: nowhere)."""

    verification: Verification
    sweep: SweepResult
    run: Path
    written: Path | None = None
    corrected: bool = False  # the recommended config was replaced by another
    measured: MeasuredBatch | None = None  # the critical batch, if it was asked for and there is a rate

    @property
    def stop(self) -> Stop | None:
        """What interrupted the trials, or the measuring after them; what was known before is kept."""
        return self.verification.stop or (None if self.measured is None else self.measured.stop)


def verify(
    run: str | os.PathLike[str],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    schedule: str | None = None,
    schedules: str | Sequence[str] = (),
    warmup: int | None = None,
    lr: float | None = None,
    against: float | Sequence[float] | None = None,
    budget: float | str | None = None,
    jobs: int | None = None,
    on: str | None = None,
    devices_per_trial: int | None = None,
    nproc: int | None = None,
    upload: bool = False,
    critical_batch: bool = False,
    seed: int = 0,
) -> Verification:
    """Confirm or correct the recommended rate of a run folder by short trainings from scratch around it.

    `run` is a folder that `sweep(..., out=...)` or `lrfinder sweep` wrote from a model file. Its trials are kept in it:
    a second call trains only what is missing. Without `steps` or `epochs` the last recommendation of the run says how
    long it is. `budget` is a number of updates (800, "10k"), a share of the coming run (0.25, "25%") or a time ("90s",
    "5min", "2h"), which is turned into updates by the sweep's pace; `.account` says what was spent of it. `lr` is
    verified instead of the recommended rate. `against` is a rate, or several, to compare with, each by one trial more;
    the rate that the model file's optimizer has by itself is always among them, and that at which a run stopped that
    goes on from a checkpoint. `jobs` trials are made at once, each in a process of its own; None: several, if that is
    measured to be faster. `on` "ray" makes them on Ray, with `devices_per_trial`, `nproc` and `upload` as in `sweep`.
    With `critical_batch` one run more is made at the verified rate, as long as those of the sweep, and 128 gradients
    are looked at there, by which `recommend(run, target_batch=...)` goes. `.schedule` is the config; `.save(path)`
    writes it.

    Raises UsageError for wrong keywords and if the sweep allows no recommendation, RunError for a damaged folder,
    EnvironmentFailure for the machine; what the user's code raises passes through.
    """
    options = asked(
        VerifyOptions,
        steps=steps,
        epochs=epochs,
        schedule=schedule,
        schedules=items(schedules),
        warmup=warmup,
        lr=lr,
        against=items(against),
        budget=budget,
        jobs=jobs,
        where=elsewhere(on, devices_per_trial, upload=upload, nproc=nproc),
        critical_batch=critical_batch,
        seed=seed_of(seed),
    )
    from lrfinder.api.sweeping.together import device_of, together

    folder = run_folder(run)
    device = device_of(run_of(folder))
    result = together(lambda: verify_run(folder, options, keep=False), device=device)
    verification = result.verification
    if verification.stop is None and verification.account is None and verification.lr is None:
        raise UsageError(f"there is no recommendation to verify: {verification.why}", hint=verification.hint)
    return verification if result.stop is None else dataclasses.replace(verification, stop=result.stop)


def verify_run(
    target: Path,
    options: VerifyOptions,
    *,
    write: Path | None = None,
    keep: bool = True,
    watch: Watch | None = None,
    tell: Tell | None = None,
) -> VerifyResult:
    """Verify the recommendation of a run folder, or of a schedule config that names its run; the one way to do it.

    `watch` is entered before the model file is imported, and gives the observer of the training; `tell` gets the name
    of a model file that the run folder names. With `keep` the verified schedule is written to `write`, or to the file
    of the last recommendation, and verification.json beside it. A sweep that allows no recommendation, and an
    interruption, are results too: then `confirmed` is None.
    """
    check_options(options)
    budget = read_budget(options.budget)
    folder, last = recommended(target, options)
    check_written(folder, write)
    sweep, source = load_run(folder), _source(folder, options, tell)
    evidence = gather_evidence(sweep)
    cost = read_cost(folder)
    advice, request = request_of(evidence, options, last, budget, None if cost is None else cost.pace)
    if request is None:
        return VerifyResult(verification=_none(advice, sweep.updates), sweep=sweep, run=folder)
    _check_processes(sweep, folder, source, options.where)
    if options.critical_batch:
        check_measurable(sweep, source, options.where)
    check_checkpoint(source, sweep.setup, folder)
    plan, account = _train(request, sweep, folder, source=source, options=options, watch=watch, swept=cost, tell=tell)
    account = dataclasses.replace(account, budget="" if budget is None else budget.said)
    trials = plan.runs
    if trials and trials[-1].stop.was_asked_for:
        said = f"{trials[-1].stop.value}: {len(trials) - 1} runs are kept in {folder}"
        stopped = dataclasses.replace(
            _none(advice, sweep.updates + plan.updates),
            answer=said,
            hint="the same command carries on",
            stop=trials[-1].stop,
            account=account,
        )
        return VerifyResult(verification=stopped, sweep=sweep, run=folder)
    concluded = conclude(plan, evidence)
    if source.script is not None:
        concluded = _if_script_ended(concluded, trials)
    verification = dataclasses.replace(concluded, account=account)
    written = None
    if keep and verification.schedule is not None:
        written = write or config_target(folder, last)
        dump(verification.schedule, written)
    if keep:
        place = None if written is None else str(written)
        write_verification(folder, verify_document(verification, run=str(folder), written=place))
    corrected = written is not None and last is not None and written == last.path and not verification.confirmed
    measured = None
    if options.critical_batch and verification.lr is not None:
        measured = measure_critical_batch(
            sweep, folder, source=source, lr=verification.lr, seed=options.seed, watch=watch
        )
        verification = dataclasses.replace(verification, updates=verification.updates + measured.updates)
    return VerifyResult(
        verification=verification, sweep=sweep, run=folder, written=written, corrected=corrected, measured=measured
    )


def _source(folder: Path, options: VerifyOptions, tell: Tell | None) -> Source:
    """Return what is trained: what the run folder names, which is told, or what stands in its place."""
    source = load_source(folder)
    if options.model is not None:
        check_reference(options.model)
        return dataclasses.replace(source, reference=options.model, script=None)
    if options.script is not None:
        source = dataclasses.replace(source, reference=options.script.program, script=options.script)
    if source.script is not None:
        announce_script(source.script, folder, tell, stored=options.script is None)
        if options.jobs is not None and options.jobs > 1:
            raise UsageError("trials of a script are made one by one", hint="leave --jobs out")
    else:
        announce_model(source, folder, tell)
    return source


def _if_script_ended(verification: Verification, trials: tuple[ShortRun, ...]) -> Verification:
    """Return the verification; if a script was too short for a trial, and so nothing could be told, it says that."""
    if verification.confirmed is not None or not trials or trials[-1].stop is not Stop.OUT_OF_DATA:
        return verification
    hint = "give --script again with arguments behind `--` that let it train so long, such as more epochs"
    return dataclasses.replace(verification, answer=f"Nothing could be verified: {trials[-1].why}", hint=hint)


def _check_processes(sweep: SweepResult, folder: Path, source: Source, where: Elsewhere | None) -> None:
    """Raise RunError if trials would train with another batch than the sweep, by another number of processes."""
    place = launched_place()
    now, then = (1 if place is None else place.size), sweep.setup.processes or 1
    if source.script is not None:
        now = source.script.processes or 1
    elif where is not None:
        now = where.nproc or 1
    if now != then:
        raise RunError(
            f"{folder}: the sweep was made by {then} processes together, and this is a job of {now}: trials would "
            "train with another batch",
            hint=f"lrfinder verify --nproc {then}" if then > 1 else "leave --nproc out",
        )


def _train(
    request: VerifyRequest,
    sweep: SweepResult,
    folder: Path,
    *,
    source: Source,
    options: VerifyOptions,
    watch: Watch | None,
    swept: Cost | None,
    tell: Tell | None,
) -> tuple[TrialPlan, Account]:
    """Make the missing trials of the request, and return its plan with all of them, and an account of those made now.

    `swept` is what the sweep cost; `tell` gets what the trials are expected to cost before they begin.
    """
    plan = replayed(request, sweep, read_log(folder / TRIALS))
    planned = _planned(plan, swept)
    if not plan.next_runs():
        return plan, Account(planned=planned, spent=Cost(updates=0))
    if tell is not None:
        tell(estimate(planned))
    limit = TimeLimit(request.seconds, None if swept is None else swept.pace)
    with contextlib.ExitStack() as stack:
        observers = [] if watch is None else [stack.enter_context(watch(sweep.settings))]
        for observer in observers:
            observer.runs_planned(planned.updates)
        from lrfinder.api.training.trials import make_trials  # torch, after `watch` has prepared for it

        plan = make_trials(
            plan, folder, source=source, jobs=options.jobs, where=options.where, observers=observers, limit=limit
        )
        spent = Cost(updates=limit.updates, seconds=limit.elapsed)
    missing = () if plan.runs and plan.runs[-1].stop.ends_the_sweep else plan.next_runs()
    return plan, Account(planned=planned, spent=spent, unbegun=sum(run.steps for run in missing))


def _planned(plan: TrialPlan, swept: Cost | None) -> Cost:
    """Return what the trials that are missing may cost at most, if they are like the sweep's own short runs."""
    left = max(0, plan.request.budget - sum(run.updates for run in plan.runs))
    updates = min(left, plan.lengths.most_updates(plan.request.more))
    pace = None if swept is None else swept.pace
    return Cost(
        updates=updates,
        seconds=None if pace is None else updates * pace,
        memory=None if swept is None else swept.memory,
    )


def _none(advice: Advice, updates: int) -> Verification:
    """Return a verification that came to no conclusion, with the picks of the sweep."""
    return Verification(
        confirmed=None,
        lr=None,
        pick=advice.picks[0],
        picks=advice.picks,
        answer=advice.why,
        hint=advice.hint,
        schedule=None,
        updates=updates,
        trials=(),
    )
