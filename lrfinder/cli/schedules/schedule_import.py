"""`lrfinder schedule import`: another framework's schedule as a schedule config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.output import print_json, print_line, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed, count


def import_schedule(
    arguments: Annotated[
        Path, typer.Argument(metavar="ARGS", help="A JSON, YAML or TOML file of Hugging Face's TrainingArguments.")
    ],
    steps: Annotated[
        int | None,
        typer.Option("--steps", parser=count, help="Updates of the whole run, if max_steps doesn't give them."),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="The optimizer's class. [default: that of `optim`, else AdamW]")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", min=0.0, max=1.0, help="Largest distance to a rate of theirs, as a share of the peak."
        ),
    ] = 1e-9,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="The config to write; .yaml, .json or .toml. [default: standard output]"),
    ] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn Hugging Face's TrainingArguments, or axolotl's YAML, into a schedule config, equal at every update.

    A named shape is written if it equals theirs within --tolerance of the peak at every update of the run, else a
    table of updates and factors; evidence.why says which and why. transformers need not be installed. For a torch
    scheduler object there is `lrfinder.import_schedule(scheduler, steps=T)` in Python.

    Examples: `lrfinder schedule import args.json --write schedule.yaml`, `... args.yaml --steps 10000`.
    """
    del debug, seed
    from lrfinder.config import dump, format_schedule
    from lrfinder.importing import import_schedule as imported
    from lrfinder.paths import check_target

    if write is not None:
        check_target(write, read=[arguments])
    config = imported(arguments, steps=steps, optimizer=optimizer, tolerance=tolerance)
    if write is not None:
        dump(config, write)
    if as_json:
        from lrfinder.report.documents import import_document

        print_json(import_document(config, written=None if write is None else str(write)))
    elif write is None:
        print_line(format_schedule(config, suffix=".yaml").removesuffix("\n"))
    elif not quiet:
        print_text(f"Written: {write}, {config.evidence.why if config.evidence else config.schedule.name}.")
