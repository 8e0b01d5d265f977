"""`lrfinder sweep`: the range test; a run folder is written."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.answers.exit_status import DONE, INCONCLUSIVE, of_signal
from lrfinder.cli.answers.output import note, print_json, print_line, print_plot, print_text, warn
from lrfinder.cli.arguments.options import (
    Accumulate,
    BatchSize,
    CacheBatches,
    ClipNorm,
    ClipValue,
    Debug,
    Details,
    Device,
    DevicesPerTrial,
    DryRun,
    GraphOption,
    Json,
    LoaderTimeout,
    MetricOption,
    Momentum,
    On,
    OptimizerName,
    Out,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Seed,
    StartFrom,
    SweptOptimizer,
    Upload,
    WeightDecay,
    count,
    given_options,
)
from lrfinder.cli.arguments.script_options import ScriptFile, ScriptModule, Which, named_script
from lrfinder.cli.arguments.values import complete_sink
from lrfinder.cli.process.several import Nproc, StrategyOption, in_several
from lrfinder.errors import UsageError
from lrfinder.options import (
    LOADER_TIMEOUT,
    MAX_LR,
    MIN_LR,
    REPEATS,
    RUN_STEPS,
    STEPS,
    Graph,
    Metric,
    Mode,
    Precision,
    Spacing,
    Strategy,
)

if TYPE_CHECKING:
    from lrfinder.api.sweeping.sweep_run import SweepRun

# What a sweep of a script takes beside what names it; all else is the script's own.
_FOR_SCRIPTS = frozenset(
    {"min_lr", "max_lr", "steps", "repeats", "spacing", "mode", "run_steps", "max_seconds", "sinks"}
)
_MODEL = (
    "The model file: model.py, model.py:name, package.module:name or a plug-in's host://argument. Not with --resume."
)


def sweep(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help=_MODEL)] = None,
    script: ScriptFile = None,
    module: ScriptModule = None,
    which: Which = None,
    min_lr: Annotated[float, typer.Option("--min-lr", help="The lowest rate.")] = MIN_LR,
    max_lr: Annotated[
        float, typer.Option("--max-lr", help="The highest rate; the sweep stops earlier if the loss diverges.")
    ] = MAX_LR,
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            metavar="N",
            parser=count,
            help="Updates of a repeat, one rate each. If there are 25 or more a decade, --mode auto adds a sweep of "
            "12.5 a decade and picks from that: a slow sweep learns too much before it reaches the best rates.",
        ),
    ] = STEPS,
    repeats: Annotated[int, typer.Option("--repeats", help="Repeats; their spread gives the interval.")] = REPEATS,
    spacing: Annotated[Spacing, typer.Option("--spacing", help="How the rate grows.")] = Spacing.EXP,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="`continuous` trains on while the rate grows; `restart` gives each rate a short run of its own; "
            "`auto` does both: short runs near what the continuous sweep found, or over the whole range.",
        ),
    ] = Mode.AUTO,
    run_steps: Annotated[
        int, typer.Option("--run-steps", metavar="N", parser=count, help="Updates of a short run.")
    ] = RUN_STEPS,
    metric: MetricOption = Metric.TRAIN,
    cache_batches: CacheBatches = None,
    optimizer: OptimizerName = None,
    momentum: Momentum = None,
    weight_decay: WeightDecay = None,
    batch_size: BatchSize = None,
    precision: PrecisionOption = Precision.AUTO,
    accumulate: Accumulate = 1,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    swept_optimizer: SweptOptimizer = None,
    scale_others: ScaleOthers = False,
    graph: GraphOption = Graph.OFF,
    loader_timeout: LoaderTimeout = LOADER_TIMEOUT,
    device: Device = "auto",
    nproc: Nproc = None,
    on: On = None,
    devices_per_trial: DevicesPerTrial = None,
    upload: Upload = False,
    strategy: StrategyOption = Strategy.DDP,
    start_from: StartFrom = None,
    seed: Seed = 0,
    max_seconds: Annotated[float | None, typer.Option("--max-seconds", help="Stop the sweep after this time.")] = None,
    out: Out = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Resume an interrupted sweep: finished repeats and runs are kept, the others start again. Model and "
            "options come from the run folder.",
        ),
    ] = None,
    sinks: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            metavar="NAME",
            autocompletion=complete_sink,
            help="Report to a tracker, too: tensorboard, mlflow, wandb, or a plug-in's.",
        ),
    ] = None,
    dry_run: DryRun = False,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the range test: grow the rate while training, and record the loss after each update.

    With --script or --module a training script is swept as it is: every repeat and trial run is a new process of it,
    ended when enough is known.
    """
    del debug, script, module, which
    from lrfinder.api.script_sweep import script_run
    from lrfinder.api.sweeping.settings import make_settings, make_source
    from lrfinder.api.sweeping.sweep_run import resume_run, sweep_run
    from lrfinder.api.training.executors import elsewhere
    from lrfinder.cli.process.training import check_dry_run, show_dry_run, watch_training
    from lrfinder.report.documents import sweep_document
    from lrfinder.report.progress import SweepProgress
    from lrfinder.task.reference import check_reference

    check_dry_run(dry_run, resume)
    where = elsewhere(on, devices_per_trial, upload=upload, nproc=nproc if on else None)
    program = named_script(context, _FOR_SCRIPTS)
    watch = functools.partial(watch_training if program is None else SweepProgress, quiet=quiet)
    settings = make_settings(
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        repeats=repeats,
        spacing=spacing,
        mode=mode,
        run_steps=run_steps,
        metric=metric,
        cache_batches=cache_batches,
        seed=seed,
        max_seconds=max_seconds,
    )
    if program is not None:
        done = script_run(program, settings, out=out, watch=watch, sinks=sinks or ())
    elif resume is not None:
        in_several(nproc if where is None else None)
        done = resume_run(
            resume, given_options(context), watch=watch, sinks=sinks or (), where=where, tell=None if quiet else note
        )
    elif model is None:
        raise UsageError("MODEL is missing", hint="name the model file; `lrfinder init` writes one to start from")
    else:
        source = make_source(
            model,
            optimizer=optimizer,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            device=device,
            loader_timeout=loader_timeout,
            precision=precision,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            swept_optimizer=swept_optimizer,
            scale_others=scale_others,
            graph=graph,
            strategy=strategy,
            start_from=start_from,
        )
        check_reference(model)
        in_several(nproc if where is None else None)
        if dry_run:
            show_dry_run(source, settings, as_json=as_json)
            return
        done = sweep_run(source, settings, out=out, watch=watch, sinks=sinks or (), where=where)
    for doubt in done.sweep.notes:
        warn(doubt)
    for remark in () if quiet else done.remarks:
        note(remark)
    if as_json:
        print_json(sweep_document(done.sweep, done.advice))
    elif quiet and not details and done.advice.lr is not None and of_signal(done.sweep.status) is None:
        print_line(f"{done.advice.lr:g}")
    else:
        _show(done, details=details, plot=not quiet)
    if done.failure is not None:
        raise done.failure
    raise typer.Exit(of_signal(done.sweep.status) or (INCONCLUSIVE if done.advice.lr is None else DONE))


def _show(done: SweepRun, *, details: bool, plot: bool) -> None:
    from lrfinder.report.summary import detail_parts, summary_lines

    result, advice, folder = done.sweep, done.advice, shlex.quote(str(done.folder))
    signalled = of_signal(result.status) is not None
    if plot and not signalled:
        print_plot(result, advice)
    print_text(*summary_lines(advice, result, seconds=done.seconds, picture=done.picture))
    if signalled and not done.of_script:
        print_line(f"To carry on: lrfinder sweep --resume {folder}")
    if advice.lr is not None:
        print_line(f"Next: lrfinder recommend {folder} --epochs E")
        if not details:
            print_line("All rules and reasons: --details")
    if details:
        print_text(*detail_parts(advice))
