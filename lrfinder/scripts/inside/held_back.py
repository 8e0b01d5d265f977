"""Batches of the script's own loader that it doesn't train on; its own loop judges the weights at the end by them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import dataloader as loading

UPDATES = 4  # whose batches are held back, as the engine sets aside, if that leaves enough to train on:
MOST_SHARE = 5  # no more than one batch in five
DECIDED_AFTER = 2  # updates: what is drawn between the first two shows how many batches make one
MOST_AHEAD = 2  # updates whose batches a script may have drawn before they are needed
MOST_SEEN = 8  # batches whose samples may stand in the place of those that are held back


class HeldBack:
    """Holds batches back from a run that passes over its data more than once; else no loss is of data trained on.

    Which loader the script trains from, and how many batches make an update, is known after DECIDED_AFTER updates. Then
    the next batches of its sampler are held back. In the place of each of their samples, now and later, stands another
    of the same batch, or of the first batches: a pass stays as long as it was, and so does each batch. After the last
    update the loop goes on, but its weights stay, and it is given what was held back: the losses that it calls
    backward() on are then held-out losses, in the loop's own mode.

    A run that stands for a longer one trains on a few different batches, over and over: the first ones that come, again
    in the place of those that would come later.
    """

    def __init__(self, updates: int, *, wanted: bool, different: int | None = None) -> None:
        """`updates` are those of the whole run; not `wanted`: nothing is held back.

        `different` says on how many updates' batches it trains; None: on all that come.
        """
        self._updates, self._different = updates, different
        self._drawn: list[Any] = []  # the sampler of each batch since the last update
        self._ahead = 0  # batches drawn before they were needed
        self._sampler: Any = None  # of the loader that batches are held back from
        self._count = self._batches = 0  # to be held back, and those of an update
        self._kept: list[Any] = []  # the indices of each batch
        self._samples: set[Any] = set()
        self._seen: deque[tuple[Any, Any]] = deque(maxlen=MOST_SEEN)  # the sampler and the indices of each batch
        self._spare: deque[Any] = deque()  # samples of the first batches
        self._repeated: list[Sequence[Any]] = []  # the indices of the batches that are trained on over and over
        self._turn = 0  # which of them comes next
        self._pass: Any = None  # in which batches are held back
        self._served = 0
        self._weights: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._losses: list[float] = []
        self.deciding = wanted  # whether the end of an update matters
        self.judging = False  # whether the weights stay, and the loop is given what was held back
        if wanted:
            self._watch()

    @property
    def ready(self) -> bool:
        """Whether there is something to judge by."""
        return bool(self._kept) and len(self._kept) == self._count

    @property
    def fresh(self) -> bool:
        """Whether the run trains on all batches that come: it couldn't be given the same few, or needn't."""
        return not self._repeated

    def updated(self, made: int, loader: DataLoader[Any] | None) -> None:
        """Take note of the end of update `made`; `loader` gave the batch that was read last."""
        drawn, self._drawn = self._drawn, []
        self._ahead += len(drawn)
        if made == DECIDED_AFTER:
            self.deciding = False
            if drawn:
                self._decide(loader, drawn)

    def judge(self, weights: Iterable[torch.Tensor]) -> None:
        """Begin to judge: from now on `weights` stay."""
        self._weights = [(weight, weight.detach().clone()) for weight in weights]
        self.judging = bool(self._weights)

    def stay(self) -> None:
        """Put the weights back, after a step."""
        with torch.no_grad():
            for weight, kept in self._weights:
                weight.copy_(kept)

    def mean(self, loss: float) -> float | None:
        """Take the loss of an update that was not made; return their mean once all that was held back is in it.

        The first ones are of batches that the script had drawn before. Where it hadn't, the others still see each batch
        once: what was held back is given over and over. It is NaN if the script hasn't taken all of it: it remembers
        the batches of its first pass (`itertools.cycle`).
        """
        self._losses.append(loss)
        judged, first = self._count // self._batches, min(MOST_AHEAD, -(-self._ahead // self._batches))
        if len(self._losses) < first + judged:
            return None
        return sum(self._losses[first:]) / judged if self._served >= self._count else math.nan

    def _decide(self, loader: DataLoader[Any] | None, drawn: Sequence[Any]) -> None:
        """Settle what is held back: nothing, if several loaders give the batches, or one pass over them is enough."""
        sampler = None if loader is None else loader.batch_sampler
        if loader is None or sampler is None or any(other is not sampler for other in drawn):
            return
        if isinstance(loader.dataset, IterableDataset) or not getattr(loader, "in_order", True):
            return
        try:
            length = len(loader)
        except Exception:  # noqa: BLE001 - a user's sampler may have no length
            return
        batches = len(drawn)
        count = min(UPDATES, length // MOST_SHARE // batches) * batches
        if not count or (self._different is None and self._updates * batches <= length):
            return
        first = [index for other, index in self._seen if other is sampler]
        self._spare.extend(sample for index in first for sample in index)
        self._repeated = first[: (self._different or 0) * batches]
        self._ahead = max(0, self._ahead - DECIDED_AFTER * batches)
        self._sampler, self._count, self._batches = sampler, count, batches

    def _watch(self) -> None:
        kind: Any = loading._BaseDataLoaderIter
        real_next, real_index = kind.__next__, kind._next_index

        def next_batch(this: Any) -> Any:
            if self.judging and this._index_sampler is self._sampler:
                return self._batch(this)
            batch = real_next(this)
            if self.deciding:
                self._drawn.append(this._index_sampler)
            return batch

        def next_index(this: Any) -> Any:
            index = real_index(this)
            if self._sampler is None:
                self._seen.append((this._index_sampler, index))
            if self._sampler is None or this._index_sampler is not self._sampler:
                return index
            if not self.ready:
                return self._again(index) if self._keep(index, this) else index
            return self._trained_on(self._without(index))

        kind.__next__, kind._next_index = next_batch, next_index

    def _keep(self, index: Sequence[Any], iterator: Any) -> bool:
        """Hold a batch back, or nothing if one can't be recognised again, or may come from data trained on."""
        self._pass = self._pass or iterator
        if iterator is not self._pass or not all(isinstance(sample, int | str | tuple) for sample in index):
            self._sampler, self._count, self._kept, self._samples, self._repeated = None, 0, [], set(), []
            return False
        self._kept.append(index)
        self._samples.update(index)
        return True

    def _trained_on(self, index: Sequence[Any]) -> Sequence[Any]:
        """Return the indices of the batch to train on in the place of this one, none of whose samples is held back."""
        if self._different is None:
            return index
        if len(self._repeated) < self._different * self._batches:
            self._repeated.append(index)
            self._turn = 0
            return index
        return self._again(index)

    def _again(self, index: Sequence[Any]) -> Sequence[Any]:
        """Return the indices of a batch that was trained on, as many as here, in the place of one that isn't."""
        if not self._repeated:
            return self._without(index)
        batch = self._repeated[self._turn % len(self._repeated)]
        self._turn += 1
        return [batch[place % len(batch)] for place in range(len(index))]

    def _without(self, index: Sequence[Any]) -> Sequence[Any]:
        """Return the indices of a batch without what is held back."""
        if self._samples.isdisjoint(index):
            return index
        others = [sample for sample in index if sample not in self._samples]
        if not others:
            others = [sample for sample in self._spare if sample not in self._samples]
            self._spare.rotate(-len(index))
        return [
            others[place % len(others)] if sample in self._samples else sample for place, sample in enumerate(index)
        ]

    def _batch(self, iterator: Any) -> Any:
        """Return the next batch that was held back, made in this process."""
        index = self._kept[self._served % self._count]
        self._served += 1
        kinds: Any = loading._DatasetKind
        fetcher = kinds.create_fetcher(
            iterator._dataset_kind,
            iterator._dataset,
            iterator._auto_collation,
            iterator._collate_fn,
            iterator._drop_last,
        )
        return fetcher.fetch(index)
