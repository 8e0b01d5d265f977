"""`lrfinder check`: in continuous integration, is the configured rate still sane for this model?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lrfinder.cli.answers.exit_status import of_answer
from lrfinder.cli.answers.output import note, print_json, print_text, warn
from lrfinder.cli.arguments.options import (
    Accumulate,
    BatchSize,
    CacheBatches,
    ClipNorm,
    ClipValue,
    Debug,
    Device,
    GraphOption,
    Json,
    LoaderTimeout,
    MetricOption,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Seed,
    StartFrom,
    SweptOptimizer,
    given_options,
    option_name,
)
from lrfinder.cli.arguments.script_options import ScriptFile, ScriptModule, Which, named_script
from lrfinder.cli.process.several import Nproc, StrategyOption, in_several
from lrfinder.errors import UsageError
from lrfinder.options import CHECK_SECONDS, LOADER_TIMEOUT, SAME_RATE, Graph, Metric, Precision, Strategy
from lrfinder.paths import check_target

if TYPE_CHECKING:
    from lrfinder.api.check import CheckRun
    from lrfinder.cli.answers.ci import Verdict

_MODEL = "The model file: model.py, model.py:name or package.module:name. Not with --log or --script."
# What a log of a finished run leaves to say.
_OF_A_LOG = frozenset({"log", "config", "tolerance", "junit", "seed", "as_json", "quiet", "debug"})
# What it takes with a script beside what names it; all else is the script's own.
_FOR_SCRIPTS = frozenset({"config", "baseline", "max_seconds", "junit"})


def check(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help=_MODEL)] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="The schedule config whose peak rate is checked. [default: a script's own rate is checked]"
        ),
    ] = None,
    script: ScriptFile = None,
    module: ScriptModule = None,
    which: Which = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Train nothing: were the rates that a run logged the config's? A Trainer's trainer_state.json, "
            "Lightning's metrics.csv, or a CSV file with the columns step,lr.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Up to which share of the peak logged rates are the same.")
    ] = SAME_RATE,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="RUN",
            help="A run folder or its run.json: is there more than noise between that sweep and this one?",
        ),
    ] = None,
    metric: MetricOption = Metric.TRAIN,
    cache_batches: CacheBatches = None,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", help="Judge by what was measured after this time.")
    ] = CHECK_SECONDS,
    batch_size: BatchSize = None,
    loader_timeout: LoaderTimeout = LOADER_TIMEOUT,
    precision: PrecisionOption = Precision.AUTO,
    accumulate: Accumulate = 1,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    swept_optimizer: SweptOptimizer = None,
    scale_others: ScaleOthers = False,
    graph: GraphOption = Graph.OFF,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write the answer as JUnit XML, which CI servers read."),
    ] = None,
    device: Device = "auto",
    nproc: Nproc = None,
    strategy: StrategyOption = Strategy.DDP,
    start_from: StartFrom = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a schedule config against the model: a short seeded sweep, for CI; nothing is written.

    The exit status is 0 if the configured peak rate lies in the trainable band, 1 if it doesn't, and 5 if the sweep
    can't tell; the reason is printed. In a GitHub workflow the answer is an annotation and a part of the job's
    summary, too. With --baseline it is 1, too, if the band has moved, the loss begins elsewhere, the data's numbers
    are of another size, nothing is learned any more, or the config's rate isn't the one that was found there. With
    --log it is 0 if a finished run used the config's rates, and 1 if it didn't: the first step that differs is
    named. With --script or --module a training script is checked as it is, and without --config the rate that it
    trains at by itself.
    """
    del debug, script, module, which
    if junit is not None:
        check_target(junit, read=[path for path in (config, log) if path is not None])
    program = named_script(context, _FOR_SCRIPTS)
    if program is not None:
        from lrfinder.api.check import check_script_rate
        from lrfinder.report.progress import SweepProgress

        progress = functools.partial(SweepProgress, quiet=quiet or as_json)
        done = check_script_rate(program, config, baseline=baseline, max_seconds=max_seconds, seed=seed, watch=progress)
        for remark in () if quiet else done.remarks:
            note(remark)
        _show(done, config, config or Path(program.program), junit=junit, as_json=as_json)
    if config is None:
        raise UsageError("--config is missing", hint="name the schedule config whose peak rate is to be checked")
    if model is not None and config.suffix == ".py":
        raise UsageError(
            f"{config} is a Python file, not a schedule config",
            hint=f"the model file comes first: lrfinder check {config} --config {model}",
        )
    if log is not None:
        _check_log(context, log, config, tolerance=tolerance, junit=junit, as_json=as_json)
    if model is None:
        raise UsageError("MODEL is missing", hint="name the model file, or with --log what a finished run logged")
    from lrfinder.api.check import check_model
    from lrfinder.api.sweeping.settings import make_source
    from lrfinder.cli.process.training import watch_training
    from lrfinder.config import load_schedule
    from lrfinder.task.reference import check_reference

    source = make_source(
        model,
        batch_size=batch_size,
        loader_timeout=loader_timeout,
        device=device,
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
    load_schedule(config)
    check_reference(source.reference)
    in_several(nproc)
    watch = functools.partial(watch_training, quiet=quiet or as_json)
    done = check_model(
        source,
        config,
        baseline=baseline,
        metric=metric,
        cache_batches=cache_batches,
        max_seconds=max_seconds,
        seed=seed,
        watch=watch,
    )
    _show(done, config, config, junit=junit, as_json=as_json)


def _show(done: CheckRun, config: Path | None, about: Path, *, junit: Path | None, as_json: bool) -> NoReturn:
    from lrfinder.cli.answers.ci import word_for
    from lrfinder.report.documents import check_document

    verdict = done.verdict
    for doubt in (*done.sweep.notes, *verdict.warnings):
        warn(doubt)
    document = check_document(verdict, config=None if config is None else str(config), updates=done.updates)
    _answer(verdict, about, word=word_for(verdict.sane), document=document if as_json else None, junit=junit)


def _check_log(
    context: typer.Context, log: Path, config: Path, *, tolerance: float, junit: Path | None, as_json: bool
) -> NoReturn:
    from lrfinder.api.check import check_log
    from lrfinder.report.documents import used_rates_document

    for name in given_options(context):
        if name not in _OF_A_LOG:
            option = option_name(context, name)
            raise UsageError(f"{option} can't be given with --log: nothing is trained", hint="leave one of them out")
    used = check_log(log, config, tolerance=tolerance)
    document = used_rates_document(used, log=str(log), config=str(config))
    word = "as configured" if used.sane else "not as configured"
    _answer(used, log, word=word, document=document if as_json else None, junit=junit)


def _answer(
    verdict: Verdict, about: Path, *, word: str, document: dict[str, Any] | None, junit: Path | None
) -> NoReturn:
    """Print the answer, or its JSON document, tell continuous integration, and leave with its status."""
    from lrfinder.cli.answers.ci import report_to_ci

    report_to_ci(verdict, about, junit=junit)
    if document is not None:
        print_json(document)
    else:
        print_text(
            f"{about}: {word}: {verdict.why}.",
            *([f"What to do: {verdict.hint}."] if verdict.hint else []),
        )
    raise typer.Exit(of_answer(verdict.sane))
