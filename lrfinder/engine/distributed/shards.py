"""Each process its own part of the data."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from lrfinder.engine.distributed.team import Team
from lrfinder.errors import ModelFileError, UsageError
from lrfinder.task.loader import batches_per_epoch

SAMPLES = "each process has a part of the samples of a pass (DistributedSampler)"
OWN = "the loader divides the samples itself (DistributedSampler)"
BATCHES = "each process reads all batches and trains on one in {size}: the loader has no plain sampler to divide"


class EveryNth:
    """Of every `size` batches of `loader` that with the number `rank`; what is left at the end of a pass is left out.

    So all processes get as many if all read the same. Attributes are those of the loader.
    """

    def __init__(self, loader: Any, rank: int, size: int) -> None:
        self._loader, self._rank, self._size = loader, rank, size

    def __iter__(self) -> Iterator[Any]:
        return _Nth(iter(self._loader), self._rank, self._size)

    def __len__(self) -> int:
        return len(self._loader) // self._size

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of Python's own protocols, and copies that are not filled yet
            raise AttributeError(name)
        return getattr(self._loader, name)


class _Nth(Iterator[Any]):
    """One pass; its worker processes, if it has any, are found as those of the loader's own iterator are."""

    def __init__(self, batches: Iterator[Any], rank: int, size: int) -> None:
        self._batches, self._rank, self._size = batches, rank, size

    def __next__(self) -> Any:
        group = list(itertools.islice(self._batches, self._size))
        if len(group) < self._size:
            raise StopIteration
        return group[self._rank]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class FirstOfEachPass(EveryNth):
    """The first `count` batches of each pass: another process has no more."""

    def __init__(self, loader: Any, count: int) -> None:
        super().__init__(loader, 0, 1)
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(super().__iter__(), self._count)

    def __len__(self) -> int:
        return self._count


def agreed_batches(batches: Generator[Any, None, None], team: Team, *, ahead: int) -> Generator[Any, None, None]:
    """Yield `batches`, which may end for good, until one process has no more.

    They are read `ahead` at a time, and then it is agreed how many everybody has.
    """
    try:
        while True:
            read = list(itertools.islice(batches, ahead))
            least = min(int(row[0]) for row in team.gather([len(read)]))
            yield from read[:least]
            if least < ahead:
                return
    finally:
        batches.close()


def shard(loader: Any, team: Team, *, seed: int, where: str) -> tuple[Any, str]:
    """Return what gives this process its part of `loader`, and in words how.

    A DataLoader with torch's own random or sequential sampler gets a DistributedSampler with `seed`; one that has a
    DistributedSampler already is kept; of all else each process takes every `size`th batch. All have as many batches in
    a pass. Raises ModelFileError for a loader that is an iterator, UsageError for a sampler of other processes.
    """
    if isinstance(loader, Iterator):
        raise ModelFileError(
            f"{where}: train_loader is an iterator, which has only one start: processes can't agree on its end",
            hint="give a function that returns a new iterable: `def train_loader(): ...`",
        )
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, DistributedSampler):
        if (sampler.num_replicas, sampler.rank) != (team.size, team.rank):
            raise UsageError(
                f"{where}: the loader's DistributedSampler is for rank {sampler.rank} of {sampler.num_replicas}, and "
                f"this is rank {team.rank} of {team.size}"
            )
        return _as_long_as_all(loader, team), OWN
    if team.size == 1:
        return loader, ""
    if _divisible(loader):
        return _with_distributed_sampler(loader, team, seed), SAMPLES
    return _as_long_as_all(EveryNth(loader, team.rank, team.size), team), BATCHES.format(size=team.size)


def may_end(loader: Iterable[Any]) -> bool:
    """Return whether `loader` may give no batch when it is started again, as one that isn't made of a data set may."""
    inner = getattr(loader, "_loader", loader)
    plain = isinstance(inner, DataLoader) and not isinstance(inner.dataset, IterableDataset)
    return not plain and not isinstance(inner, list | tuple)


def _divisible(loader: Any) -> bool:
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    sampler = loader.sampler
    if type(sampler) is RandomSampler:
        plain = not sampler.replacement and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]
    else:
        plain = type(sampler) is SequentialSampler
    return plain and type(loader.batch_sampler) in {BatchSampler, type(None)}


def _with_distributed_sampler(loader: DataLoader[Any], team: Team, seed: int) -> Any:
    """Return a copy of `loader` whose sampler is distributed: a DataLoader takes no other once it is made."""
    sampler: Sampler[int] = DistributedSampler(
        loader.dataset,
        num_replicas=team.size,
        rank=team.rank,
        shuffle=type(loader.sampler) is RandomSampler,
        seed=seed,
        drop_last=bool(loader.drop_last),
    )
    divided = copy.copy(loader)
    parts: dict[str, Any] = {"sampler": sampler, "_iterator": None}
    if loader.batch_sampler is not None:
        parts["batch_sampler"] = BatchSampler(sampler, loader.batch_size or 1, loader.drop_last)
    vars(divided).update(parts)
    return divided


def _as_long_as_all(loader: Any, team: Team) -> Any:
    """Return `loader`, or the beginning of each of its passes if another process has fewer batches."""
    own = batches_per_epoch(loader)
    lengths = [int(row[0]) for row in team.gather([-1 if own is None else own])]
    least = min(lengths)
    return loader if least < 0 or own == least else FirstOfEachPass(loader, least)
