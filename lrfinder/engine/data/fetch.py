"""Batches without end from whatever the user trains on, each within a time, with one error for a worker that died."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from lrfinder.engine.runtime.failures import dead_worker
from lrfinder.engine.runtime.timeout import CallTimeout, TimedOut
from lrfinder.engine.runtime.workers import end_workers, guard_workers
from lrfinder.errors import EnvironmentFailure, ModelFileError, add_location, user_code

# The first batch of a pass may take so many times longer: workers start, import the user's packages, open the files,
# and fill a shuffle buffer.
FIRST = 5.0


class NoMore:
    """What no loader yields."""


NO_MORE = NoMore()


class Fetch:
    """A context in which batches of the loader called `name` are got, each within `seconds` (0: in any time).

    In the main thread whatever iterable is waited for is given up on; in another one only a DataLoader with workers,
    by its own `timeout`. `count` is the number of batches that have come.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self.count = 0
        self._name = name
        self._seconds = seconds
        self._alarm = CallTimeout()

    def __enter__(self) -> Self:
        if self._seconds:
            self._alarm.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alarm.__exit__(kind, error, trace)

    def start(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Return an iterator over `loader`; raises EnvironmentFailure where that takes too long."""
        with user_code(f"starting {self._name}"), self._own_timeout(loader):
            # What lists and tuples hold is there: setting a timer takes longer than their next item.
            self._waits = type(loader) not in {list, tuple}
            running = getattr(loader, "_iterator", None)  # a DataLoader's persistent workers
            try:
                iterator: Iterator[Any] = self._alarm.within(FIRST * self._seconds, iter, loader)
            except TimedOut:
                raise self._overdue(FIRST * self._seconds) from None
            if iterator is not running:
                guard_workers(iterator)
            return iterator

    def next(self, iterator: Iterator[Any], *, first: bool) -> Any:
        """Return the next batch, or NO_MORE; `first`: of a pass, which may take longer.

        Raises EnvironmentFailure, with the number of the batch, where it takes too long or a worker has died.
        """
        seconds = FIRST * self._seconds if first else self._seconds
        try:
            waits = self._waits
            batch = self._alarm.within(seconds, next, iterator, NO_MORE) if waits else next(iterator, NO_MORE)
        except TimedOut:
            raise self._overdue(seconds) from None
        except Exception as error:
            add_location(error, f"getting batch {self.count} of {self._name}")
            failure = dead_worker(error, self.count, getattr(iterator, "_workers", ()))
            if failure is None:
                raise
            raise failure from error
        if batch is not NO_MORE:
            self.count += 1
        return batch

    def _overdue(self, seconds: float) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"batch {self.count} of {self._name} took longer than {seconds:g} s",
            hint="where batches are that slow, raise --loader-timeout (0 waits forever); else look for a lock, a "
            "network or a full pipe in the data set: with num_workers=0, Ctrl-C shows the line that waits",
        )

    @contextlib.contextmanager
    def _own_timeout(self, loader: Any) -> Iterator[None]:
        """Have a DataLoader's iterator take over the time limit where no timer can; its `timeout` is put back."""
        if self._alarm.works or not self._seconds or getattr(loader, "timeout", None) != 0 or not _has_workers(loader):
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
    """Yield the batches of `loader`, starting it again each time it ends; end where it can't be started again.

    `set_epoch(epoch)` of the loader and its samplers is called before each pass, from `first_epoch` on, where they
    have it. Nobody's length is asked. Close the generator, so that worker processes end at once. `fetch` says how long
    a batch may take.

    Raises ModelFileError where the very first pass (`first_epoch` 0) gives nothing, EnvironmentFailure where a batch
    takes too long or a worker dies.
    """
    kept = getattr(loader, "_iterator", None)  # a DataLoader's persistent workers, where they run already
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
