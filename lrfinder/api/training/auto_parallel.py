"""Make short runs in several processes without being asked, if one more run at once gains more than one more thread.

Threads of one process, each with a CUDA stream of its own, would not do. torch has one generator for a device, and the
runs would draw from it in turn, so no run would be what it is by itself. And one Python would send all the kernels.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lrfinder.api.sweeping.model_file import start_seconds
from lrfinder.api.training.run_pool import RunPool
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import RunPlan, ShortRun
from lrfinder.store import Source

if TYPE_CHECKING:
    import torch

# What the runs must take here, over what this process took before its first update: its start, the imports, the model
# file. Each process takes as long again. If nothing is gained, at worst a quarter is lost, once.
WORTH = 4.0

# Bytes that torch's kernels take on a card in each process, before it has a tensor there: 300 to 600 MB are usual.
CONTEXT = 600 * 2**20

# The share of the memory now free that all processes together may take, if each needs as much as this one did.
SHARE_OF_MEMORY = 0.5


class AutoParallel:
    """Makes short runs in several processes while that is measured to be faster than one after the other.

    Call it with the runs to make and the seconds that an update takes in this process. It yields the runs that it
    makes, as they end; there may be none. The first time it tries if that is worth the start of the processes; later
    only if the first time was faster. It uses as many processes as torch has threads, or fewer if only those fit
    into the memory. If one dies, the remaining runs aren't made here. Use it as a context manager: leaving it ends
    the processes.
    """

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        threads: int,
        device: torch.device,
        folder: Path | None = None,
        memory: Callable[[torch.device], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`threads` is what torch computes with here; `memory(device)` tells for how many processes there is room.

        `folder` is as in RunPool.
        """
        self._source = source
        self._seed = seed
        self._threads = threads
        self._device = device
        self._folder = folder
        self._memory = memory or room_on
        self._clock = clock
        self._start_seconds = start_seconds()
        self._pace: float | None = None  # seconds for each update, by all processes together
        self._pool = contextlib.ExitStack()
        self._jobs: RunPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.__exit__(*error)  # type: ignore[arg-type]

    def __call__(self, plans: Sequence[RunPlan], seconds: float) -> Iterator[ShortRun]:
        """Yield the runs of `plans` that are made in other processes, as they end."""
        count = min(len(plans), self._threads, self._memory(self._device))
        updates = sum(plan.steps for plan in plans)
        if count < 2 or not self._is_faster(seconds, updates):  # noqa: PLR2004 - one more process is the same as here
            return
        if self._jobs is None:
            share = max(1, self._threads // count)
            pool = RunPool(self._source, seed=self._seed, jobs=count, threads=share, folder=self._folder)
            self._jobs = self._pool.enter_context(pool)
        began = self._clock()
        try:
            for trial in self._jobs.run(plans):
                yield trial.made
        except EnvironmentFailure:  # a process died, perhaps of memory: this one has room for a run at a time
            self._pace = float("inf")
            return
        self._pace = (self._clock() - began) / updates

    def _is_faster(self, seconds: float, updates: int) -> bool:
        if self._pace is None:
            return seconds * updates >= WORTH * self._start_seconds
        return self._pace < seconds


def room_on(device: torch.device) -> int:
    """Return for how many processes like this one there is memory, that of a CUDA device included; 0 on other devices.

    It asks the device's driver for its free memory, and torch for the most that it has used.
    """
    if device.type == "cpu":
        return room_in_memory()
    if device.type != "cuda":
        return 0
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return min(room_in_memory(), int(SHARE_OF_MEMORY * free / (CONTEXT + torch.cuda.max_memory_reserved(device))))


def room_in_memory() -> int:
    """Return for how many processes like this one there is free memory, judged by its largest size so far."""
    import psutil

    from lrfinder.engine.runtime.memory import peak_memory

    return int(SHARE_OF_MEMORY * psutil.virtual_memory().available / peak_memory())
