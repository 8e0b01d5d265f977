"""`lrfinder runs`: the run folders, newest first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.output import note, print_json, print_line, print_text, warn
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed, given_options
from lrfinder.errors import LrfinderError, UsageError
from lrfinder.formatting import format_bytes, format_count


def runs(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the run folders are.")] = Path("lrfinder-runs"),
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove the run folders, with all that is in them; it asks first.")
    ] = False,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="With --clean: keep the newest N.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="With --clean: don't ask.")] = False,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the run folders, newest first: what was swept, how it ended, and what was recommended or verified.

    Folders that can't be read are named on standard error. Nothing is changed without --clean, which removes run
    folders, but for the newest, and never a folder that isn't one, or a link to one. One that is in use stays, with a
    warning; the exit status is 2 then.
    """
    del seed, debug
    for name in () if clean else ("keep", "yes"):
        if name in given_options(context):
            raise UsageError(f"--{name} says nothing without --clean", hint="add --clean, or leave it out")
    from lrfinder.api.runs.run_list import list_runs

    found = list_runs(folder)
    for run in found:
        if run.problem:
            warn(run.problem)
    readable = [run for run in found if not run.problem]
    if clean:
        own = [run.path for run in readable if not run.path.is_symlink()]  # a link would count its run twice
        _clean(own[keep:], yes=yes, as_json=as_json, quiet=quiet)
        return
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


def _clean(paths: list[Path], *, yes: bool, as_json: bool, quiet: bool) -> None:
    """Remove run folders if somebody says yes; one that can't be removed is a warning, and the others go."""
    from lrfinder.api.runs.run_list import remove_run, size_of

    sizes = {path: size_of(path) for path in paths}
    if paths and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--clean asks before it removes anything, and nobody can answer here", hint="add --yes")
        for path, size in sizes.items():
            note(f"{path}  {format_bytes(size)}")
        total = format_bytes(sum(sizes.values()))
        if not typer.confirm(f"Remove {format_count(len(paths), 'run folder')}, {total}?", err=True):
            raise typer.Exit
    removed, status = [], 0
    for path in paths:
        try:
            remove_run(path)
            removed.append(path)
        except LrfinderError as error:
            warn(f"{error}; {error.hint}")
            status = error.exit_status
    freed = sum(sizes[path] for path in removed)
    if as_json:
        left = [str(path) for path in paths if path not in removed]
        print_json({"removed": [str(path) for path in removed], "left": left, "bytes": freed})
    elif not quiet:
        print_text(f"Removed: {format_count(len(removed), 'run folder')}, {format_bytes(freed)}.")
    raise typer.Exit(status)
