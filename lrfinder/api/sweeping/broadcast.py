"""Several observers of one sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from lrfinder.engine.observer import EVENTS, Observer
from lrfinder.records import Inspection, Setup


class Broadcast(Observer):
    """Forwards every event to each observer, in order, and keeps the setup; `setup` is known if a sweep is resumed."""

    def __init__(self, observers: Sequence[Observer], *, setup: Setup | None = None) -> None:
        self.setup = setup
        self._prepared = self._inspected = False
        for event in EVENTS:
            # Bound once: an update with one observer calls that observer's own method.
            setattr(self, event, _call_all([getattr(observer, event) for observer in observers]))
        self._forward_setup = self.prepared
        self.prepared = self._keep_setup  # type: ignore[method-assign]
        self._forward_inspection = self.inspected
        self.inspected = self._first_inspection  # type: ignore[method-assign]
        self._forward_judged = self.judged
        self.judged = self._keep_judged  # type: ignore[method-assign]

    def _keep_setup(self, setup: Setup) -> None:
        """Keep the first report and forward it; the others say the same."""
        if not self._prepared:
            self._prepared = True
            if self.setup is not None:  # this process may begin on another batch
                known = self.setup
                setup = dataclasses.replace(setup, first_batch=known.first_batch, sizes=known.sizes)
            self.setup = setup
            self._forward_setup(setup)

    def _first_inspection(self, inspection: Inspection) -> None:
        if not self._inspected:
            self._inspected = True
            self._forward_inspection(inspection)

    def _keep_judged(self, how: str) -> None:
        if self.setup is not None:
            self.setup = dataclasses.replace(self.setup, judged=how)
        self._forward_judged(how)


def _call_all(methods: Sequence[Callable[..., None]]) -> Callable[..., None]:
    if len(methods) == 1:
        return methods[0]

    def call(*event: Any) -> None:
        for method in methods:
            method(*event)

    return call
