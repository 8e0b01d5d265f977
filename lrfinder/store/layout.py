"""Names and versions of what a run folder holds.

Format history of run.json:
    1  first version
    2  `source` for `reference`, with the options; settings have `mode` auto and restart, and `run_steps`
    3  `source` has `training` and `loader_timeout`; settings have `cache_batches`, and `metric` probe and val; the
       setup has `cached_batches`; repeats and short runs have `skipped`, `micro_batches` and `note`
    4  `source.training` and the setup have `graph`
    5  `short_sweeps`, if there are any, as `repeats`; their points are in short-curve.csv
    6  `source.start_from`, and the setup has `start`: the checkpoint from which training begins; `source.script`, if a
       training script was swept; the setup has `first_batch`
    7  the setup has `processes`, `batch_per_process` and `sharding`: several processes trained together
    8  the setup has `doubt`: why the loss may say little of what is learned, and its `optimizer` has `own_lr`;
       `source.training` and the setup have `strategy`
    9  `source.script` has `processes`: several, in one training
    10 the setup has `sizes`: of the numbers in the first batch
    11 repeats and short runs have `doubt`: why their losses may say little, as they have shown
    12 `source.script` has `scale_others`: all optimizers of a script were swept together

A new version needs a line here, a step in `migrations.py`, and a run folder in tests/data.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from lrfinder.records import Setup, ShortRun, SweepSettings, Trace
from lrfinder.store.source import Source

FORMAT = "lrfinder.run"
VERSION = 12
RUNS_FOLDER = "lrfinder-runs"
RUN = "run.json"
CURVE = "curve.csv"
SHORT_CURVE = "short-curve.csv"  # of the short sweeps beside a long one
SHORT_RUNS = "runs.jsonl"  # one short run of the sweep a line
TRIALS = "trials.jsonl"  # the same, of `verify`
PICTURE = "curve.png"
RECOMMENDATION = "recommendation.json"
VERIFICATION = "verification.json"
PAGE = "report.html"
SCRIPT_LOG = "script.log"  # what the script printed, all of its runs
COLUMNS = ("repeat", "step", "lr", "loss")

CONFIG = "schedule.yaml"
MOST_UPDATES = 10**12  # of one repeat or run, more than any process makes: a file from elsewhere may say anything

SETTINGS = TypeAdapter(SweepSettings)
SETUP = TypeAdapter(Setup)
TRACE = TypeAdapter(Trace)
SHORT_RUN = TypeAdapter(ShortRun)
SOURCE = TypeAdapter(Source)
