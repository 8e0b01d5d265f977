"""`lrfinder export-study`: the trials of a run as a study of Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.output import note, print_json, print_line, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed, count


def export_study(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder that `sweep` wrote. [default: the newest in lrfinder-runs]"),
    ] = None,
    storage: Annotated[
        str, typer.Option("--storage", metavar="URL", help="Optuna's storage, such as a file of SQLite.")
    ] = "sqlite:///optuna.db",
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the study. [default: the folder's, with the length]")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="T", parser=count, help="Trials of this length. [default: the longest that were made]"
        ),
    ] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the trials of a run into a study of Optuna: short runs, or those of `verify`.

    The range of its parameter `lr` is the trainable band. Optuna's samplers and its dashboard go on from there.
    """
    del seed, debug
    from lrfinder.api.study import export_study as exported
    from lrfinder.store import latest_run

    folder = run or latest_run()
    if run is None and not (quiet or as_json):
        note(f"the newest run: {folder}")
    study = exported(folder, storage=storage, name=name, steps=steps)
    said, made = study.user_attrs, len(study.trials)
    if as_json:
        print_json({"study": study.study_name, "storage": storage, "trials": made, **said})
    elif quiet:
        print_line(study.study_name)
    else:
        left = f"; {said['left_out']} of another length or outside the band were left out" if said["left_out"] else ""
        print_text(
            f"Study {study.study_name} in {storage}: {made} trials of {said['steps']} updates{left}.\n"
            f"Go on with trial.suggest_float('lr', {said['low']!r}, {said['high']!r}, log=True)."
        )
