"""What a script's process says of itself, in the words of a run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrfinder.errors import visible
from lrfinder.formatting import format_lr
from lrfinder.optimizers import is_setting
from lrfinder.records import OptimizerFacts, Script, Setup
from lrfinder.version import VERSION

TAIL = 30  # lines of the script's output that are shown if it fails
PAUSES = 0.3  # share of the time between the first step and the last from which on its use is told,
LEAST_PAUSES_S = 2.0  # if it is so long
JUDGED = (
    "training mode: by batches of the script's loader that were held back if trial runs train on some more than once, "
    "else by the mean of the last tenth of their training losses"
)
# Of several processes: what one holds back, another may be given to train on in a later pass.
JUDGED_BY_TRAINING = "training mode: by the mean of the last tenth of their training losses"


def setup_of(script: Script, facts: dict[str, Any]) -> Setup:
    """Return the setup of a sweep from what the script's process says of it."""
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in facts["settings"].items()}
    return Setup(
        model=visible(script.title),
        parameters=facts["parameters"],
        loss="what the script calls backward() on",
        optimizer=OptimizerFacts(
            name=facts["optimizer"],
            settings={key: value for key, value in settings.items() if is_setting(key)},
            group_ratios=tuple(facts["ratios"]),
            default_lr=facts["default_lr"],
            own_lr=facts["own_rate"] if 0 < facts["own_rate"] < math.inf else None,
            chosen_by="script",
        ),
        batch_size=None if facts["batch_size"] is None else facts["batch_size"] * (script.processes or 1),
        batches_per_epoch=facts["batches_per_epoch"],
        device=facts["device"],
        torch=facts["torch"],
        python=facts["python"],
        lrfinder=VERSION,
        judged=JUDGED if script.processes is None else JUDGED_BY_TRAINING,
        processes=script.processes,
        batch_per_process=None if script.processes is None else facts["batch_size"],
        doubt=_doubt(facts),
    )


def takes_turns(script: Script) -> str:
    """Say why the loss of a run may be no measure in which other optimizers made steps, too, once it had begun."""
    if script.scale_others:
        return "the script's optimizers have a loss each: the one that was read hangs on what the others do, too"
    return f"only {script.which} was swept: the loss hangs on what the script's other optimizers do, too"


def _doubt(facts: dict[str, Any]) -> str:
    """Say why the loss may be no measure: it hangs on what the script itself does."""
    if facts["acts"]:
        return f"the script uses {facts['acts']}: if it learns by acting, its loss says little of how well it acts"
    return ""


def pauses(end: dict[str, Any]) -> str:
    """Say how much of a run's time was no training, if it was much; `end` is the message of its end."""
    share = end["pausing_s"] / end["stepping_s"] if end["stepping_s"] else 0.0
    if share < PAUSES or end["pausing_s"] < LEAST_PAUSES_S:
        return ""
    return (
        f"{share:.0%} of the time between the first update and the last was no training but evaluation, sampling or "
        "saving: an argument of the script that makes it rarer makes the sweep faster"
    )


def own_rate(rate: float, *, called: str, moved: bool, idle: str, scaled: Mapping[str, float]) -> str:
    """Say which rate the script itself trains the optimizer at that was swept, called so by it.

    `moved`: it changed it in the course of a run. `idle` are optimizers that have made no step in the last one, and
    `scaled` are others that were scaled with it, and their ratios.
    """
    own = f"the script's own rate of {called} is {format_lr(rate)}"
    if scaled:
        others = ", ".join(f"{name} at {ratio:.3g} times its rate" for name, ratio in scaled.items())
        own = f"swept were {called} and {others}, as `lrfinder run --scale-others` trains them; {own}"
    if idle:
        own = f"swept was {called}: {idle} had made no step yet, and --which NAME sweeps that instead; {own}"
    if moved:
        return own
    decays = "a suggested rate is for a run that decays, as `lrfinder run` makes it"
    return f"{own}, and stayed so; {decays}; kept constant, half of it is the better guess"


def last_lines(output: bytes) -> str:
    """Return the last TAIL lines of what the script has printed; of one that was written over, the last state."""
    lines = output.decode(errors="replace").rstrip("\r\n").split("\n")[-TAIL:]
    return "\n".join(visible(line.rstrip("\r").rpartition("\r")[2]) for line in lines)
