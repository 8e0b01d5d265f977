"""`lrfinder run`: train a script, unchanged, at the rates of a schedule config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.arguments.options import Debug, ScaleOthers, count
from lrfinder.cli.arguments.script_options import ScriptFile, ScriptModule, Which, named_script
from lrfinder.errors import UsageError

_OWN = frozenset({"config", "log", "resume", "first_update"})


def run(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="The schedule config, such as `recommend` writes.")],
    script: ScriptFile = None,
    module: ScriptModule = None,
    which: Which = None,
    scale_others: ScaleOthers = False,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Where each update's rates go. [default: CONFIG-rates.csv]"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="The script goes on from its own checkpoint, made under `lrfinder run`: its optimizer's state says at "
            "which update. The log grows.",
        ),
    ] = False,
    first_update: Annotated[
        int | None,
        typer.Option(
            "--first-update",
            metavar="N",
            parser=count,
            help="The same for a checkpoint that doesn't say it: the update at which the run goes on.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a script, unchanged, at the rates of a schedule config: f(t) at update t, whatever its own schedule says.

    Everything else is the script's: its files, its output, its exit status. The rates are set around each step of its
    optimizer, in which the groups keep their ratios; its own schedulers find what they left, and what it prints of its
    rate is its own. What was set is in the log.
    """
    del debug, script, module, which, scale_others
    from lrfinder.api.script_training import TrainingOptions, train_script

    program = named_script(context, _OWN)
    if program is None:
        raise UsageError("name a --script or a --module", hint="lrfinder run --config schedule.yaml --script train.py")
    train_script(program, TrainingOptions(config=config, log=log, resume=resume, first_update=first_update))
