"""Two optional parts of the engine: CUDA graphs, and several short runs in one batched computation.

Each is a folder that only this file imports, in the call that needs it. To take one out, delete its folder. Without
`cuda_graphs` the option for it is refused; without `vectorized` short runs are made one by one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from lrfinder.engine.update.updater import CapturedUpdate
from lrfinder.errors import UsageError
from lrfinder.records import Graph, RunPlan, ShortRun, UpdateOptions
from lrfinder.task.problem import BuiltProblem

if TYPE_CHECKING:
    from lrfinder.engine.short_runs import ShortRuns


class GraphPolicy(Protocol):
    """Captures the update of each trial of a problem."""

    why: str | None  # why the last one wasn't captured; "" if it was, None before the first

    def capture(
        self, trial: BuiltProblem, batches: Iterator[Any], *, micro_batches: int
    ) -> tuple[CapturedUpdate | None, Iterator[Any]]:
        """Return the captured update of `trial`, or None, and the same batches.

        Raises UsageError with the reason if updates must be captured and can't be.
        """


class BatchedRuns(Protocol):
    """Makes several short runs at once."""

    def run(self, first: ShortRun, losses: Sequence[float], plans: Sequence[RunPlan]) -> list[ShortRun]:
        """Return the runs of `plans`; an empty list if they can't be made at once, or that is slower.

        `first` was made by itself with the training losses `losses`. The runs that are made at once must agree with it.
        """


def graph_capture(training: UpdateOptions, device: torch.device) -> GraphPolicy | None:
    """Return what captures updates; None if that isn't asked for. Raises UsageError if it isn't installed."""
    if training.graph is Graph.OFF:
        return None
    if not _is_installed("cuda_graphs"):
        raise UsageError("CUDA graphs are not part of this installation", hint="leave --graph at off")
    from lrfinder.engine.cuda_graphs.policy import CapturePolicy

    return CapturePolicy(training, device)


def batched_runs(runs: ShortRuns) -> BatchedRuns | None:
    """Return what makes several of `runs` at once; None if that isn't part of this installation."""
    if not _is_installed("vectorized"):
        return None
    from lrfinder.engine.vectorized.runs import VectorizedRuns

    return VectorizedRuns(runs)


def _is_installed(room: str) -> bool:
    return importlib.util.find_spec(f"lrfinder.engine.{room}") is not None
