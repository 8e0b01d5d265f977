"""Torch's hooks around every step, and which optimizer among those that step is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lrfinder.scripts.inside.facts import names_of
from lrfinder.scripts.inside.followed import FollowedOptimizer, watch_first_rates
from lrfinder.scripts.inside.uncompiled import register_uncompiled

_StepChange = tuple[tuple[Any, ...], dict[str, Any]] | None  # other arguments for the step, if any


class StepHooks:
    """Torch's global hooks around every optimizer step of the process, with one optimizer among them followed.

    `seen` is told of every optimizer at its first step, with its names. A step within a step, as of a wrapper that is
    an optimizer itself, belongs to the outer one. One that is made anew for the same weights, as some scripts do in
    each epoch, takes the place of the one before. With `scale_others` every other optimizer has the rate of the
    followed one's last step times the ratio of their own rates; those must have a rate, or `seen` ends the process.
    """

    def __init__(
        self,
        which: str | None,
        *,
        seen: Callable[[torch.optim.Optimizer, tuple[str, ...]], None],
        before: Callable[[FollowedOptimizer, tuple[Any, ...], dict[str, Any]], _StepChange],
        after: Callable[[FollowedOptimizer], None],
        of_others: Callable[[torch.optim.Optimizer], None] | None = None,
        scale_others: bool = False,
    ) -> None:
        self._which, self._scales_others = which, scale_others
        self._scaled: dict[int, FollowedOptimizer] = {}  # the others, by their identity
        self._seen, self._before, self._after, self._of_others = seen, before, after, of_others
        self.names: dict[int, tuple[str, ...]] = {}  # of every optimizer that has stepped, by its identity
        self._alive: list[torch.optim.Optimizer] = []  # so that no other gets the identity of one that is gone
        self.followed: FollowedOptimizer | None = None
        self._under_way: list[torch.optim.Optimizer] = []
        self._forked = False  # whether this is a process that was forked
        os.register_at_fork(after_in_child=self._leave_alone)
        watch_first_rates()
        register_uncompiled(register_optimizer_step_pre_hook, self._step_begins)
        register_uncompiled(register_optimizer_step_post_hook, self._step_ends)

    @property
    def inside_step(self) -> bool:
        """Whether a step is under way."""
        return bool(self._under_way)

    def _step_begins(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _StepChange:
        if self._forked:  # a worker trains something of its own
            return None
        if self._under_way:
            if optimizer not in self._under_way:
                self._under_way.append(optimizer)
                return None
            self._under_way.clear()  # its last step raised, and the script goes on
        self._under_way.append(optimizer)
        followed = self.followed
        if (followed is None or followed.optimizer is not optimizer) and (followed := self._other(optimizer)) is None:
            return None
        return self._before(followed, args, kwargs)

    def _leave_alone(self) -> None:
        self._forked = True

    def _other(self, optimizer: torch.optim.Optimizer) -> FollowedOptimizer | None:
        """Begin the step of an optimizer that wasn't followed so far; return it if it is from now on."""
        if id(optimizer) not in self.names:
            self._first_step_of(optimizer)
        followed = self.followed
        if followed is not None and followed.optimizer is optimizer:
            return followed
        if self._of_others is not None:
            self._of_others(optimizer)
        if followed is not None and (other := self._scaled.get(id(optimizer))) is not None:
            other.set(followed.rate * ratio_of_rates(other, followed))
        return None

    def _step_ends(self, optimizer: torch.optim.Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if not self._under_way or self._under_way.pop() is not optimizer or self._under_way:
            return
        followed = self.followed
        if followed is not None and followed.optimizer is optimizer:
            followed.put_back()
            self._after(followed)
        elif (other := self._scaled.get(id(optimizer))) is not None:
            other.put_back()

    def _first_step_of(self, optimizer: torch.optim.Optimizer) -> None:
        names = names_of(optimizer)
        before = self.followed
        if before is not None and self.names[id(before.optimizer)] == names and before.goes_on_in(optimizer):
            del self.names[id(before.optimizer)]
            self._alive.remove(before.optimizer)
            self.followed = FollowedOptimizer(optimizer, before=before)
        self.names[id(optimizer)] = names
        self._alive.append(optimizer)
        if self.followed is not None and self.followed.optimizer is optimizer:
            return
        self._seen(optimizer, names)
        if self.followed is None and (self._which is None or self._which in names):
            self.followed = FollowedOptimizer(optimizer)
        elif self._scales_others:
            self._scaled[id(optimizer)] = FollowedOptimizer(optimizer)


def ratio_of_rates(other: FollowedOptimizer, followed: FollowedOptimizer) -> float:
    """Return the script's own rate of `other` over that of `followed`; 1 if that is 0, as at the start of a warm-up."""
    return other.own_rate / followed.own_rate if followed.own_rate else 1.0


def listed(optimizers: list[tuple[str, ...]]) -> str:
    """Return the optimizers as a user may name them: "SGD (optimizer_d), Adam (optimizer_g)"."""
    return ", ".join(names[0] + (f" ({', '.join(names[1:4])})" if names[1:] else "") for names in optimizers)
