"""The losses of one repeat or one short run: read from the device, judged in their order, kept and reported.

The stopping rule is here, too: a repeat or run ends if its loss diverges, or a loss or weight isn't finite.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.losses.nonfinite import EVERY, WeightsTotal, all_finite, locate_nonfinite
from lrfinder.engine.losses.readback import Pair, Readback
from lrfinder.records import Point, Stop

GROWN = 1000.0  # times the first loss: engine/README.md#grown

StopReason = tuple[Stop, str]  # and why
When = Callable[[int, float], str]  # from the updates made and the rate of the last one: "after 5 updates"


class StoppingRule:
    """Judges the losses of a repeat or a short run of `model`, whose loss before any update is `first`.

    `gradients`: those of the last update are still there when a loss is judged, and may show where a NaN came from.
    `late`: losses are judged some updates late, when nothing in the model shows that any more. `when` says in words
    when a loss was computed. By `drift` the loss rises at any rate.
    """

    def __init__(
        self, model: nn.Module, first: float, *, gradients: bool, late: bool, when: When, drift: float = 0.0
    ) -> None:
        self._model = model
        self._weights = WeightsTotal(model)
        self.first = first
        self._when = when
        self._gradients = gradients and not late
        self._drift = drift
        self._blind = "since losses are read some updates late" if late else ""
        if self._weights.shared:
            self._blind = "since each process has its part of the weights"
        self.agreed: Callable[[float], float] | None = None  # makes one check of those of all processes
        self._seen_finite = 0  # updates after which the weights were seen to be finite
        self._last = first  # the last finite loss
        self._divergence = DivergenceRule(least_rise=LEAST_SHARE * abs(first) + drift)
        if math.isfinite(first):
            self._divergence.observe(first)

    def before(self, what: str) -> StopReason | None:
        """Return the reason to end before any update, or None; `what` names the loss: "the loss of the first batch"."""
        if math.isfinite(self.first):
            return None
        return (
            Stop.NON_FINITE,
            f"{what}, before any update, is {self.first}: {self._origin(gradients=False)}",
        )

    def weights_check(self) -> torch.Tensor | float | None:
        """Return a number for `after` that isn't finite if a weight isn't; it isn't waited for."""
        own = self._weights.total()
        return own if self.agreed is None or own is None else self.agreed(float(own))

    def after(self, loss: float, updates: int, rate: float, weights: float | None) -> StopReason | None:
        """Judge `loss`, which follows `updates` updates, the last at `rate`; return the reason to end, or None.

        `weights` is what `weights_check` returned then; None: the weights weren't looked at.
        """
        if not math.isfinite(loss):
            return self.not_finite(f"the loss is {loss} {self._when(updates, rate)}")
        if weights is not None:
            if not math.isfinite(weights) and (self._weights.shared or not all_finite(self._model)):
                state = f"the loss is still {loss:.4g} {self._when(updates, rate)}"
                return Stop.NON_FINITE, f"{state}: {self._origin(gradients=self._gradients)}"
            self._seen_finite = updates
        self._last = loss
        if self._divergence.observe(loss):
            return Stop.DIVERGED, self._divergence.reason
        return None

    def not_finite(self, what: str) -> StopReason:
        """Return the end by a loss that isn't finite: `what` it was, and where it came from.

        A loss that had grown GROWN-fold before has diverged: its overflow says nothing of the data.
        """
        if self.first and self._last - self.first > GROWN * max(abs(self.first), self._drift):
            return Stop.DIVERGED, f"the loss began at {self.first:.4g} and grew to {self._last:.4g}; then {what}"
        if self._blind:
            why = f"{what}: where it came from can't be seen, {self._blind}"
            seen = f"; the weights were finite after {self._seen_finite} updates" if self._seen_finite else ""
            return Stop.NON_FINITE, why + seen
        return Stop.NON_FINITE, f"{what}: {locate_nonfinite(self._model, gradients=self._gradients)}"

    def _origin(self, *, gradients: bool) -> str:
        if self._weights.shared:
            return f"where it came from can't be seen, {self._blind}"
        return locate_nonfinite(self._model, gradients=gradients)


