"""`lrfinder check`: in continuous integration, is the configured rate still sane for this model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.exit_status import of_answer, of_signal
from lrfinder.cli.options import (
    Accumulate,
    ClipNorm,
    ClipValue,
    Debug,
    GraphOption,
    Json,
    PrecisionOption,
    Quiet,
    ScaleOthers,
    Seed,
    SweptOptimizer,
)
from lrfinder.cli.output import print_json, print_text, warn
from lrfinder.cli.process.torch_import import load_torch
from lrfinder.options import Graph, Precision

if TYPE_CHECKING:
    from lrfinder.advice import CheckResult

# Two repeats: the picks of two scatter by 0.05 decade, of one by more, and a check must not cry wolf.
REPEATS = 2
MAX_SECONDS = 300.0  # a job that has not answered by then is a problem of its own

_MODEL = "The model file: model.py, model.py:name or package.module:name."


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    config: Annotated[Path, typer.Option("--config", help="The schedule config whose peak rate is checked.")],
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", help="Judge by what was measured after this time.")
    ] = MAX_SECONDS,
    precision: PrecisionOption = Precision.AUTO,
    accumulate: Accumulate = 1,
    clip_norm: ClipNorm = None,
    clip_value: ClipValue = None,
    swept_optimizer: SweptOptimizer = None,
    scale_others: ScaleOthers = False,
    graph: GraphOption = Graph.OFF,
    device: Annotated[str, typer.Option("--device", help="auto is CUDA, then MPS, then CPU.")] = "auto",
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a schedule config against the model: a short seeded sweep, for CI; nothing is written.

    Leaves with status 0 where the configured peak rate lies in the trainable band, 1 where it doesn't, and 5 where the
    sweep can't tell; the reason is printed.
    """
    del debug
    from lrfinder.api.settings import make_training

    training = make_training(
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
        clip_value=clip_value,
        swept_optimizer=swept_optimizer,
        scale_others=scale_others,
        graph=graph,
    )
    from lrfinder.advice import check_rate, settings_around
    from lrfinder.config import load_schedule
    from lrfinder.task.reference import check_reference

    loaded = load_schedule(config)
    check_reference(model)
    settings = settings_around(loaded.optimizer.lr, repeats=REPEATS, seed=seed, max_seconds=max_seconds)
    load_torch()
    from lrfinder.cli.measuring import measure_file
    from lrfinder.store import Source

    result = measure_file(Source(reference=model, device=device, training=training), settings, quiet=quiet or as_json)
    if (signalled := of_signal(result.status)) is not None:
        raise typer.Exit(signalled)
    verdict = check_rate(result, loaded)
    for doubt in (*result.notes, *verdict.warnings):
        warn(doubt)
    _say(verdict, str(config), updates=result.updates, as_json=as_json)
    raise typer.Exit(of_answer(verdict.sane))


def _say(verdict: CheckResult, config: str, *, updates: int, as_json: bool) -> None:
    if as_json:
        from lrfinder.report.documents import check_document

        print_json(check_document(verdict, config=config, updates=updates))
        return
    word = {True: "sane", False: "not sane", None: "inconclusive"}[verdict.sane]
    print_text(f"{config}: {word}: {verdict.why}.", *([f"What to do: {verdict.hint}."] if verdict.hint else []))
