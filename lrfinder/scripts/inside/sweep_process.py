"""The life of a process that runs the script for a sweep."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from lrfinder.engine.runtime.parent import end_with_parent
from lrfinder.scripts.inside.file_guard import FileGuard
from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.program import run_program, user_traceback
from lrfinder.scripts.inside.seeds import seed_start
from lrfinder.scripts.inside.sweeping import ScriptRun


def run(plan: dict[str, Any], began: float) -> NoReturn:
    """Run the script of `plan` until enough is known, and end the process."""
    end_with_parent(plan["parent"])
    os.environ.update(plan["variables"])
    messages = Messages(plan["handle"])
    sys.dont_write_bytecode = True
    messages.send("started", seed=seed_start(plan["seed"], plan["repeat"], plan["rank"]))
    guard = FileGuard(messages, plan["scratch"], plan["made_before"])
    watched = ScriptRun(
        messages,
        plan["rates"],
        which=plan["which"],
        scale_others=plan["scale_others"],
        drift=plan["drift"],
        judged=plan["judged"],
        different=plan["different"],
        processes=plan["processes"],
        began=began,
        training_begins=guard.close,
    )
    _watch_exit(watched)
    error: BaseException | None = None
    try:
        run_program(plan["program"], plan["arguments"], module=plan["module"])
    except SystemExit as ended:
        error = ended
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException as raised:  # noqa: BLE001 - whatever the script raises ends it
        error = raised
        trace = user_traceback(raised.__traceback__)
        sys.excepthook(type(raised), raised.with_traceback(trace), trace)
    watched.ended_by_itself(error)


def _watch_exit(watched: ScriptRun) -> None:
    """Have `os._exit` of the script report its end; workers that it forks leave as before."""
    real, owner = os._exit, os.getpid()

    def leave(status: int) -> NoReturn:
        if os.getpid() == owner:
            watched.ended_by_itself(SystemExit(status))
        real(status)

    os._exit = leave