class LossLog:
    """The losses measured so far. The log survives whatever ends the repeat or the run.

    Each loss is added to `losses`, reported to `measured` as a Point of `repeat`, and judged by the stopping rule. This
    is done for a few losses at a time, since judging eight in a row takes half as long as one by one. With a `readback`
    the losses come late from the device. Without one they are there at once, and are judged after `max_delay_s`
    seconds, or earlier if the weights are checked or a loss isn't finite.

    So further updates may have been made when a loss ends the training. Then `updates` is set back to the number before
    that loss, and later losses are dropped: the log is the same as if each loss had been waited for. The weights have
    seen the further updates, but nothing reads them.
    """

    def __init__(
        self,
        *,
        repeat: int = 0,
        rates: Sequence[float] = (),
        measured: Callable[[Point], None] | None = None,
        held: AbstractContextManager[None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rates[i]` is the rate of update i. In the context `held` signals wait."""
        self.updates = 0  # made so far; the loss after the last one may be missing
        self.skipped = 0  # by the loss scaler
        self.first: float | None = None  # the loss before any update
        self.losses: list[float] = []  # losses[i] follows update i
        self.latest = math.nan  # the last loss that is known
        self.rule: StoppingRule | None = None
        self._repeat = repeat
        self._rates = rates
        self._measured = measured
        self._held: AbstractContextManager[None] = nullcontext() if held is None else held
        self._clock = clock
        self._readback: Readback | None = None
        self._max_delay_s = 0.0
        self._due = 0.0
        # On the device: the updates before each loss, the last one's rate, and whether the weights were checked.
        self._under_way: deque[tuple[int, float, bool]] = deque()
        # On the host, not judged yet: the loss, the updates before it, the last one's rate, and the weights' check.
        self._waiting: deque[tuple[float, int, float, float | None]] = deque()

    def start(self, rule: StoppingRule, readback: Readback | None = None, *, max_delay_s: float = 0.0) -> None:
        """Let `rule` judge the losses from now on."""
        self.rule = rule
        self.latest = rule.first
        self._readback = readback
        self._max_delay_s = max_delay_s
        self._due = self._clock() + max_delay_s

    def add(self, loss: torch.Tensor, rate: float) -> StopReason | None:
        """Add the loss that follows the last update, made at `rate`; return the end as soon as it is known.

        With a readback `loss` has no gradient.
        """
        rule, updates = self.rule, self.updates
        assert rule is not None  # noqa: S101 - start() came before
        with self._held:  # at the end of `held` a signal acts that the user's code has swallowed
            check = rule.weights_check() if updates % EVERY == 0 and updates else None
            if self._readback is not None:
                self._under_way.append((updates, rate, check is not None))
                return self._judge_arrived(self._readback.put(loss, check))
            value = self.latest = loss.item()
            self._waiting.append((value, updates, rate, None if check is None else float(check)))
            if check is None and math.isfinite(value) and self._clock() < self._due:
                return None
            return self._judge()

    def settle(self) -> StopReason | None:
        """Wait for the losses that are under way and judge the rest; return the end, if one of them is it."""
        if not self._waiting and not self._under_way:
            return None
        with self._held:
            return self._judge_arrived(() if self._readback is None else self._readback.rest())

    def _judge_arrived(self, pairs: Sequence[Pair]) -> StopReason | None:
        for loss, check in pairs:
            updates, rate, checked = self._under_way.popleft()
            self._waiting.append((loss, updates, rate, check if checked else None))
        return self._judge()

    def _judge(self) -> StopReason | None:
        """Keep, report and judge the waiting losses in their order, up to the one that is the end."""
        end = None
        while self._waiting and end is None:
            loss, updates, rate, check = self._waiting.popleft()
            self.latest = loss
            step = len(self.losses)
            self.losses.append(loss)
            if self._measured is not None:
                self._measured(Point(repeat=self._repeat, step=step, lr=self._rates[step], loss=loss))
            end = self.rule.after(loss, updates, rate, check)  # type: ignore[union-attr]
        if end is not None:
            self.updates = updates  # those after it were made before the end was known
            self._waiting.clear()
            self._under_way.clear()
        self._due = self._clock() + self._max_delay_s
        return end
