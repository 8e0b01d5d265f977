"""The options that every command shares."""

from __future__ import annotations

from typing import Annotated

import typer

from lrfinder.cli import failures


def _remember_debug(value: bool) -> bool:
    failures.show_own_frames(on=value)
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no plots: results only.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember_debug, is_eager=True, help="On a failure, show the whole traceback."),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seeds weights, data order and dropout; repeats differ from each other.")
]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, help="Seeds the bootstrap behind the intervals.")]
# So that a script can pass the same options to every command.
UnusedSeed = Annotated[int, typer.Option("--seed", min=0, help="Accepted as everywhere; nothing here is random.")]
