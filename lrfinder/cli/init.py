"""`lrfinder init`: write a starter model file, or the starter of a script."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.output import print_json, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The file to write, a name in .py; it must not exist yet. [default: model.py; of a script train.py]"
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--from",
            help="What you have: a `model`, or a script with a `loop` of its own, Hugging Face's `trainer`, `peft`, or "
            "`lightning`.",
        ),
    ] = "model",
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a commented starter that runs as it is: a model file, or a script that finds its rate and trains."""
    del debug, seed
    from lrfinder.files import write_new
    from lrfinder.paths import check_module, check_target
    from lrfinder.task.starter import MODEL, starter_text

    text = starter_text(kind)
    target = file or Path("model.py" if kind == MODEL else "train.py")
    check_target(target, suffix=".py")
    check_module(target, text)
    write_new(target, text.encode())
    if as_json:
        from lrfinder.report.documents import init_document

        print_json(init_document(target))
    elif not quiet:
        named = shlex.quote(str(target))
        then = f"lrfinder find {named} --epochs 10" if kind == MODEL else f"python {named}"
        print_text(f"Wrote {target}. Make it yours, then: {then}")
