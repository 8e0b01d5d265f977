"""`lrfinder check`: in continuous integration, is the configured rate still sane for this model?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.exit_status import of_answer
from lrfinder.cli.options import (
    Accumulate,
    ClipNorm,
    ClipValue,
    Debug,
    Device,
    GraphOption,
    Json,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Seed,
    SweptOptimizer,
)
from lrfinder.cli.output import print_json, print_text, warn
from lrfinder.options import CHECK_SECONDS, Graph, Precision

_MODEL = "The model file: model.py, model.py:name or package.module:name."


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    config: Annotated[Path, typer.Option("--config", help="The schedule config whose peak rate is checked.")],
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", help="Judge by what was measured after this time.")
    ] = CHECK_SECONDS,
    precision: PrecisionOption = Precision.AUTO,
    accumulate: Accumulate = 1,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    swept_optimizer: SweptOptimizer = None,
    scale_others: ScaleOthers = False,
    graph: GraphOption = Graph.OFF,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a schedule config against the model: a short seeded sweep, for CI; nothing is written.

    The exit status is 0 if the configured peak rate lies in the trainable band, 1 if it doesn't, and 5 if the sweep
    can't tell; the reason is printed.
    """
    del debug
    from lrfinder.api.check import check_model
    from lrfinder.api.settings import make_source
    from lrfinder.cli.training import watch_training
    from lrfinder.report.documents import check_document

    source = make_source(
        model,
        device=device,
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
        clip_value=clip_value,
        swept_optimizer=swept_optimizer,
        scale_others=scale_others,
        graph=graph,
    )
    watch = functools.partial(watch_training, quiet=quiet or as_json)
    done = check_model(source, config, max_seconds=max_seconds, seed=seed, watch=watch)
    verdict = done.verdict
    for doubt in (*done.sweep.notes, *verdict.warnings):
        warn(doubt)
    if as_json:
        print_json(check_document(verdict, config=str(config), updates=done.sweep.updates))
    else:
        word = {True: "sane", False: "not sane", None: "inconclusive"}[verdict.sane]
        print_text(f"{config}: {word}: {verdict.why}.", *([f"What to do: {verdict.hint}."] if verdict.hint else []))
    raise typer.Exit(of_answer(verdict.sane))
