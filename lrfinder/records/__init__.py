"""The data that the floors hand to each other: frozen, plain, comparable, and stored as they are.

Rates are in the optimizer's own unit (the reference rate: the one that `optimizer(params, lr)` was given);
"decades" are log10 of rates; a "step" is one optimizer update, counted from 0.
"""

from __future__ import annotations

from lrfinder.options import (
    LOADER_TIMEOUT,
    MAX_LR,
    MIN_LR,
    MIN_RUN_STEPS,
    MOST_REPEATS,
    MOST_STEPS,
    REPEATS,
    RUN_STEPS,
    STEPS,
    Graph,
    Metric,
    Mode,
    Precision,
    Spacing,
    Stop,
    Strategy,
)
from lrfinder.records.chart import Chart
from lrfinder.records.cost import Cost
from lrfinder.records.inspection import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR, DryRun, Inspection
from lrfinder.records.measured import (
    FACTOR,
    FRESH_FACTOR,
    JUDGED,
    OptimizerFacts,
    Point,
    RunPlan,
    Setup,
    ShortRun,
    Start,
    SweepResult,
    Trace,
    losses_differ,
)
from lrfinder.records.noise import GradientNoise
from lrfinder.records.picks import Band, Fit, Pick, Status
from lrfinder.records.script import Script
from lrfinder.records.settings import SweepSettings, UpdateOptions

__all__ = [
    "BINARY_CROSS_ENTROPY",
    "CROSS_ENTROPY",
    "FACTOR",
    "FRESH_FACTOR",
    "JUDGED",
    "LOADER_TIMEOUT",
    "MAX_LR",
    "MIN_LR",
    "MIN_RUN_STEPS",
    "MOST_REPEATS",
    "MOST_STEPS",
    "REPEATS",
    "RUN_STEPS",
    "SQUARED_ERROR",
    "STEPS",
    "Band",
    "Chart",
    "Cost",
    "DryRun",
    "Fit",
    "GradientNoise",
    "Graph",
    "Inspection",
    "Metric",
    "Mode",
    "OptimizerFacts",
    "Pick",
    "Point",
    "Precision",
    "RunPlan",
    "Script",
    "Setup",
    "ShortRun",
    "Spacing",
    "Start",
    "Status",
    "Stop",
    "Strategy",
    "SweepResult",
    "SweepSettings",
    "Trace",
    "UpdateOptions",
    "losses_differ",
]
