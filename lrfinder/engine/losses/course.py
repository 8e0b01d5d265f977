"""The losses of a repeat or a short run, from where they are computed to where they are judged, in their order."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from lrfinder.engine.losses.readback import DelayedReadback, Pair
from lrfinder.engine.losses.stopping import StoppingRule, StopReason


class Course:
    """Passes each loss on to `take` and to `ending`, a few at a time.

    With a `readout` losses come late from the device. Without one each is there at once, and gathered for `patience`
    seconds at most, or until the weights are looked at or a loss isn't finite: judging eight in a row takes half as
    long as judging each between two updates. Either way the training has gone on when one of them ends it. `back_to` is
    called with the number of updates that had been made when that loss was computed, and no later one is passed on: so
    what is told is the same as where each loss is waited for and judged at once. The weights are those after further
    updates then, which nothing reads.
    """

    def __init__(
        self,
        ending: StoppingRule,
        readout: DelayedReadback | None,
        *,
        take: Callable[[float], object],
        back_to: Callable[[int], object],
        held: Callable[[], AbstractContextManager[None]],
        patience: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """In a context of `held()` no signal comes between two losses."""
        self.ending = ending
        self.latest = ending.first  # the last loss that is known
        self._readout = readout
        self._held = held
        self._take = take
        self._back_to = back_to
        self._patience = patience
        self._clock = clock
        self._due = clock() + patience
        # Of each loss the updates before it, the rate of the last one, and whether a glance at the weights came along.
        self._under_way: deque[tuple[int, float, bool]] = deque()
        # Of each that is there the loss, the updates before it, the rate of the last one, and the glance.
        self._gathered: deque[tuple[float, int, float, float | None]] = deque()

    def add(self, loss: torch.Tensor, updates: int, rate: float) -> StopReason | None:
        """Take in the loss that follows `updates` updates, the last one at `rate`; return the end, once it is known.

        With a readout `loss` has no gradient.
        """
        with self._held():
            glance = self.ending.glance(updates)
            if self._readout is not None:
                self._under_way.append((updates, rate, glance is not None))
                return self._arrived(self._readout.put(loss, glance))
            value = self.latest = loss.item()
            weights = None if glance is None else float(glance)
            self._gathered.append((value, updates, rate, weights))
            if weights is None and math.isfinite(value) and self._clock() < self._due:
                return None
            return self._judge_gathered()

    def settle(self) -> StopReason | None:
        """Judge the losses that haven't been, once all are there; return the end, where one of them is it."""
        if not self._under_way and not self._gathered:
            return None
        with self._held():
            return self._judge_gathered() if self._readout is None else self._arrived(self._readout.rest())

    def _judge_gathered(self) -> StopReason | None:
        end = None
        while self._gathered and end is None:
            end = self._judged(*self._gathered.popleft())
        self._gathered.clear()
        self._due = self._clock() + self._patience
        return end

    def _arrived(self, pairs: Sequence[Pair]) -> StopReason | None:
        for loss, weights in pairs:
            updates, rate, glanced = self._under_way.popleft()
            end = self._judged(loss, updates, rate, weights if glanced else None)
            if end is not None:
                self._under_way.clear()
                return end
        return None

    def _judged(self, loss: float, updates: int, rate: float, weights: float | None) -> StopReason | None:
        self.latest = loss
        self._take(loss)
        end = self.ending.after(loss, updates, rate, weights)
        if end is not None:
            self._back_to(updates)
        return end
