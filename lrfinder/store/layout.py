"""Names and versions of what a run folder holds.

Format history of run.json:
    1  first version
"""

from __future__ import annotations

from pydantic import TypeAdapter

from lrfinder.records import Setup, SweepSettings, Trace

FORMAT = "lrfinder.run"
VERSION = 1
RUNS_FOLDER = "lrfinder-runs"
RUN = "run.json"
CURVE = "curve.csv"
PICTURE = "curve.png"
RECOMMENDATION = "recommendation.json"
COLUMNS = ("repeat", "step", "lr", "loss")

SETTINGS = TypeAdapter(SweepSettings)
SETUP = TypeAdapter(Setup)
TRACE = TypeAdapter(Trace)
