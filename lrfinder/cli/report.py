"""`lrfinder report` and `lrfinder compare`: look at one run on a page, or at several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.output import print_drawn, print_json, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run folders that `sweep` wrote. [default: the newest]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page, a name in .html. [default: report.html in the first RUN]")
    ] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one self-contained HTML page: the rate and what to paste first, then the curve and all the reasons.

    Of several runs it begins with their comparison. It shows the last verification or recommendation of a run, else
    what its sweep allows. The page loads nothing from anywhere, and anybody may open it.
    """
    del debug, seed, quiet
    from lrfinder.api.report import write_report
    from lrfinder.store import latest_run

    chosen = runs or [latest_run()]
    page = write_report(chosen, out)
    if as_json:
        from lrfinder.report.documents import report_document

        print_json(report_document(page, chosen))
    else:
        print_text(f"Report: {page}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders that `sweep` wrote.")],
    png: Annotated[
        Path | None, typer.Option("--png", help="A picture of all curves, a name in .png. [default: none]")
    ] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Lay the curves of several runs over each other, and say whether their picks really differ.

    First whether the runs may be compared at all: what differs of their data, loss, lengths, batch, precision and
    optimizer. Then whether the picks lie farther apart than their intervals explain.
    """
    del debug, seed
    from lrfinder.api.report import compare as compare_runs

    comparison = compare_runs(runs, png=png)
    if as_json:
        from lrfinder.report.documents import compare_document

        print_json(compare_document(comparison, png=png))
        return
    from lrfinder.report.comparison import comparison_table, differences_table
    from lrfinder.report.overlay import overlay_of, overlay_text

    if not quiet:
        print_drawn(overlay_text, overlay_of(comparison))
    print_text(comparison_table(comparison))
    if comparison.differences:
        print_text("", differences_table(comparison))
    print_text("", *comparison.verdict, *([] if png is None else [f"Picture: {png}"]))
