"""`lrfinder init`: write a starter model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.options import Debug, Json, Quiet, UnusedSeed
from lrfinder.cli.output import print_json, print_text


def init(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")] = Path("model.py"),
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a commented starter model file that runs as it is."""
    del debug, seed
    from lrfinder.files import write_new
    from lrfinder.task.starter import starter_text

    write_new(file, starter_text().encode())
    if as_json:
        from lrfinder.report.documents import init_document

        print_json(init_document(file))
    elif not quiet:
        print_text(f"Wrote {file}. Make it yours, then: lrfinder find {file} --epochs 10")
