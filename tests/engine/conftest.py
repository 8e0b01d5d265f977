"""What the engine's tests share."""

from __future__ import annotations

import pytest
import torch

from lrfinder.engine.observer import Observer
from lrfinder.records import Point, Setup, ShortRun, Trace


class Recorder(Observer):
    """An observer that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.points: list[Point] = []
        self.setups: list[Setup] = []
        self.traces: list[Trace] = []
        self.runs: list[ShortRun] = []

    def repeat_started(self, repeat: int) -> None:
        self.calls.append(f"started {repeat}")

    def prepared(self, setup: Setup) -> None:
        self.calls.append("prepared")
        self.setups.append(setup)

    def measured(self, point: Point) -> None:
        self.calls.append(f"measured {point.step}")
        self.points.append(point)

    def repeat_ended(self, trace: Trace) -> None:
        self.calls.append(f"ended {trace.repeat}")
        self.traces.append(trace)

    def run_ended(self, run: ShortRun) -> None:
        self.runs.append(run)


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    """The class, so that property tests can make one per example."""
    return Recorder


@pytest.fixture(autouse=True, scope="session")
def _one_thread(one_thread: None) -> None:
    """All models here are tiny."""


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """What a test trains must not depend on which tests ran before it."""
    torch.manual_seed(0)
