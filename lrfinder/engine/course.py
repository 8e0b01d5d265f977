"""The losses of a repeat or a short run, from where they are computed to where they are judged, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from lrfinder.engine.ending import End, Ending
from lrfinder.engine.readout import Late, Pair


class Course:
    """Passes each loss on to `take` and to `ending` once it has come from the device.

    With a `readout` losses come late: the training has gone on when one of them ends it. `back_to` is called with the
    number of updates that had been made when that loss was computed, and no later one is passed on: so what is told is
    the same as where each loss is waited for. The weights are those after further updates then, which nothing reads.
    """

    def __init__(
        self,
        ending: Ending,
        readout: Late | None,
        *,
        take: Callable[[float], object],
        back_to: Callable[[int], object],
        held: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Without a `readout` each loss is waited for. In a context of `held()` no signal comes between two losses."""
        self.ending = ending
        self._readout = readout
        self._held = held
        self._take = take
        self._back_to = back_to
        # Of each loss the updates before it, the rate of the last one, and whether a glance at the weights came along.
        self._under_way: deque[tuple[int, float, bool]] = deque()

    def add(self, loss: torch.Tensor, updates: int, rate: float) -> End | None:
        """Take in the loss that follows `updates` updates, the last one at `rate`; return the end, once it is known.

        `loss` has no gradient.
        """
        with self._held():
            glance = self.ending.glance(updates)
            if self._readout is None:
                value = loss.item()
                self._take(value)
                return self.ending.after(value, updates, rate, None if glance is None else float(glance))
            self._under_way.append((updates, rate, glance is not None))
            return self._judged(self._readout.put(loss, glance))

    def settle(self) -> End | None:
        """Wait for the losses that are under way, and return the end, where one of them is it."""
        if self._readout is None or not self._under_way:
            return None
        with self._held():
            return self._judged(self._readout.rest())

    def _judged(self, arrived: Sequence[Pair]) -> End | None:
        for loss, weights in arrived:
            updates, rate, glanced = self._under_way.popleft()
            self._take(loss)
            end = self.ending.after(loss, updates, rate, weights if glanced else None)
            if end is not None:
                self._under_way.clear()
                self._back_to(updates)
                return end
        return None
