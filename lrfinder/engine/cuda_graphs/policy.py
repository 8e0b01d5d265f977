"""Whether the updates of a problem's trials are captured, and the reason if they aren't."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from lrfinder.engine.cuda_graphs.capture import GraphCapture, capture_for
from lrfinder.engine.cuda_graphs.graphed_update import GraphedUpdate
from lrfinder.engine.cuda_graphs.trial_capture import TRIED, NotCapturable, capture_update
from lrfinder.engine.data.prefetch import first_of
from lrfinder.errors import UsageError
from lrfinder.records import Graph, UpdateOptions
from lrfinder.task.problem import BuiltProblem


class CapturePolicy:
    """Captures the update of each trial again, since each has its own memory.

    `why` is the reason why the last one wasn't captured: "" if it was, None before the first.
    """

    def __init__(self, training: UpdateOptions, device: torch.device) -> None:
        self.why: str | None = None
        self._training = training
        self._device = device
        self._always = training.graph is Graph.ON

    def capture(
        self, trial: BuiltProblem, batches: Iterator[Any], *, micro_batches: int
    ) -> tuple[GraphedUpdate | None, Iterator[Any]]:
        """Return the captured update of `trial`, or None, and the same batches: the first ones are used to try it.

        Raises UsageError with the reason if updates must be captured and can't be.
        """
        if self.why and not self._always:
            return None, batches  # as the last time: the trials of a problem are alike
        try:
            capture = self._capture_for_trial(micro_batches)
            first, batches = first_of(batches, TRIED)
            captured = capture_update(
                trial, self._training, first, device=self._device, capture=capture, always=self._always
            )
        except NotCapturable as reason:
            self.why = str(reason)
            if not self._always:
                return None, batches
            raise UsageError(
                f"--graph on: updates can't be captured: {reason}", hint="`--graph auto` goes on without"
            ) from reason
        self.why = ""
        return captured, batches

    def _capture_for_trial(self, micro_batches: int) -> GraphCapture:
        capture = capture_for(self._device)
        if capture is None:
            raise NotCapturable(f"that takes CUDA, and this is on {self._device}")
        if micro_batches > 1:
            raise NotCapturable("memory ran out, so that batches are computed in parts")
        return capture
