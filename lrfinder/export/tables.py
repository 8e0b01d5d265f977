"""f(t) as a table, for whatever has no exporter of its own."""

from __future__ import annotations

import json

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter


def csv(config: ScheduleConfig) -> Export:
    """Return a line "update,lr" for every update, every rate to the last digit."""
    rows = (f"{t},{rate!r}\n" for t, rate in enumerate(config.lrs()))
    return Export(text="update,lr\n" + "".join(rows), preset=None, suffix=".csv")


def json_table(config: ScheduleConfig) -> Export:
    """Return {"unit": "update", "peak": ..., "lrs": [f(0), ..., f(T - 1)], "schedule": {...}}."""
    data = {
        "unit": "update",
        "peak": config.optimizer.lr,
        "schedule": config.as_data()["schedule"],
        "lrs": config.lrs(),
    }
    return Export(text=json.dumps(data, indent=1, allow_nan=False) + "\n", preset=None, suffix=".json")


CSV = Exporter(title="a table of every update", export=csv)
JSON = Exporter(title="a table of every update, and the schedule", export=json_table)
