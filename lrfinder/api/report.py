"""`lrfinder.write_report` and `lrfinder.compare`: what people look at after several commands or several runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lrfinder.advice.comparison import Comparison, compare_answers
from lrfinder.api.given import run_folders
from lrfinder.api.runs.run_answer import read_run_answer
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.errors import UsageError
from lrfinder.files import write_atomic, write_named
from lrfinder.paths import check_target
from lrfinder.report.overlay import overlay_of, overlay_png
from lrfinder.report.page import report_page
from lrfinder.store import PAGE

_RunPath = str | os.PathLike[str]


def write_report(runs: _RunPath | Iterable[_RunPath], out: _RunPath | None = None) -> Path:
    """Write one self-contained HTML page about run folders, the comparison first if there are several.

    It goes to `out`, or to report.html in the first run folder. Raises RunError for a damaged folder, UsageError for an
    impossible path, EnvironmentFailure if the disk refuses.
    """
    paths = run_folders(runs)
    if not paths:
        raise UsageError("there is no run to report on", hint="name a run folder")
    target = paths[0] / PAGE if out is None else Path(out)
    if out is not None:
        check_target(target, suffix=".html")
    answers = [read_run_answer(path) for path in paths]
    comparison = compare_answers(answers) if len(answers) > 1 else None
    write = write_atomic if out is None else write_named
    write(target, report_page(answers, comparison).encode())
    return target


def compare(runs: Iterable[_RunPath], *, png: _RunPath | None = None) -> Comparison:
    """Compare two run folders or more: may they be compared, and do their picks differ? See `Comparison`.

    `png` names a file for the picture of all curves. Raises UsageError for fewer than two runs and an impossible path,
    RunError for a damaged folder, EnvironmentFailure if the disk refuses.
    """
    paths = run_folders(runs)
    if len(paths) < 2:  # noqa: PLR2004 - what "compare" means
        raise UsageError("a comparison needs two run folders at least", hint="name them all: RUN RUN ...")
    target = None if png is None else Path(png)
    if target is not None:
        check_target(target, suffix=".png")
    comparison = compare_answers([read_run_answer(path) for path in paths])
    if target is not None:
        with Interrupts():  # compiled modules are loaded: a signal under their C++ would abort the process
            write_named(target, overlay_png(overlay_of(comparison)))
    return comparison
