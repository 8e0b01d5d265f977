"""Endless batches from any loader, with a time limit for each, and one error if a worker died."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from lrfinder.engine.runtime.failures import dead_worker, silent_worker
from lrfinder.engine.runtime.timeout import CallTimeout, TimedOut
from lrfinder.engine.runtime.workers import end_workers, guard_workers
from lrfinder.errors import EnvironmentFailure, ModelFileError, add_location, user_code

FIRST = 5.0  # times the limit, for the first batch of a pass: engine/README.md#first


NO_MORE = object()  # instead of a batch: there is none any more


class Fetch:
    """A context for getting batches of the loader called `name`, each within `seconds` (0: no limit).

    In the main thread the limit holds for every iterable. In other threads it holds only for a DataLoader with workers,
    by its own `timeout`. `count` is the number of batches so far, `longest_pass` that of the longest pass. `look` is
    called with the very first batch.
    """

    def __init__(self, name: str, seconds: float, look: Callable[[Any], None] = lambda _: None) -> None:
        self.count = 0
        self._look = look
        self._began, self._longest = 0, 0  # the count when the pass began, and the longest of those before
        self._name = name
        self._seconds = seconds
        self._timer = CallTimeout()

    def __enter__(self) -> Self:
        if self._seconds:
            self._timer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.__exit__(kind, error, trace)

    @property
    def longest_pass(self) -> int:
        """The most batches that a pass gave."""
        return max(self._longest, self.count - self._began)

    def start(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Return an iterator over `loader`. Raises EnvironmentFailure if that takes too long."""
        self._longest, self._began = self.longest_pass, self.count
        with user_code(f"starting {self._name}"), self._own_timeout(loader):
            # Lists and tuples don't wait, and a timer takes longer than their next item.
            self._waits = type(loader) not in {list, tuple}
            running = getattr(loader, "_iterator", None)  # a DataLoader's persistent workers
            try:
                iterator: Iterator[Any] = self._timer.within(FIRST * self._seconds, iter, loader)
            except TimedOut:
                raise self._overdue(FIRST * self._seconds, running) from None
            if iterator is not running:
                guard_workers(iterator)
            return iterator

    def next(self, iterator: Iterator[Any], *, first: bool) -> Any:
        """Return the next batch, or NO_MORE; count it. `first`: the first of a pass, which may take longer.

        Raises EnvironmentFailure, with the number of the batch, if it takes too long or a worker has died.
        """
        seconds = FIRST * self._seconds if first else self._seconds
        try:
            waits = self._waits
            batch = self._timer.within(seconds, next, iterator, NO_MORE) if waits else next(iterator, NO_MORE)
        except TimedOut:
            raise self._overdue(seconds, iterator) from None
        except BaseException as error:
            add_location(error, f"getting batch {self.count} of {self._name}")
            failure = dead_worker(error, self.count, getattr(iterator, "_workers", ()))
            if failure is None:
                raise
            raise failure from error
        if batch is not NO_MORE:
            if first and not self.count:
                self._look(batch)
            self.count += 1
        return batch

    def _overdue(self, seconds: float, iterator: object) -> EnvironmentFailure:
        return silent_worker(self.count, getattr(iterator, "_workers", ())) or EnvironmentFailure(
            f"batch {self.count} of {self._name} took longer than {seconds:g} s",
            hint="if batches are that slow, raise --loader-timeout (0 waits forever); else look for a lock, a "
            "network or a full pipe in the data set: with num_workers=0, Ctrl-C shows the line that waits",
        )

    @contextlib.contextmanager
    def _own_timeout(self, loader: Any) -> Iterator[None]:
        """Give a DataLoader the time limit if there is no timer; its `timeout` is put back."""
        if self._timer.works or not self._seconds or getattr(loader, "timeout", None) != 0 or not _has_workers(loader):
            yield
            return
        loader.timeout = FIRST * self._seconds  # one limit for all its batches
        try:
            yield
        finally:
            loader.timeout = 0


def _has_workers(loader: Any) -> bool:
    workers = getattr(loader, "num_workers", None)
    return isinstance(workers, int) and workers > 0


def endless(loader: Iterable[Any], *, first_epoch: int, where: str, fetch: Fetch) -> Generator[Any, None, None]:
    """Yield the batches of `loader`. Start it again each time it ends; end if it can't be started again.

    Before each pass `set_epoch(epoch)` of the loader and its samplers is called, if they have it, with `first_epoch`
    and the numbers after it. `len()` is never called. Close the generator, so that worker processes end at once.

    Raises ModelFileError if the very first pass (`first_epoch` 0) gives no batch, EnvironmentFailure if a batch takes
    too long or a worker dies.
    """
    kept = getattr(loader, "_iterator", None)  # a DataLoader's persistent workers, if they run already
    iterator = None
    try:
        with fetch as source:
            for epoch in itertools.count(first_epoch):
                before = source.count
                with user_code("starting train_loader"):
                    _set_epoch(loader, epoch)
                iterator = source.start(loader)
                while (batch := source.next(iterator, first=source.count == before)) is not NO_MORE:
                    yield batch
                if source.count == 0 and first_epoch == 0:
                    raise ModelFileError(f"{where}: train_loader gave no batch", hint=_why_none(loader))
                if source.count == before:
                    return
    finally:
        if iterator is not kept:
            end_workers(iterator)


def _why_none(loader: Any) -> str:
    if isinstance(loader, Iterator):
        return (
            "it is an iterator, which ends once and for all, perhaps in an earlier pass: give a function that returns "
            "a new one"
        )
    return "is the data set empty, or drop_last=True with fewer samples than a batch?"


def _set_epoch(loader: Any, epoch: int) -> None:
    for part in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None), loader):
        set_epoch = getattr(part, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
