"""`lrfinder runs`: the run folders, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.options import Debug, Json, Quiet, UnusedSeed
from lrfinder.cli.output import print_json, print_line, print_text, warn


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the run folders are.")] = Path("lrfinder-runs"),
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the run folders, newest first: what was swept, how it ended, and what was recommended or verified.

    Folders that can't be read are named on standard error. Nothing is changed.
    """
    del seed, debug
    from lrfinder.api.run_list import list_runs

    found = list_runs(folder)
    for run in found:
        if run.problem:
            warn(run.problem)
    readable = [run for run in found if not run.problem]
    if as_json:
        from lrfinder.report.documents import runs_document

        print_json(runs_document([(str(run.path), run.model, run.updates, run.ended, run.pick) for run in readable]))
    elif quiet:
        for run in readable:
            print_line(str(run.path))
    elif not found:
        print_text(f"No run in {folder}: `lrfinder sweep MODEL` makes one.")
    else:
        from lrfinder.report.picks import runs_table

        print_text(runs_table([(str(run.path), run.model, run.optimizer, run.ended, run.pick) for run in readable]))
