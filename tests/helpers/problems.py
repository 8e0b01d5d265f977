"""What the engine's tests train, and an observer that keeps what it was called with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lrfinder.engine.observer import Observer
from lrfinder.records import Point, RunPlan, Setup, ShortRun, Trace
from lrfinder.task.problem import Problem

CPU = torch.device("cpu")


def sgd(params: Any, lr: float) -> torch.optim.Optimizer:
    """Build plain SGD."""
    return torch.optim.SGD(params, lr=lr)


def regression(**changes: Any) -> Problem:
    """Return a linear regression from three inputs by SGD; `train_loader` must be given, anything else may be."""
    given = {"name": "p", "model": lambda: nn.Linear(3, 1), "loss_fn": nn.functional.mse_loss, "optimizer": sgd}
    return Problem(**(given | changes))


class Recorder(Observer):
    """An observer that keeps what it was called with, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.points: list[Point] = []
        self.setups: list[Setup] = []
        self.traces: list[Trace] = []
        self.runs: list[ShortRun] = []
        self.begun_and_ended: list[RunPlan | ShortRun] = []
        self.updates: list[tuple[RunPlan, int]] = []
        self.losses: list[float] = []  # of the last run

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

    def run_started(self, plan: RunPlan) -> None:
        self.begun_and_ended.append(plan)
        self.losses.clear()

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        self.updates.append((plan, updates))
        self.losses.append(loss)

    def run_ended(self, run: ShortRun) -> None:
        self.begun_and_ended.append(run)
        self.runs.append(run)
