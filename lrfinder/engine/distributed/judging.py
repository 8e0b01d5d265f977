"""Held-out data, of which each process judges its part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from torch import nn

from lrfinder.engine.distributed.exchange import weighted_mean
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.distributed.updates import without_collectives
from lrfinder.engine.runtime.divided import fsdp_modules


class JudgedByAll:
    """Makes one mean loss of those of all processes; see `losses.evaluation.Across`."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def alone(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let `model` compute losses without the other processes; with them, if each has its part of the weights."""
        return self._in_step(model) if self._team.divided else without_collectives(model)

    @contextlib.contextmanager
    def _in_step(self, model: nn.Module) -> Iterator[None]:
        watch = self._team.watch
        watch.marks += 1
        watch.busy = True
        try:
            yield
        finally:
            for module in fsdp_modules([model]):
                module.reshard()
            watch.busy = False

    def mean(self, total: float, count: int, failure: Exception | None) -> float:
        """Return the mean of all; raise `failure`, or RuntimeError if only another process has one."""
        mine = total / count if count else 0.0
        rows = self._team.gather([float(failure is not None), mine, float(count)])
        self._team.agree_on_marks()
        if failure is not None:
            raise failure
        failed = next((rank for rank, row in enumerate(rows) if row[0]), None)
        if failed is not None:
            raise RuntimeError(f"judging held-out data failed on rank {failed}")
        return weighted_mean([row[1] for row in rows], [row[2] for row in rows])
