"""What surrounds training in a command: torch, the user's code, and progress on standard error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrfinder.records import SweepSettings
    from lrfinder.report.progress import SweepProgress


@contextlib.contextmanager
def watch_training(settings: SweepSettings, *, quiet: bool) -> Iterator[SweepProgress]:
    """Load torch, prepare for the user's code, and yield the progress display that observes the training."""
    from lrfinder.cli.process.torch_import import load_torch

    load_torch()
    from lrfinder.cli.process.user_code import run_user_code
    from lrfinder.report.progress import SweepProgress

    with run_user_code(), SweepProgress(settings, quiet=quiet) as progress:
        yield progress


@contextlib.contextmanager
def watch_script(settings: SweepSettings, *, quiet: bool) -> Iterator[SweepProgress]:
    """Yield the progress display that observes a script, which trains in processes of its own."""
    from lrfinder.report.progress import SweepProgress

    with SweepProgress(settings, quiet=quiet) as progress:
        yield progress
