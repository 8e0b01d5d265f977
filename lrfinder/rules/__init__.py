"""The rules that pick a rate, by name. A new rule is one file and one line in a table.

`FIT_RULES` read the fitted curve of all repeats. `PEER_RULES` are what other finders would have suggested, each
applied to every repeat by itself. `trials` reads the short runs.
Installed distributions may add fit rules by the entry points `lrfinder.rules`. What a pick means: rules/README.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lrfinder.errors import error_text
from lrfinder.fit import Curve
from lrfinder.plugins import PluginTable
from lrfinder.records import Pick, Status, Trace
from lrfinder.rules.lowest import lowest
from lrfinder.rules.peers import PEER_RULES, pick_per_repeat
from lrfinder.rules.steepest import steepest
from lrfinder.rules.steepest_raw import steepest_raw
from lrfinder.rules.trials import TRIALS_RULE

_OURS: Mapping[str, Callable[[Curve], Pick]] = {
    "steepest": steepest,
    "lowest": lowest,
    "steepest-raw": steepest_raw,
}


def _fault(_name: str, found: Any) -> str | None:
    return None if callable(found) else "isn't a function of a curve"


FIT_RULES = PluginTable("lrfinder.rules", _OURS, _fault)

DEFAULT_RULE = "steepest"  # of a sweep without short runs; with them it is `trials`
PLATEAU_RULE = "steepest-raw"  # after a plateau: rules/README.md#plateau_rule
RULE_NAMES: tuple[str, ...] = (TRIALS_RULE, *_OURS, *PEER_RULES)  # ours
OLD_NAMES: Mapping[str, str] = {"short-runs": TRIALS_RULE}


def renamed(rule: str) -> str:
    """Return the sentence that gives the new name of the old name `rule`."""
    return f"the rule {rule!r} is now called {OLD_NAMES[rule]!r}"


def pick_all(curve: Curve, traces: tuple[Trace, ...], steps: int) -> tuple[Pick, ...]:
    """Return every rule's pick on a curve, in the tables' order; `steps` are the configured updates of a repeat."""
    from_fit = (rule(curve) for rule in _OURS.values())
    from_peers = (pick_per_repeat(rule, traces, steps) for rule in PEER_RULES.values())
    from_plugins = (_plugged_pick(name, rule, curve) for name, rule in FIT_RULES.plugged.items())
    return (*from_fit, *from_peers, *from_plugins)


def _is_whole(pick: Pick, name: str) -> bool:
    """Tell whether a pick is the rule's own, with a rate that can be used, or refused without one."""
    if pick.lr is None:
        return pick.rule == name and pick.status is Status.REFUSED
    ends = [end for end in (pick.low, pick.high) if end is not None]
    usable = all(math.isfinite(rate) and rate > 0 for rate in (pick.lr, *ends))
    return pick.rule == name and pick.status is not Status.REFUSED and usable


def _plugged_pick(name: str, rule: Callable[[Curve], Pick], curve: Curve) -> Pick:
    """Return what a plug-in's rule picks; a refusal if it fails."""
    try:
        pick: object = rule(curve)
        failure = None if isinstance(pick, Pick) and _is_whole(pick, name) else f"it returned {pick!r:.60}"
    except Exception as error:  # noqa: BLE001 - a stranger's code must not cost the other rules their picks
        pick, failure = None, f"{type(error).__name__}: {error_text(error)}"
    if isinstance(pick, Pick) and failure is None:
        return pick
    why = f"the plug-in's rule failed: {failure}"
    return Pick(rule=name, lr=None, low=None, high=None, status=Status.REFUSED, why=why)
