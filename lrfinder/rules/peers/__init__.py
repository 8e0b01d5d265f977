"""The rules of other learning-rate finders, by name: alternatives to compare with lrfinder's own pick.

To add one, write a file with `suggest(curve: PeerCurve) -> float | None` and an entry in `_RULES`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lrfinder.records import Pick, Status, Trace
from lrfinder.rules.peers import fastai, ignite, lightning, torch_lr_finder
from lrfinder.rules.peers.curve import PeerCurve, peer_curve


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """A peer's rule: its formula in words, what it needs of a curve, and the release it was read and tested in."""

    name: str
    title: str
    suggest: Callable[[PeerCurve], float | None]
    formula: str
    needs: str
    source: str


_FASTAI = "fastai 2.8.12, Learner.lr_find(suggest_funcs={})"

_RULES = (
    PeerRule(
        name="valley",
        title="fastai's valley",
        suggest=fastai.valley,
        formula="middle of the longest fall of the smoothed loss",
        needs="a loss after the first tenth of the sweep and before its last five",
        source=_FASTAI.format("valley"),
    ),
    PeerRule(
        name="slide",
        title="fastai's slide",
        suggest=fastai.slide,
        formula="where, from the high end, the slopes of the smoothed loss 15 updates apart differ by at most 0.005",
        needs="16 losses after the first tenth of the sweep and before its last five",
        source=_FASTAI.format("slide"),
    ),
    PeerRule(
        name="minimum",
        title="fastai's minimum",
        suggest=fastai.minimum,
        formula="a tenth of the rate with the lowest smoothed loss",
        needs="a loss after the first tenth of the sweep and before its last five",
        source=_FASTAI.format("minimum"),
    ),
    PeerRule(
        name="steep",
        title="fastai's steep",
        suggest=fastai.steep,
        formula="steepest fall of the smoothed loss against the logarithm of the rate",
        needs="two losses after the first tenth of the sweep and before its last five",
        source=_FASTAI.format("steep"),
    ),
    PeerRule(
        name="torch-lr-finder",
        title="torch-lr-finder",
        suggest=torch_lr_finder.suggest,
        formula="steepest fall of the smoothed loss from update to update",
        needs="17 losses before the smoothed loss exceeds five times its lowest",
        source="torch-lr-finder 0.2.2, LRFinder.plot(suggest_lr=True)",
    ),
    PeerRule(
        name="lightning",
        title="Lightning",
        suggest=lightning.suggest,
        formula="steepest fall of the smoothed loss against the rate itself",
        needs="13 losses before the smoothed loss exceeds four times its lowest",
        source="lightning 2.6.6, Tuner.lr_find().suggestion()",
    ),
    PeerRule(
        name="ignite",
        title="ignite",
        suggest=ignite.suggest,
        formula="steepest fall of the smoothed loss from update to update, up to its lowest point",
        needs="a smoothed loss that is lowest at the third update or later",
        source="pytorch-ignite 0.5.5, FastaiLRFinder.lr_suggestion()",
    ),
)

PEER_RULES: Mapping[str, PeerRule] = MappingProxyType({rule.name: rule for rule in _RULES})


def pick_per_repeat(rule: PeerRule, traces: tuple[Trace, ...], steps: int) -> Pick:
    """Apply a peer's rule, with its own smoothing and stop rule, to every repeat by itself, and pool the rates.

    lr is the geometric median over the repeats that gave a rate (if they are even in number, the geometric mean
    of the middle two); `low` and `high` are the lowest and the highest, None if only one gave a rate, which says
    nothing about spread. Peers state no confidence, so a rate is never better than `uncertain`.
    `steps` is the configured number of updates per repeat.
    """
    suggested = [rule.suggest(peer_curve(trace, steps=steps)) for trace in traces]
    lrs = [lr for lr in suggested if lr is not None]
    if not lrs:
        return Pick(
            rule=rule.name, lr=None, low=None, high=None, status=Status.REFUSED, why=_refusal(rule, len(traces))
        )
    several = len(lrs) > 1
    return Pick(
        rule=rule.name,
        lr=math.sqrt(statistics.median_low(lrs) * statistics.median_high(lrs)),
        low=min(lrs) if several else None,
        high=max(lrs) if several else None,
        status=Status.UNCERTAIN,
        why=f"{rule.title}: {rule.formula}; {_counted(len(lrs), len(traces))} a rate",
    )


def _counted(giving: int, repeats: int) -> str:
    if repeats == 1:
        return "the one repeat gives"
    return f"{giving} of {repeats} repeats {'gives' if giving == 1 else 'give'}"


def _refusal(rule: PeerRule, repeats: int) -> str:
    if not repeats:
        return "no repeat was measured; run the sweep again"
    missing = "the one repeat lacks" if repeats == 1 else f"all {repeats} repeats lack"
    return f"{rule.title} needs {rule.needs}, which {missing}; sweep with more steps or a wider range"
