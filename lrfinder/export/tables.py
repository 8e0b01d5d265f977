"""f(t) as a table, for whatever has no exporter of its own."""

from __future__ import annotations

import json

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter
from lrfinder.export.optimizers import own_ratios


def csv(config: ScheduleConfig) -> Export:
    """Return a line "update,lr" for every update, every rate to the last digit.

    Further columns, if the config has them: the rate of each param group, `group_0`, ..., and the `momentum`.
    """
    ratios, rates, momentums = own_ratios(config) or (), config.lrs(), _momentums(config)
    header = ["update", "lr", *(f"group_{i}" for i in range(len(ratios))), *(["momentum"] if momentums else [])]
    columns = [range(len(rates)), rates, *([ratio * rate for rate in rates] for ratio in ratios)]
    rows = zip(*columns, *([momentums] if momentums else []), strict=True)
    text = "".join(f"{','.join(map(repr, row))}\n" for row in rows)
    return Export(text=f"{','.join(header)}\n{text}", preset=None, suffix=".csv")


def json_table(config: ScheduleConfig) -> Export:
    """Return {"unit": "update", "peak": ..., "lrs": [f(0), ..., f(T - 1)], "schedule": {...}, "optimizer": {...}}.

    Also the "momentums" of every update if the schedule moves them; the ratios of param groups are the optimizer's.
    """
    data, momentums = config.as_data(), _momentums(config)
    table = {
        "unit": "update",
        "peak": config.optimizer.lr,
        "schedule": data["schedule"],
        "optimizer": data["optimizer"],
        "lrs": config.lrs(),
        **({"momentums": momentums} if momentums else {}),
    }
    return Export(text=json.dumps(table, indent=1, allow_nan=False) + "\n", preset=None, suffix=".json")


def _momentums(config: ScheduleConfig) -> list[float]:
    """Return the momentum of every update; nothing if it isn't moved."""
    found = (config.followed.momentum(t) for t in range(config.steps))
    return [] if config.schedule.momentum(0) is None else [float(it) for it in found if it is not None]


CSV = Exporter(title="a table of every update", export=csv, groups=True, momentum=True)
JSON = Exporter(title="a table of every update, and the schedule", export=json_table, groups=True, momentum=True)
