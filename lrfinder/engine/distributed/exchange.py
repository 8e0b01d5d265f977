"""Losses of several processes: averaged, weighted by samples, a few at a time, while the updates go on."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from lrfinder.engine.distributed.team import Team
from lrfinder.engine.losses.evaluation import samples_in
from lrfinder.engine.losses.readback import CHUNK, MAX_DELAY_S, DelayedReadback, Pair
from lrfinder.records import Stop

MANY = 16  # losses gathered at once of short updates: engine/README.md#many


class AgreedEnd(Exception):  # noqa: N818 - no error
    """All processes end here, for the reason that rank 0 gave."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop)
        self.stop = stop


class CountedBatches(Iterator[Any]):
    """The batches of the training; `samples` are those in the last `taken` of them, which make an update."""

    def __init__(self, batches: Iterator[Any], taken: int) -> None:
        self._batches = batches
        self._sizes: deque[int] = deque(maxlen=taken)

    def __next__(self) -> Any:
        batch = next(self._batches)
        self._sizes.append(samples_in(batch))
        return batch

    @property
    def samples(self) -> int:
        return sum(self._sizes)


def weighted_mean(losses: Sequence[float], samples: Sequence[float]) -> float:
    """Return sum(n_r loss_r) / sum(n_r) over the ranks r; NaN if no rank has samples."""
    if len(set(samples)) == 1 and samples[0]:  # as mostly; exact for one process
        return math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else sum(losses)
    total = sum(samples)
    weighted = [loss * count for loss, count in zip(losses, samples, strict=True) if count]
    if not total:
        return math.nan
    return math.fsum(weighted) / total if all(map(math.isfinite, weighted)) else sum(weighted)


def _chunk_for(update_s: float) -> int:
    """Return how many losses are gathered at once if an update takes so many seconds."""
    if update_s * MANY <= MAX_DELAY_S / 2:
        return MANY
    return CHUNK if update_s * CHUNK <= MAX_DELAY_S else 1


class SharedReadback:
    """Reads losses as `DelayedReadback` does, and returns their means over all processes.

    CHUNK losses are gathered at once, and waited for when the next ones are; MANY, if updates are so short that MANY of
    them take half of MAX_DELAY_S at most. If an update takes so long that the means would come later than after
    MAX_DELAY_S, each is gathered and waited for by itself; rank 0's clock decides that, and whether the time is over,
    for all.
    """

    def __init__(
        self,
        team: Team,
        inner: DelayedReadback | None,
        *,
        time_is_over: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`inner` brings losses from a device; None: they are on the host."""
        self._team = team
        self._inner = inner
        self._time_is_over = time_is_over
        self._clock = clock
        self._put_at = clock()
        self._wanted = CHUNK  # how many losses are to be gathered at once, by this process's clock
        self._chunk = CHUNK  # the same, by rank 0's
        self._over = False
        self._samples: deque[int] = deque()  # of the losses that `inner` has
        self._waiting: list[float] = []  # three numbers a loss: itself, its samples, and what came beside
        self._gathering: tuple[Any, torch.Tensor] | None = None
        self.counts: CountedBatches | None = None  # of the batches that the losses are of

    def put(self, loss: torch.Tensor, beside: torch.Tensor | float | None) -> Sequence[Pair]:
        """Add a loss; return the means that have arrived. Raises AgreedEnd if rank 0 has said so."""
        samples = self.counts.samples if self.counts is not None else 1
        now = self._clock()
        self._wanted, self._put_at = _chunk_for(now - self._put_at), now
        if self._inner is None:
            self._waiting += (loss.item(), samples, 0.0 if beside is None else float(beside))
        else:
            self._samples.append(samples)
            self._add(self._inner.put(loss, beside))
        if self._over:
            raise AgreedEnd(Stop.OUT_OF_TIME)
        arrived: tuple[Pair, ...] = ()
        while len(self._waiting) >= 3 * self._chunk:
            arrived += self._received()
            if len(self._waiting) < 3 * self._chunk:  # there are to be more of them now
                break
            self._send(self._chunk)
            if self._chunk == 1:
                arrived += self._received()
        return arrived

    def rest(self) -> Sequence[Pair]:
        """Wait for all losses that haven't been returned, and return their means.

        After a failure only those that everybody has sent: the others' will never come.
        """
        if self._team.broken:
            there = self._gathering is not None and self._gathering[0].is_completed()
            return self._received() if there else ()
        if self._inner is not None:
            self._add(self._inner.rest())
        arrived = self._received()
        if self._waiting:
            self._send(len(self._waiting) // 3)
        return (*arrived, *self._received())

    def _add(self, pairs: Sequence[Pair]) -> None:
        for loss, beside in pairs:
            self._waiting += (loss, self._samples.popleft(), beside)

    def _send(self, count: int) -> None:
        numbers = [float(self._wanted), float(self._time_is_over()), *self._waiting[: 3 * count]]
        del self._waiting[: 3 * count]
        self._gathering = self._team.start_gather(torch.tensor(numbers, dtype=torch.float64, device="cpu"))

    def _received(self) -> tuple[Pair, ...]:
        if self._gathering is None:
            return ()
        (work, everybodys), self._gathering = self._gathering, None
        work.wait()
        rows = everybodys.tolist()
        self._chunk = int(rows[0][0])
        self._over = self._over or bool(rows[0][1])
        return tuple(
            (
                weighted_mean([row[at] for row in rows], [row[at + 1] for row in rows]),
                next((row[at + 2] for row in rows if not math.isfinite(row[at + 2])), rows[0][at + 2]),
            )
            for at in range(2, len(rows[0]), 3)
        )
