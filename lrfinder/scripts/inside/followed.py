"""The rates of the optimizer that is followed: set before each of its steps, and put back behind it."""

from __future__ import annotations

import functools
import math
import operator
import weakref
from typing import Any, Self

import torch

from lrfinder.engine.own_loop import schedulers_of
from lrfinder.scripts.inside.weights import weights_of

_MADE_WITH: weakref.WeakKeyDictionary[torch.optim.Optimizer, list[Any]] = weakref.WeakKeyDictionary()


def watch_first_rates() -> None:
    """From now on, remember which rate each param group is made with."""
    kind: Any = torch.optim.Optimizer
    real = kind.add_param_group

    def add_param_group(this: torch.optim.Optimizer, group: Any) -> Any:
        result = real(this, group)
        _MADE_WITH.setdefault(this, []).append(this.param_groups[-1].get("lr"))
        return result

    kind.add_param_group = add_param_group


class FollowedOptimizer:
    """An optimizer of the script whose rates are set before a step, and put back after it.

    A wrapper may hold an optimizer that makes its steps, with param groups of their own, as some Lookaheads do: those
    get the rate, too, and alone if the wrapper's have none.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, before: Self | None = None) -> None:
        """`before` is one for the same weights whose place it takes."""
        self.optimizer = optimizer
        self.rate = 0.0  # the one that was set last
        self.moved = False  # whether the script has changed its own rates since its first step
        self._kept = [KeptRatios(groups) for groups in _groups_with_rates(optimizer)]
        self._own: list[dict[str, Any]] = []  # the optimizer's list of groups, and how many there were in it,
        self._count = 0  # when these were paired:
        self._pairs: list[tuple[dict[str, Any], float]] = []  # every group with a rate, and its ratio
        self._before: list[Any] = []  # what the script has there
        self._at_first: list[Any] = []  # what it had at its first step
        weights = self._weights = [*weights_of(optimizer)]
        # What begins anew writes all weights: it is enough to know how often the first and the last one were written.
        self._ends = (weights[0], weights[-1]) if weights else (torch.empty(0), torch.empty(0))
        self._versions = (0, 0)
        if before is not None and before.groups == self.groups:
            self._first.ratios, self._at_first, self.moved = before._first.ratios, before._at_first, before.moved

    @staticmethod
    def has_rate(optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether there is a rate that can be set."""
        return bool(_groups_with_rates(optimizer))

    @property
    def _first(self) -> KeptRatios:
        return self._kept[0]

    @property
    def groups(self) -> int:
        """How many param groups have a rate."""
        return len(self._first.groups)

    @property
    def rates(self) -> list[float]:
        """The rates of the param groups, as they are now."""
        return [float(group["lr"]) for group in self._first.groups]

    @functools.cached_property
    def own_rate(self) -> float:
        """The highest rate that the script itself begins with, or rises to if a scheduler of torch's says so.

        In a warm-up by hand it is what its groups were made with.
        """
        groups = self._first.groups
        if any("initial_lr" in group for group in groups):
            cyclic = [rate for scheduler in schedulers_of(self.optimizer) for rate in getattr(scheduler, "max_lrs", ())]
            others = [*cyclic, *(group.get("max_lr", 0.0) for group in groups)]
        else:
            others = _MADE_WITH.get(self.optimizer, [self.optimizer.defaults.get("lr")])
        known = [float(rate) for rate in others if isinstance(rate, int | float) and math.isfinite(rate)]
        return max([self._first.largest, *known])

    def learn_ratios(self) -> list[float]:
        """Return the ratio of each group: all are learned at first, and later those of groups that were added."""
        return self._first.learn()

    def keep_ratios(self, ratios: tuple[float, ...]) -> None:
        """Keep these ratios instead."""
        self._first.ratios = list(ratios)

    def set(self, rate: float) -> None:
        """Set every group to its share of `rate`, and remember what the script had there."""
        self.rate = rate
        own = self.optimizer.param_groups
        if own is not self._own or len(own) != self._count:  # groups were added, or a state loaded
            self._pair(own)
        before: list[Any] = []
        for group, _ in self._pairs:
            old = group["lr"]
            before.append(old if type(old) is float else _number(old))
        self._before = before
        if before != self._at_first and not self.moved:
            self._at_first = self._at_first or before[: self.groups]
            self.moved = before[: len(self._at_first)] != self._at_first
        for group, ratio in self._pairs:
            if type(group["lr"]) is float:
                group["lr"] = rate * ratio
            else:
                _write(group, rate * ratio)

    def put_back(self) -> None:
        """Put the script's own rates back: its schedulers find what they left."""
        for (group, _), rate in zip(self._pairs, self._before):  # noqa: B905 - strict takes as long as the rest
            if type(group["lr"]) is float:
                group["lr"] = rate
            else:
                _write(group, rate)
        self._before = []
        first, last = self._ends
        self._versions = first._version, last._version

    def goes_on_in(self, other: torch.optim.Optimizer) -> bool:
        """Tell whether `other` trains the same weights, and they are as this one has left them."""
        theirs = [*weights_of(other)]
        same = len(theirs) == len(self._weights) and all(map(operator.is_, theirs, self._weights))
        first, last = self._ends
        return same and self._versions == (first._version, last._version)

    def _pair(self, own: list[dict[str, Any]]) -> None:
        """Find every group anew, and its ratio: a state that is loaded makes other groups, in another list."""
        for kept, groups in zip(self._kept, _groups_with_rates(self.optimizer), strict=True):
            kept.groups = groups
        self._own, self._count = own, len(own)
        self._pairs = [pair for kept in self._kept for pair in zip(kept.groups, kept.learn(), strict=True)]


class KeptRatios:
    """The ratios of param groups, which they keep while the peak is ours.

    A group's own rate is its `initial_lr`, which a scheduler leaves: `lr` may be anywhere on that scheduler's way, as
    at 0 in a warm-up. Without one it is `lr`. The ratio is that rate over the largest group's; a group at 0 stays
    there, and if all are at 0 every ratio is 1.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.groups = groups  # groups may be added to them
        self.largest = max(map(_own_rate, groups))
        self.ratios: list[float] = []

    def learn(self) -> list[float]:
        """Return the ratio of each group."""
        for group in self.groups[len(self.ratios) :]:
            self.ratios.append(_own_rate(group) / self.largest if self.largest > 0 else 1.0)
        return self.ratios


def _groups_with_rates(optimizer: torch.optim.Optimizer) -> list[list[dict[str, Any]]]:
    """Return the param groups of an optimizer, and those of optimizers that it holds for the same weights.

    Without those that have no rate, and those that are held in common: there what is set for one is set for both.
    """
    own = optimizer.param_groups
    known, weights = {id(group) for group in own}, {id(weight) for weight in weights_of(optimizer)}
    held = [
        group
        for value in vars(optimizer).values()
        if isinstance(value, torch.optim.Optimizer) and any(id(weight) in weights for weight in weights_of(value))
        for group in value.param_groups
        if id(group) not in known
    ]
    return [groups for groups in (own, held) if groups and all(group.get("lr") is not None for group in groups)]


def _own_rate(group: dict[str, Any]) -> float:
    return float(group.get("initial_lr", group["lr"]))


def _number(rate: Any) -> Any:
    return float(rate) if isinstance(rate, torch.Tensor) else rate


def _write(group: dict[str, Any], rate: Any) -> None:
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
