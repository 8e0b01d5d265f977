"""`lrfinder check`: in continuous integration, is the configured rate still sane for this model?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.exit_status import of_answer
from lrfinder.cli.options import (
    Accumulate,
    BatchSize,
    ClipNorm,
    ClipValue,
    Debug,
    Device,
    GraphOption,
    Json,
    LoaderTimeout,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Seed,
    StartFrom,
    SweptOptimizer,
)
from lrfinder.cli.output import print_json, print_text, warn
from lrfinder.options import CHECK_SECONDS, LOADER_TIMEOUT, Graph, Precision

_MODEL = "The model file: model.py, model.py:name or package.module:name."


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    config: Annotated[Path, typer.Option("--config", help="The schedule config whose peak rate is checked.")],
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
    start_from: StartFrom = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a schedule config against the model: a short seeded sweep, for CI; nothing is written.

    The exit status is 0 if the configured peak rate lies in the trainable band, 1 if it doesn't, and 5 if the sweep
    can't tell; the reason is printed. In a GitHub workflow the answer is an annotation and a part of the job's summary,
    too.
    """
    del debug
    from lrfinder.api.check import check_model
    from lrfinder.api.settings import make_source
    from lrfinder.cli.ci import report_to_ci, word_for
    from lrfinder.cli.training import watch_training
    from lrfinder.report.documents import check_document

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
        start_from=start_from,
    )
    watch = functools.partial(watch_training, quiet=quiet or as_json)
    done = check_model(source, config, max_seconds=max_seconds, seed=seed, watch=watch)
    verdict = done.verdict
    for doubt in (*done.sweep.notes, *verdict.warnings):
        warn(doubt)
    report_to_ci(verdict, config, junit=junit)
    if as_json:
        print_json(check_document(verdict, config=str(config), updates=done.sweep.updates))
    else:
        print_text(
            f"{config}: {word_for(verdict.sane)}: {verdict.why}.",
            *([f"What to do: {verdict.hint}."] if verdict.hint else []),
        )
    raise typer.Exit(of_answer(verdict.sane))
