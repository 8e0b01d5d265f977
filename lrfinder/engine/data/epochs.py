"""Batches without end, from whatever the user trains on."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from lrfinder.engine.data.fetch import NO_MORE, Fetch
from lrfinder.engine.runtime.workers import end_workers
from lrfinder.errors import ModelFileError, user_code


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
