"""The run folder: what a sweep measured, on disk as it is measured, and read back by later commands.

    run.json              settings, setup, seeds, how each repeat ended; replaced atomically
    curve.csv             repeat,step,lr,loss; one line per update, written ten times a second, synced once
    short-curve.csv       the same, of the short sweeps beside a long one
    runs.jsonl            one short run of the sweep a line, synced
    trials.jsonl          the same, of `verify`
    curve.png             the picture
    recommendation.json   the last result of `recommend`
    verification.json     the last result of `verify`
    schedule.yaml         the schedule config that was recommended, if one was planned
    report.html           the page of `report`
    script.log            the output of a training script, if one was swept
    cost.json             updates, seconds and memory of the sweep
    gradient-noise.json   the gradients that `verify --critical-batch` looked at

A killed run leaves a complete run.json and a curve.csv whose last line may be torn: both are read, and the sweep can
go on from there (`load_unfinished`, `RunFolder.resume`).
"""

from lrfinder.store.answers import read_answer
from lrfinder.store.cost_file import COST, read_cost, write_cost
from lrfinder.store.curve_file import is_written
from lrfinder.store.folder import RunFolder
from lrfinder.store.layout import CONFIG, PAGE, PICTURE, RECOMMENDATION, RUN, SCRIPT_LOG, TRIALS, VERIFICATION
from lrfinder.store.load import all_runs, config_path, latest_run, load_run, load_source, model_digest
from lrfinder.store.noise_file import NOISE, read_noise, write_noise
from lrfinder.store.run_log import RunLog, read_log
from lrfinder.store.source import Source
from lrfinder.store.unfinished import ResumableRun, load_unfinished

__all__ = [
    "CONFIG",
    "COST",
    "NOISE",
    "PAGE",
    "PICTURE",
    "RECOMMENDATION",
    "RUN",
    "SCRIPT_LOG",
    "TRIALS",
    "VERIFICATION",
    "ResumableRun",
    "RunFolder",
    "RunLog",
    "Source",
    "all_runs",
    "config_path",
    "is_written",
    "latest_run",
    "load_run",
    "load_source",
    "load_unfinished",
    "model_digest",
    "read_answer",
    "read_cost",
    "read_log",
    "read_noise",
    "write_cost",
    "write_noise",
]
