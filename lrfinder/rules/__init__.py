"""The rules that pick a rate, by name. A new rule is one file and one line in a table.

`FIT_RULES` read the fitted curve of all repeats. `PEER_RULES` are what other finders would have suggested, each
applied to every repeat by itself. `trials` reads the short runs. What a pick means: rules/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lrfinder.fit import Curve
from lrfinder.records import Pick, Trace
from lrfinder.rules.lowest import lowest
from lrfinder.rules.peers import PEER_RULES, pick_per_repeat
from lrfinder.rules.steepest import steepest
from lrfinder.rules.steepest_raw import steepest_raw
from lrfinder.rules.trials import TRIALS_RULE

FIT_RULES: Mapping[str, Callable[[Curve], Pick]] = MappingProxyType(
    {
        "steepest": steepest,
        "lowest": lowest,
        "steepest-raw": steepest_raw,
    }
)

DEFAULT_RULE = "steepest"  # of a sweep without short runs; with them it is `trials`
PLATEAU_RULE = "steepest-raw"  # after a plateau: rules/README.md#plateau_rule
RULE_NAMES: tuple[str, ...] = (TRIALS_RULE, *FIT_RULES, *PEER_RULES)


OLD_NAMES: Mapping[str, str] = MappingProxyType({"short-runs": TRIALS_RULE})


def renamed(rule: str) -> str:
    """Return the sentence that tells the new name of the old name `rule`."""
    return f"the rule {rule!r} is now called {OLD_NAMES[rule]!r}"


def pick_all(curve: Curve, traces: tuple[Trace, ...], steps: int) -> tuple[Pick, ...]:
    """Return every rule's pick on a curve, in the tables' order; `steps` are the configured updates of a repeat."""
    from_fit = (rule(curve) for rule in FIT_RULES.values())
    from_peers = (pick_per_repeat(rule, traces, steps) for rule in PEER_RULES.values())
    return (*from_fit, *from_peers)
