"""What surrounds training in a command: torch, the user's code, and progress on standard error."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.cli.answers.output import print_json, print_text, warn
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    from lrfinder.records import SweepSettings
    from lrfinder.report.progress import SweepProgress
    from lrfinder.store import Source


@contextlib.contextmanager
def watch_training(settings: SweepSettings, *, quiet: bool, elsewhere: bool = False) -> Iterator[SweepProgress]:
    """Load torch, prepare for the user's code, and yield the progress display that observes the training.

    Who trains `elsewhere`, in processes of its own, needs no torch here.
    """
    from lrfinder.cli.process.torch_import import load_torch

    if not elsewhere:
        load_torch()
    from lrfinder.cli.process.user_code import run_user_code
    from lrfinder.report.progress import SweepProgress

    with run_user_code(), SweepProgress(settings, quiet=quiet) as progress:
        yield progress


def check_dry_run(dry_run: bool, resume: Path | None) -> None:
    """Raise UsageError for a dry run of what has begun already."""
    if dry_run and resume is not None:
        raise UsageError("--dry-run can't be given with --resume", hint="leave one of them out")


def show_dry_run(source: Source, settings: SweepSettings, *, as_json: bool) -> None:
    """Print what a sweep would train, and what it would cost."""
    from lrfinder.api.dry_run import dry_run_model
    from lrfinder.report.documents import dry_run_document
    from lrfinder.report.inspection import dry_run_lines

    made = dry_run_model(source, settings, watch=functools.partial(watch_training, quiet=True))
    for doubt in made.warnings:
        warn(doubt)
    if as_json:
        print_json(dry_run_document(made))
        return
    print_text(*dry_run_lines(made))
