"""`lrfinder find`: sweep, recommend and verify in one command."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.answers.exit_status import DONE, INCONCLUSIVE, of_signal
from lrfinder.cli.answers.output import note, print_json, print_line, print_text, print_use, warn
from lrfinder.cli.arguments.options import (
    Accumulate,
    BatchSize,
    ClipNorm,
    ClipValue,
    Debug,
    Details,
    Device,
    DevicesPerTrial,
    DryRun,
    Epochs,
    Jobs,
    Json,
    Momentum,
    On,
    OptimizerName,
    Out,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Schedule,
    Seed,
    StartFrom,
    Steps,
    SweptOptimizer,
    Upload,
    Warmup,
    WeightDecay,
    WriteSchedule,
    given_options,
)
from lrfinder.cli.arguments.script_options import ScriptFile, ScriptModule, Which, named_script
from lrfinder.cli.process.several import Nproc, StrategyOption, in_several
from lrfinder.errors import UsageError
from lrfinder.options import Precision, Strategy

if TYPE_CHECKING:
    from lrfinder.api.find import Found


# What `find` takes with a script beside what names it; all else is the script's own.
_FOR_SCRIPTS = frozenset({"steps", "epochs", "schedule", "warmup", "budget"})


def find(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="The model file, as for `sweep`. Not with --resume.")
    ] = None,
    script: ScriptFile = None,
    module: ScriptModule = None,
    which: Which = None,
    swept_optimizer: SweptOptimizer = None,
    scale_others: ScaleOthers = False,
    steps: Steps = None,
    epochs: Epochs = None,
    schedule: Schedule = None,
    warmup: Warmup = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="What trials may cost: 800 updates; a share of the coming run, 5% or 0.05; or a time, 90s, 5min "
            "or 2h; 0: no trials. "
            "[default: 5%, no trials if that is fewer than 800 updates]",
        ),
    ] = None,
    jobs: Jobs = None,
    optimizer: OptimizerName = None,
    momentum: Momentum = None,
    weight_decay: WeightDecay = None,
    batch_size: BatchSize = None,
    precision: PrecisionOption = Precision.AUTO,
    accumulate: Accumulate = 1,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    device: Device = "auto",
    nproc: Nproc = None,
    on: On = None,
    devices_per_trial: DevicesPerTrial = None,
    upload: Upload = False,
    strategy: StrategyOption = Strategy.DDP,
    start_from: StartFrom = None,
    seed: Seed = 0,
    out: Out = None,
    write: WriteSchedule = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Carry on in this run folder; what is finished is kept."),
    ] = None,
    dry_run: DryRun = False,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the peak rate of a coming run, and write its schedule config: sweep, recommend, and verify within --budget.

    The length of the coming run is needed: --epochs or --steps. Trials confirm or correct the rate, if the budget pays
    for them. With --script or --module a training script is used as it is. The exit status is 0 if there is a rate,
    confirmed or not, and 5 if none can be recommended.
    """
    del debug, script, module, which
    from lrfinder.api.find import FindOptions, find_model
    from lrfinder.api.script_sweep import script_run
    from lrfinder.api.sweeping.settings import make_settings, make_source
    from lrfinder.api.sweeping.sweep_run import resume_run, sweep_run
    from lrfinder.api.training.executors import elsewhere
    from lrfinder.cli.process.training import check_dry_run, show_dry_run, watch_training
    from lrfinder.config.files import check_config_target
    from lrfinder.report.documents import find_document
    from lrfinder.report.progress import SweepProgress

    check_dry_run(dry_run, resume)
    if write is not None and (out is None or write.parent.absolute() != out.absolute()):  # --out is made later
        check_config_target(write)
    where = elsewhere(on, devices_per_trial, upload=upload, nproc=nproc if on else None)
    program = named_script(context, _FOR_SCRIPTS)
    watch = functools.partial(watch_training if program is None else SweepProgress, quiet=quiet or as_json)
    if program is None and (model is None) == (resume is None):
        raise UsageError("name a MODEL, or a run folder with --resume", hint="lrfinder find model.py --epochs 10")
    if program is not None:
        sweep = functools.partial(script_run, program, make_settings(seed=seed), out=out, watch=watch)
    elif resume is not None:
        own = {"steps", "seed"}  # here they are those of the coming run and of its trials
        given = {name: value for name, value in given_options(context).items() if name not in own}
        sweep = functools.partial(resume_run, resume, given, watch=watch, where=where, tell=None if quiet else note)
    else:
        source = make_source(
            model or "",
            optimizer=optimizer,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            device=device,
            precision=precision,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            swept_optimizer=swept_optimizer,
            scale_others=scale_others,
            strategy=strategy,
            start_from=start_from,
        )
        if dry_run:
            in_several(nproc if where is None else None)
            show_dry_run(source, make_settings(seed=seed), as_json=as_json)
            return
        sweep = functools.partial(sweep_run, source, make_settings(seed=seed), out=out, watch=watch, where=where)
    options = FindOptions(
        steps=steps,
        epochs=epochs,
        schedule=schedule,
        warmup=warmup,
        budget=budget,
        jobs=jobs,
        where=where,
        script=program,
        seed=seed,
    )
    in_several(nproc if program is None and where is None else None)
    found = find_model(sweep, options, write=write, watch=watch, tell=None if quiet else note)
    for message in (*found.result.notes, *([found.problem] if found.problem else [])):
        warn(message)
    stopped = _signal(found)
    if as_json:
        print_json(
            find_document(
                found.advice,
                found.verification,
                unverified=found.unverified,
                run=str(found.run),
                written=None if found.written is None else str(found.written),
                seconds=found.seconds,
            )
        )
    elif quiet and not details and found.lr is not None and not stopped:
        print_line(f"{found.lr:g}")
    else:
        _show(found, details=details, can_go_on=program is None)
    raise typer.Exit(stopped or (INCONCLUSIVE if found.lr is None else DONE))


def _signal(found: Found) -> int | None:
    """Return the exit status of the signal that ended the sweep or the trials; None if none did."""
    return of_signal(found.verification.stop if found.verification is not None else found.result.status)


def _show(found: Found, *, details: bool, can_go_on: bool) -> None:
    from lrfinder.report.summary import detail_parts, summary_lines
    from lrfinder.report.verification import trials_table

    lines = summary_lines(
        found.advice,
        found.result,
        seconds=found.seconds,
        picture=found.picture,
        updates=found.updates,
        reason=found.verification is None,
    )
    verification = found.verification
    if verification is not None:
        # Where trials decided, the paragraph below --details is theirs, with where they point.
        said = verification.why if details and verification.lr is None else verification.answer
        lines.insert(-1, f"{said} {verification.account or ''}".rstrip())
    elif found.unverified:
        lines.insert(-1, f"Not verified: {found.unverified}.")
    print_text(*lines)
    if _signal(found) is not None:
        if can_go_on:  # a script is swept from its beginning
            print_line(f"To carry on: lrfinder find --resume {shlex.quote(str(found.run))} --epochs E")
    elif found.written is not None and found.schedule is not None:
        print_use(found.written, found.schedule, found.run)
    if details:
        print_text(*detail_parts(found.advice))
        if verification is not None:
            print_text("", trials_table((*found.result.runs, *verification.trials)))
