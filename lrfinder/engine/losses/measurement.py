"""What one repeat has measured so far: the one thing that grows during a sweep, and outlives whatever ends it."""

from __future__ import annotations

from collections.abc import Callable

from lrfinder.records import Point, Stop, Trace


class Measurement:
    """The losses of one repeat. Each is passed to `report` as a Point as soon as it is there."""

    def __init__(self, repeat: int, seed: int, rates: tuple[float, ...], report: Callable[[Point], None]) -> None:
        self.rates = rates
        self.updates = 0  # made so far; the loss after the last one may be missing
        self._skipped = 0
        self._repeat = repeat
        self._seed = seed
        self._report = report
        self._initial_loss: float | None = None
        self._losses: list[float] = []

    def start(self, loss: float) -> None:
        """Take in the loss before any update."""
        self._initial_loss = loss

    def add(self, loss: float) -> None:
        """Take in the loss that follows the next update."""
        step = len(self._losses)
        self._losses.append(loss)
        self._report(Point(repeat=self._repeat, step=step, lr=self.rates[step], loss=loss))

    def back_to(self, updates: int) -> None:
        """Leave out the updates after so many: they were made before it was known that the repeat had ended."""
        self.updates = updates

    def count(self, *, applied: bool) -> int:
        """Take in that an update was made, or that the loss scaler skipped it; return how many were made."""
        if applied:
            self.updates += 1
        else:
            self._skipped += 1
        return self.updates

    @property
    def progress(self) -> str:
        """How far the repeat came, in words."""
        skipped = f", {self._skipped} skipped by the loss scaler" if self._skipped else ""
        return f"{self.updates} of {len(self.rates)} updates made{skipped}"

    def trace(self, stop: Stop, why: str) -> Trace:
        """Return the record of this repeat, which ended with `stop`."""
        return Trace(
            repeat=self._repeat,
            seed=self._seed,
            initial_loss=self._initial_loss,
            lrs=self.rates[: len(self._losses)],
            losses=tuple(self._losses),
            stop=stop,
            updates=self.updates,
            why=why,
            skipped=self._skipped,
        )
