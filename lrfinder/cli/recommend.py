"""`lrfinder recommend`: fit the curve, pick the rate, choose and write the schedule config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.answers.exit_status import INCONCLUSIVE
from lrfinder.cli.answers.output import note, print_json, print_line, print_plot, print_text, print_use, warn
from lrfinder.cli.arguments.options import (
    BootstrapSeed,
    Debug,
    Details,
    Epochs,
    Json,
    Quiet,
    Steps,
    Warmup,
    WriteSchedule,
)
from lrfinder.cli.arguments.values import complete_rule, complete_schedule

if TYPE_CHECKING:
    from lrfinder.api.recommend import RecommendResult


def recommend(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder that `sweep` wrote. [default: the newest in lrfinder-runs]"),
    ] = None,
    steps: Steps = None,
    epochs: Epochs = None,
    open_ended: Annotated[
        bool, typer.Option("--open-ended", help="The coming run's length isn't known: plan it all the same.")
    ] = False,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            autocompletion=complete_schedule,
            help="Shape of the decay; see `lrfinder schedule list`. [default: by the length, the optimizer, and what "
            "`verify --schedules` measured]",
        ),
    ] = None,
    warmup: Warmup = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            autocompletion=complete_rule,
            help="The rule whose pick is used; --details lists them. [default: trials, or steepest if there are none]",
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Use this peak rate instead of a pick.")] = None,
    against: Annotated[
        list[float] | None,
        typer.Option(
            "--against",
            metavar="LR",
            help="A rate to compare with, such as the one that you use, by the sweep's own runs; several may be given. "
            "`lrfinder verify --against` trains with it.",
        ),
    ] = None,
    target_batch: Annotated[
        int | None,
        typer.Option(
            "--target-batch",
            min=1,
            metavar="B",
            help="The rate for B samples an update instead of the swept batch, by the critical batch that `lrfinder "
            "verify --critical-batch` measured; always uncertain. Nothing is kept in RUN; --write writes the config.",
        ),
    ] = None,
    write: WriteSchedule = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Leave aside what `verify` found for the same run.")
    ] = False,
    seed: BootstrapSeed = 0,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Pick the rate, choose the decay, write the schedule config."""
    del debug
    from lrfinder.advice import Request
    from lrfinder.api.recommend import recommend_run
    from lrfinder.rules import OLD_NAMES, renamed
    from lrfinder.store import latest_run

    if rule is not None and rule in OLD_NAMES:
        warn(renamed(rule))
        rule = OLD_NAMES[rule]
    request = Request(
        steps=steps,
        epochs=epochs,
        open_ended=open_ended,
        schedule=schedule,
        warmup=warmup,
        rule=rule,
        lr=lr,
        against=tuple(against or ()),
    )
    folder = run or latest_run()
    if run is None and not (quiet or as_json):
        note(f"the newest run: {folder}")
    result = recommend_run(
        folder,
        request,
        target_batch=target_batch,
        seed=seed,
        write=write,
        picture=not quiet,
        unverified=unverified,
    )
    if result.verified and not (quiet or as_json):
        note("the rate is the verified one; --unverified leaves that aside")
    if result.problem:
        warn(result.problem)
    advice = result.recommendation
    if as_json and result.unwritten is not None:
        raise result.unwritten  # a failure is a document, and there is one of them
    if as_json:
        from lrfinder.report.documents import batch_document, recommend_document

        written = str(result.written) if result.written else None
        batch = batch_document(advice.batch)
        print_json({**recommend_document(advice), "target_batch": batch, "run": str(result.run), "written": written})
    elif quiet and not details and advice.lr is not None:
        print_line(f"{advice.lr:g}")
    else:
        _show(result, details=details, plot=details and not quiet)
    if result.unwritten is not None:
        raise result.unwritten
    if advice.lr is None:
        raise typer.Exit(INCONCLUSIVE)


def _show(result: RecommendResult, *, details: bool, plot: bool) -> None:
    from lrfinder.report.summary import detail_parts, summary_lines

    advice = result.recommendation
    batch = None if advice.batch is None else advice.batch.target
    print_text(*summary_lines(advice, advice.result, picture=result.picture, batch=batch))
    if result.written is not None and advice.schedule is not None:
        print_use(result.written, advice.schedule, result.run)
    elif advice.lr is not None and advice.schedule is None:
        print_text("For a schedule add the length of the coming run: --steps T, --epochs E, or --open-ended.")
    if plot:
        print_plot(advice.result, advice)
    if details:
        print_text(*detail_parts(advice))
    elif advice.lr is not None:
        print_line("All rules and reasons: --details")
