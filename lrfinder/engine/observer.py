"""What a sweep tells whoever listens, while it runs."""

from __future__ import annotations

from typing import Protocol

from lrfinder.records import Point, Setup, Trace


class Observer(Protocol):
    """Called by the sweep's own thread, never cut short by Ctrl-C; an exception raised here ends the sweep."""

    def repeat_started(self, repeat: int) -> None:
        """Repeat number `repeat` begins, counted from 0; nothing has been built for it yet."""

    def prepared(self, setup: Setup) -> None:
        """Take in what is being swept; once, after the first loss of the first repeat, before its first update."""

    def measured(self, point: Point) -> None:
        """Take in one measurement, right after it was made."""

    def repeat_ended(self, trace: Trace) -> None:
        """Take in a whole repeat, however it ended, before the user's objects are restored."""
