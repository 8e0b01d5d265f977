"""`lrfinder run`: train a script, unchanged, at the rates of a schedule config."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lrfinder.config import load_schedule
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.errors import RunError, UsageError
from lrfinder.paths import check_target
from lrfinder.records import Script
from lrfinder.scripts.process import START
from lrfinder.scripts.program import check_script

RATES = "-rates.csv"  # ends the name of a log beside its config


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How a script is trained: the config, and where the rates that were set are logged.

    With `resume` the state that the script loads into its optimizer says which update is the first; None: 0, and such a
    state is refused.
    """

    config: Path
    log: Path | None = None
    resume: bool = False
    first_update: int | None = None


def train_script(script: Script, options: TrainingOptions) -> NoReturn:
    """Become the process of the script, which trains at f(t): its streams, signals and exit status are this one's.

    Nothing is seeded, redirected or removed. Of several processes, as torchrun starts them, rank 0 alone logs. Raises
    UsageError for a script or a log's folder that isn't there and a schedule that needs more than the number of the
    update, ConfigError for a config that is not valid, RunError if the log holds another run.
    """
    check_script(script)
    if options.first_update is not None and options.first_update < 0:
        raise UsageError(f"the first update must be 0 or more, got {options.first_update}")
    _check_config(options.config)
    log = options.log or options.config.with_name(f"{options.config.stem}{RATES}")
    if options.resume and options.first_update is not None:
        raise UsageError("--resume and --first-update can't both be given", hint="keep one")
    place = launched_place()
    logs = place is None or place.rank == 0
    if logs and not options.first_update and not options.resume and log.exists():
        hint = "name another with --log; a run that goes on needs --resume"
        raise RunError(f"{log}: there is a log already", hint=hint)
    if logs:
        check_target(log)
    plan = {
        "job": "train",
        "program": script.program,
        "arguments": list(script.arguments),
        "module": script.module,
        "which": script.which,
        "scale_others": script.scale_others,
        "config": str(options.config.absolute()),
        "log": str(log.absolute()) if logs else os.devnull,
        "resume": options.resume,
        "first_update": options.first_update,
    }
    command = [sys.executable, str(START), json.dumps(plan)]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - the user's own script, by this interpreter
    sys.exit(subprocess.call(command))  # noqa: S603 - likewise


def _check_config(path: Path) -> None:
    """Raise UsageError for a config whose rates don't follow from the number of the update alone, or aren't all."""
    config = load_schedule(path)
    if config.batch is not None:
        raise UsageError(
            f"{path}: the batch grows, which a script can't be made to do", hint="use config.batches() in it"
        )
    if config.followed.reads_losses:
        raise UsageError(
            f"{path}: a {config.schedule.name} needs validation losses, which aren't seen from outside the script",
            hint="use load_schedule(...).scheduler(optimizer) in the script",
        )
    if config.followed.momentum(0) is not None:
        raise UsageError(
            f"{path}: the schedule moves the momentum too, and only rates are set from outside the script",
            hint="remove `momentums` from the config, or use load_schedule(...).scheduler(optimizer) in the script",
        )
