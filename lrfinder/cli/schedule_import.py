"""`lrfinder schedule import`: another framework's schedule as a schedule config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.options import Debug, Json, Quiet, UnusedSeed
from lrfinder.cli.output import print_json, print_line, print_text


def import_schedule(
    arguments: Annotated[
        Path, typer.Argument(metavar="ARGS", help="A JSON, YAML or TOML file of Hugging Face's TrainingArguments.")
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", help="Updates of the whole run, where max_steps doesn't say them.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="The optimizer's class. [default: as `optim` says, else AdamW]")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0.0, max=1.0, help="How far a rate may be from theirs, over the peak."),
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
    """Turn Hugging Face's TrainingArguments into a schedule config, equal to the Trainer's rates at every update.

    A named shape is written where it equals theirs within --tolerance of the peak at every update of the run, else a
    table of updates and factors; evidence.why says which and why. transformers need not be installed. For a live torch
    scheduler there is `lrfinder.import_schedule(scheduler, steps=T)` in Python.

    Examples: `lrfinder schedule import args.json --write schedule.yaml`, `... args.yaml --steps 10000`.
    """
    del debug, seed
    from lrfinder.config import dump, format_schedule
    from lrfinder.importing import import_schedule as imported

    config = imported(arguments, steps=steps, optimizer=optimizer, tolerance=tolerance)
    if write is not None:
        dump(config, write)
    if as_json:
        print_json({"config": config.as_data(), "written": str(write) if write else None})
    elif write is None:
        print_line(format_schedule(config, suffix=".yaml").removesuffix("\n"))
    elif not quiet:
        print_text(f"Written: {write}, {config.evidence.why if config.evidence else config.schedule.name}.")
