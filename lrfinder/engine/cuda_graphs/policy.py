"""The recorded updates of a problem's trials, one after the other, and why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lrfinder.engine.cuda_graphs.capture import GraphCapture, recorder_for
from lrfinder.engine.cuda_graphs.graphed_update import GraphedUpdate
from lrfinder.engine.cuda_graphs.trial_capture import TRIED, NotCapturable, record_update
from lrfinder.engine.data.prefetch import first_of
from lrfinder.errors import UsageError
from lrfinder.records import Graph, UpdateOptions
from lrfinder.task.problem import BuiltProblem


class CapturePolicy:
    """Records the update of each trial anew, since each has its own memory.

    `why` is the reason why the last one wasn't recorded, "" where it was, None before the first and where that isn't
    asked for.
    """

    def __init__(self, training: UpdateOptions, device: torch.device) -> None:
        self.why: str | None = None
        self._training = training
        self._device = device
        self._always = training.graph is Graph.ON

    def record(
        self, trial: BuiltProblem, batches: Iterator[Any], *, micro_batches: int
    ) -> tuple[GraphedUpdate | None, Iterator[Any]]:
        """Return the recorded update of `trial`, if there is one, and the same batches: the first are tried on.

        Raises UsageError with the reason where updates must be recorded and can't be.
        """
        if self._training.graph is Graph.OFF or (self.why and not self._always):
            return None, batches  # as the last time: the trials of a problem are alike
        try:
            recorder = self._recorder(micro_batches)
            first, batches = first_of(batches, TRIED)
            recorded = record_update(
                trial, self._training, first, device=self._device, recorder=recorder, always=self._always
            )
        except NotCapturable as reason:
            self.why = str(reason)
            if not self._always:
                return None, batches
            raise UsageError(
                f"--graph on: updates can't be recorded: {reason}", hint="`--graph auto` goes on without"
            ) from reason
        self.why = ""
        return recorded, batches

    def _recorder(self, micro_batches: int) -> GraphCapture:
        recorder = recorder_for(self._device)
        if recorder is None:
            raise NotCapturable(f"that takes CUDA, and this is on {self._device}")
        if micro_batches > 1:
            raise NotCapturable("memory ran out, so that batches are computed in parts")
        return recorder
