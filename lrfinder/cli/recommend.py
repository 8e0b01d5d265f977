"""`lrfinder recommend`: fit the curve, pick the rate, choose and write the schedule config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.options import BootstrapSeed, Debug, Json, Quiet
from lrfinder.cli.output import print_json, print_line, print_plot, print_text, warn

if TYPE_CHECKING:
    from lrfinder.advice import Advice
    from lrfinder.records import SweepResult

INCONCLUSIVE = 5


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
    from lrfinder.advice import Request, advise
    from lrfinder.store import TRIALS, latest_run, load_run, read_log

    folder = run if run is not None else latest_run()
    result = load_run(folder)
    advice = advise(
        result,
        Request(
            steps=steps,
            epochs=epochs,
            open_ended=open_ended,
            schedule=schedule,
            warmup=warmup,
            rule=rule,
            lr=lr,
            seed=seed,
        ),
        read_log(folder / TRIALS),
    )
    written = _write(advice, write, folder)
    _keep(folder, result, advice, picture=not quiet)
    if as_json:
        from lrfinder.advice import to_json

        print_json({**to_json(advice), "run": str(folder), "written": str(written) if written else None})
    else:
        _show(result, advice, written, plot=not quiet)
    if advice.lr is None:
        raise typer.Exit(INCONCLUSIVE)


def _write(advice: Advice, path: Path | None, folder: Path) -> Path | None:
    """Write the config, where there is one; say so where one was asked for and can't be written."""
    from lrfinder.config import dump
    from lrfinder.errors import UsageError

    if advice.schedule is None:
        if path is not None and advice.lr is not None:
            raise UsageError("a schedule needs the length of the run", hint="add --steps T, --epochs E or --open-ended")
        return None
    from lrfinder.store import config_path

    target = path if path is not None else config_path(folder)
    dump(advice.schedule, target)
    return target


def _keep(folder: Path, result: SweepResult, advice: Advice, *, picture: bool) -> None:
    """Leave the advice and its picture in the run folder; a folder of somebody else's may be read-only."""
    from lrfinder.advice import to_json
    from lrfinder.errors import EnvironmentFailure
    from lrfinder.files import write_atomic
    from lrfinder.store import PICTURE, RECOMMENDATION

    try:
        write_atomic(folder / RECOMMENDATION, (json.dumps(to_json(advice), indent=1) + "\n").encode())
        if picture and not _drawn(folder / PICTURE, result, advice):
            from lrfinder.report.figure import curve_png

            write_atomic(folder / PICTURE, curve_png(advice.chart(result)))
    except EnvironmentFailure as error:
        warn(f"the recommendation is not kept in the run folder: {error}")


def _drawn(path: Path, result: SweepResult, advice: Advice) -> bool:
    """Tell whether the picture that is there shows this advice: drawing costs more than all the rest."""
    from lrfinder.report.picture import HEAD_BYTES, figure_digest, is_drawn

    try:
        with path.open("rb") as file:
            return is_drawn(file.read(HEAD_BYTES), figure_digest(advice.chart(result)))
    except OSError:
        return False


def _show(result: SweepResult, advice: Advice, written: Path | None, *, plot: bool) -> None:
    from lrfinder.report.picks import band_line, others_line, picks_table
    from lrfinder.rules import FIT_RULES
    from lrfinder.rules.short_runs import SHORT_RUNS

    if plot:
        print_plot(result, advice)
    chosen = advice.picks[0]
    own = [pick for pick in advice.picks if pick is chosen or pick.rule in {SHORT_RUNS, *FIT_RULES}]
    print_text(picks_table(own, chosen=chosen.rule))
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
