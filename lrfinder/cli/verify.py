"""`lrfinder verify`: run short trainings near a recommended rate, and confirm or correct it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.answers.exit_status import of_answer, of_signal
from lrfinder.cli.answers.output import note, print_json, print_line, print_text, print_use, warn
from lrfinder.cli.arguments.options import (
    Debug,
    Details,
    DevicesPerTrial,
    Epochs,
    Jobs,
    Json,
    On,
    Quiet,
    ScaleOthers,
    Schedule,
    Seed,
    Steps,
    Upload,
)
from lrfinder.cli.arguments.script_options import ScriptFile, ScriptModule, Which, named_script
from lrfinder.cli.arguments.values import complete_schedules
from lrfinder.cli.process.several import Nproc, in_several
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    from lrfinder.api.sweeping.sweep_run import Watch
    from lrfinder.api.verify import VerifyResult

# What it takes with a script beside what names it.
_FOR_SCRIPTS = frozenset({"target", "steps", "epochs", "schedule", "schedules", "lr", "against", "budget"})


def verify(
    context: typer.Context,
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN or CONFIG",
            help="A run folder that `sweep` wrote, or a schedule config that `recommend` wrote. "
            "[default: the newest run in lrfinder-runs]",
        ),
    ] = None,
    steps: Steps = None,
    epochs: Epochs = None,
    schedule: Schedule = None,
    schedules: Annotated[
        str | None,
        typer.Option(
            "--schedules",
            autocompletion=complete_schedules,
            help="Other shapes to try at the best rate, such as cosine,constant.",
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Verify this peak rate instead of the recommended one.")
    ] = None,
    against: Annotated[
        list[float] | None,
        typer.Option(
            "--against",
            metavar="LR",
            help="A rate to compare with, by one trial more; several may be given. That of the file's own optimizer "
            "is always among them.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="What trials may cost: 800 or 10k updates; a share of the coming run, 10% or 0.1; or a time, 90s, "
            "5min or 2h. [default: 800 updates, or 12.5% if that is more; for a run of up to 400 updates, five times "
            "its length]",
        ),
    ] = None,
    jobs: Jobs = None,
    nproc: Nproc = None,
    on: On = None,
    devices_per_trial: DevicesPerTrial = None,
    upload: Upload = False,
    model: Annotated[
        str | None, typer.Option("--model", help="The model file, if it is not the one that was swept.")
    ] = None,
    script: ScriptFile = None,
    module: ScriptModule = None,
    which: Which = None,
    scale_others: ScaleOthers = False,
    critical_batch: Annotated[
        bool,
        typer.Option(
            "--critical-batch",
            help="Measure the critical batch, too, by some 200 updates: `lrfinder recommend --target-batch` needs it.",
        ),
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            help="Where the config goes; .yaml, .json or .toml. "
            "[default: where `recommend` wrote it, else schedule.yaml in RUN]",
        ),
    ] = None,
    seed: Seed = 0,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run short trainings near the recommended rate, and confirm or correct it; the schedule config is written.

    The trials have two lengths. Each starts from scratch, follows the whole schedule in fewer updates, and trains on
    so much of the data that it sees each sample as often as the coming run. They show which rate ends lowest, and
    how that changes with the length; the rate is kept unless they clearly show a better one. A run of up to 400
    updates is tried at full length. Trials are kept in the run folder: the same command again trains only what is
    missing. Without --steps and --epochs the last `recommend` says how long the run is, and its config is corrected.
    --script, with the script's arguments behind `--`, stands in place of the script that was swept: such as the same
    with more epochs.
    The exit status is 0 if the recommendation was confirmed, 1 if it was corrected, 5 if training can't tell.
    """
    del debug, script, module, which, scale_others
    from lrfinder.api.training.executors import elsewhere
    from lrfinder.api.verify import verify_run
    from lrfinder.api.verify_request import VerifyOptions, run_of
    from lrfinder.cli.process.training import watch_training
    from lrfinder.report.documents import critical_document, verify_document
    from lrfinder.report.progress import SweepProgress
    from lrfinder.store import latest_run, load_source

    program = named_script(context, _FOR_SCRIPTS)
    options = VerifyOptions(
        steps=steps,
        epochs=epochs,
        schedule=schedule,
        schedules=tuple(name.strip() for name in schedules.split(",")) if schedules else (),
        lr=lr,
        against=tuple(against or ()),
        budget=budget,
        jobs=jobs,
        where=elsewhere(on, devices_per_trial, upload=upload, nproc=nproc if on else None),
        model=model,
        script=program,
        critical_batch=critical_batch,
        seed=seed,
    )
    run = target or latest_run()
    of_script = program is not None or (model is None and load_source(run_of(run)).script is not None)
    if of_script and program is None and nproc is not None:
        raise UsageError(f"{run}: its script starts as many processes as in the sweep", hint="leave --nproc out")
    in_several(nproc if program is None and options.where is None else None)
    watch: Watch = functools.partial(SweepProgress, quiet=quiet or as_json)
    if not of_script:
        watch = functools.partial(
            watch_training, quiet=quiet or as_json, elsewhere=(jobs or 1) > 1 and not critical_batch
        )
    if target is None and not (quiet or as_json):
        note(f"the newest run: {run}")
    result = verify_run(run, options, write=write, watch=watch, tell=None if quiet else note)
    verification = result.verification
    for message in dict.fromkeys(trial.note for trial in verification.trials if trial.note):
        warn(message)
    if as_json:
        written = str(result.written) if result.written is not None else None
        document = verify_document(verification, run=str(result.run), written=written)
        if result.measured is not None:
            document["critical_batch"] = critical_document(result.measured.critical)
        print_json(document)
    elif quiet and not details and verification.lr is not None:
        print_line(f"{verification.lr:g}")
    else:
        _show(result, details=details)
    raise typer.Exit(of_signal(result.stop) or of_answer(verification.confirmed))


def _show(result: VerifyResult, *, details: bool) -> None:
    from lrfinder.report.verification import trials_table

    verification = result.verification
    account = "" if verification.account is None else str(verification.account)
    if verification.stop is not None:
        print_text(f"{verification.why}; {verification.hint}.", account)
        return
    if verification.account is None and verification.lr is None:
        print_text(f"There is no recommendation to verify: {verification.why}.", f"What to do: {verification.hint}.")
        return
    print_text(verification.why if details else verification.answer, f"{account} Run: {result.run}.")
    if result.written is not None and verification.schedule is not None:
        print_use(result.written, verification.schedule, result.run, "Corrected" if result.corrected else "Written")
    else:
        print_text(f"What to do: {verification.hint}.")
    if result.measured is not None:
        print_text(str(result.measured))
    if details:
        print_text("", trials_table((*result.sweep.runs, *verification.trials)))
    else:
        print_line("Why, and all trials: --details")
