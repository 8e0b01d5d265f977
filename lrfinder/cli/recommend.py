"""`lrfinder recommend`: fit the curve, pick the rate, choose and write the schedule config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.exit_status import INCONCLUSIVE
from lrfinder.cli.options import BootstrapSeed, Debug, Json, Quiet
from lrfinder.cli.output import print_json, print_line, print_plot, print_text, warn

if TYPE_CHECKING:
    from lrfinder.advice import Advice
    from lrfinder.records import SweepResult


def recommend(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder that `sweep` wrote. [default: the newest in lrfinder-runs]"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Length of the coming run, in updates.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Length of the coming run, in epochs.")] = None,
    open_ended: Annotated[
        bool, typer.Option("--open-ended", help="The coming run's length isn't known: plan it all the same.")
    ] = False,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            help="Shape of the decay; see `lrfinder schedule list`. [default: by the length, the optimizer, and what "
            "`verify --schedules` measured]",
        ),
    ] = None,
    warmup: Annotated[int | None, typer.Option("--warmup", help="Updates of linear warm-up.")] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            help="The rule whose pick is used; the table lists them. [default: short-runs where there are any, else "
            "steepest]",
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Use this peak rate instead of a pick.")] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Where the config goes; .yaml, .json or .toml. [default: schedule.yaml in RUN]"),
    ] = None,
    seed: BootstrapSeed = 0,
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
    )
    result = recommend_run(run or latest_run(), request, seed=seed, write=write, picture=not quiet)
    if result.problem:
        warn(result.problem)
    advice = result.recommendation
    if as_json:
        from lrfinder.report.documents import recommend_document

        written = str(result.written) if result.written else None
        print_json({**recommend_document(advice), "run": str(result.run), "written": written})
    else:
        _show(advice.result, advice, result.written, plot=not quiet)
    if advice.lr is None:
        raise typer.Exit(INCONCLUSIVE)


def _show(result: SweepResult, advice: Advice, written: Path | None, *, plot: bool) -> None:
    from lrfinder.report.picks import band_line, others_line, picks_table
    from lrfinder.rules import FIT_RULES
    from lrfinder.rules.trials import TRIALS_RULE

    if plot:
        print_plot(result, advice)
    chosen = advice.picks[0]
    own = [pick for pick in advice.picks if pick is chosen or pick.rule in {TRIALS_RULE, *FIT_RULES}]
    print_text(picks_table(own, chosen=chosen.rule, notes=advice.notes))
    for line in advice.notes:
        print_text("", f"For all picks: {line}.")
    others = [pick for pick in advice.picks if pick not in own]
    if others:
        print_text("", f"Other finders' rules on the same curves: {others_line(others)}.")
    if advice.band is not None:
        print_text("", f"Trainable band: {band_line(advice.band)}.")
    print_text("", advice.why)
    if advice.lr is None:
        print_text("", f"No rate can be recommended. What to do: {advice.hint}.")
    elif written is None:
        print_text(
            "", "Add --steps T or --epochs E, the length of the coming run, or --open-ended, to get a schedule config."
        )
    else:
        print_text("", f"Written: {written}. In the training script, after the optimizer is made:", "")
        print_line("    from lrfinder import load_schedule")
        print_line(f"    scheduler = load_schedule({json.dumps(str(written))}).scheduler(optimizer)")
        print_text("", "and scheduler.step() after every optimizer.step().")
