"""The rates of the optimizer that is followed: set before each of its steps, and put back behind it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lrfinder.scripts.inside.facts import names_of
from lrfinder.scripts.inside.uncompiled import uncompiled

_StepChange = tuple[tuple[Any, ...], dict[str, Any]] | None  # other arguments for the step, if any


class FollowedOptimizer:
    """An optimizer of the script whose param groups keep the ratios of their rates while the peak is ours.

    A group's own rate is its `initial_lr`, which a scheduler leaves: `lr` may be anywhere on that scheduler's way, as
    at 0 in a warm-up. Without one it is `lr`. The ratio is that rate over the largest group's; a group at 0 stays
    there, and if all are at 0 every ratio is 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        first = [_own_rate(group) for group in optimizer.param_groups]
        self.largest = max(first, default=0.0)
        self.ratios: list[float] = []
        self._before: list[Any] = []
        self._first: list[Any] = []  # what the script had at its first step
        self.moved = False  # whether the script has changed its own rates since

    @property
    def own_rate(self) -> float:
        """The rate that the script itself would begin with; in a warm-up by hand the optimizer's own setting."""
        default = self.optimizer.defaults.get("lr")
        scheduled = any("initial_lr" in group for group in self.optimizer.param_groups)
        known = not scheduled and isinstance(default, int | float) and math.isfinite(default)
        return max(float(default), self.largest) if known else self.largest  # type: ignore[arg-type]

    def learn_ratios(self) -> list[float]:
        """Return the ratio of each group: all are learned at first, and later those of groups that were added."""
        for group in self.optimizer.param_groups[len(self.ratios) :]:
            self.ratios.append(_own_rate(group) / self.largest if self.largest > 0 else 1.0)
        return self.ratios

    def set(self, rate: float) -> None:
        """Set every group to its share of `rate`, and remember what the script had there."""
        groups = self.optimizer.param_groups
        self.learn_ratios()
        self._before = [_read(group) for group in groups]
        self._first = self._first or self._before
        self.moved |= self._before[: len(self._first)] != self._first
        for group, ratio in zip(groups, self.ratios, strict=True):
            _write(group, rate * ratio)

    def put_back(self) -> None:
        """Put the script's own rates back: its schedulers find what they left."""
        for group, rate in zip(self.optimizer.param_groups, self._before, strict=False):
            _write(group, rate)
        self._before = []


def _own_rate(group: dict[str, Any]) -> float:
    return float(group.get("initial_lr", group["lr"]))


def _read(group: dict[str, Any]) -> Any:
    return float(group["lr"]) if isinstance(group["lr"], torch.Tensor) else group["lr"]


def _write(group: dict[str, Any], rate: Any) -> None:
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class StepHooks:
    """Torch's global hooks around every optimizer step of the process, with one optimizer among them followed.

    `seen` is told of every optimizer at its first step, with its names. A step within a step, as of a wrapper that is
    an optimizer itself, belongs to the outer one.
    """

    def __init__(
        self,
        which: str | None,
        *,
        seen: Callable[[torch.optim.Optimizer, tuple[str, ...]], None],
        before: Callable[[FollowedOptimizer, tuple[Any, ...], dict[str, Any]], _StepChange],
        after: Callable[[FollowedOptimizer], None],
        of_others: Callable[[torch.optim.Optimizer], None] | None = None,
    ) -> None:
        self._which = which
        self._seen, self._before, self._after, self._of_others = seen, before, after, of_others
        self.names: dict[int, tuple[str, ...]] = {}  # of every optimizer that has stepped, by its identity
        self._alive: list[torch.optim.Optimizer] = []  # so that no other gets the identity of one that is gone
        self.followed: FollowedOptimizer | None = None
        self._under_way: list[torch.optim.Optimizer] = []
        self._owner = os.getpid()
        register_optimizer_step_pre_hook(uncompiled(self._step_begins))
        register_optimizer_step_post_hook(uncompiled(self._step_ends))

    @property
    def inside_step(self) -> bool:
        """Whether a step is under way."""
        return bool(self._under_way)

    def _step_begins(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _StepChange:
        if os.getpid() != self._owner:  # a worker that was forked trains something of its own
            return None
        if optimizer in self._under_way:  # its last step raised, and the script goes on
            self._under_way.clear()
        self._under_way.append(optimizer)
        if len(self._under_way) > 1:
            return None
        if id(optimizer) not in self.names:
            self._first_step_of(optimizer)
        followed = self.followed
        if followed is None or followed.optimizer is not optimizer:
            if self._of_others is not None:
                self._of_others(optimizer)
            return None
        return self._before(followed, args, kwargs)

    def _step_ends(self, optimizer: torch.optim.Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if not self._under_way or self._under_way.pop() is not optimizer or self._under_way:
            return
        followed = self.followed
        if followed is not None and followed.optimizer is optimizer:
            followed.put_back()
            self._after(followed)

    def _first_step_of(self, optimizer: torch.optim.Optimizer) -> None:
        names = names_of(optimizer)
        self.names[id(optimizer)] = names
        self._alive.append(optimizer)
        self._seen(optimizer, names)
        if self.followed is None and (self._which is None or self._which in names):
            self.followed = FollowedOptimizer(optimizer)


def listed(optimizers: list[tuple[str, ...]]) -> str:
    """Return the optimizers as a user may name them: "SGD (optimizer_d), Adam (optimizer_g)"."""
    return ", ".join(names[0] + (f" ({', '.join(names[1:4])})" if names[1:] else "") for names in optimizers)
