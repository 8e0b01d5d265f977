"""The rules that pick a rate, by name. A new rule is one file and one line in a table.

`FIT_RULES` read the fitted curve of all repeats; `PEER_RULES` are what other finders would have suggested, applied
to each repeat by itself. The first fit rule is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lrfinder.fit import Curve
from lrfinder.records import Pick, Trace
from lrfinder.rules.lowest import lowest
from lrfinder.rules.peers import PEER_RULES, pick_per_repeat
from lrfinder.rules.short_runs import SHORT_RUNS
from lrfinder.rules.steepest import steepest
from lrfinder.rules.steepest_raw import steepest_raw

FIT_RULES: Mapping[str, Callable[[Curve], Pick]] = MappingProxyType(
    {
        "steepest": steepest,
        "lowest": lowest,
        "steepest-raw": steepest_raw,
    }
)

DEFAULT_RULE = "steepest"  # of a sweep without short runs; with them it is `short-runs`
# After a plateau nothing has been used up before the fall, so there is nothing to correct for; and above it is a cliff.
# 26 sweeps of eight tasks with deep nets: mean (worst) regret 0.030 (0.10), of `steepest` 0.051 (0.21).
PLATEAU_RULE = "steepest-raw"
RULE_NAMES: tuple[str, ...] = (SHORT_RUNS, *FIT_RULES, *PEER_RULES)


def pick_all(curve: Curve, traces: tuple[Trace, ...], steps: int) -> tuple[Pick, ...]:
    """Return every rule's pick, in the tables' order; `steps` is the configured number of updates of a repeat."""
    from_fit = (rule(curve) for rule in FIT_RULES.values())
    from_peers = (pick_per_repeat(rule, traces, steps) for rule in PEER_RULES.values())
    return (*from_fit, *from_peers)
