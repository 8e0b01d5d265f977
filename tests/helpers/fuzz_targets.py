"""What reads files that may come from a stranger, each as a function of bytes that raises LrfinderError or nothing."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.config import load_schedule
from lrfinder.errors import LrfinderError, RunError
from lrfinder.store import load_run, load_source, load_unfinished, read_log

RUN = Path(__file__).parents[1] / "data" / "run-v3-auto"
NAMES = ("run.json", "curve.csv", "runs.jsonl")
CONFIGS = {
    ".yaml": "version: 1\noptimizer: {name: AdamW, lr: 0.0031}\nschedule: {name: linear, warmup: 50, steps: 1000}\n",
    ".json": '{"version": 1, "optimizer": {"name": "SGD", "lr": 0.1}, "schedule": {"name": "cosine", "steps": 10}}\n',
    ".toml": 'version = 1\n[optimizer]\nname = "SGD"\nlr = 0.1\n[schedule]\nname = "constant"\nsteps = 10\n',
}


def read_run(name: str, data: bytes) -> bool:
    """Read a run folder in which the file `name` holds `data`; return whether it was taken for valid."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        folder.mkdir()
        for other in NAMES:
            (folder / other).write_bytes(data if other == name else (RUN / other).read_bytes())
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        try:
            result = load_run(folder)
            advise(gather_evidence(result), Request(steps=100))
            load_source(folder)
            with contextlib.suppress(RunError):  # a run of an older format is read, and can't carry on
                load_unfinished(folder)
        except LrfinderError:
            return False
        finally:
            assert [path.name for path in Path(scratch).iterdir()] == ["run"]
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        return True


def read_trials(data: bytes) -> bool:
    """Read a log of trials."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "trials.jsonl"
        path.write_bytes(data)
        try:
            read_log(path)
        except LrfinderError:
            return False
        return True


def read_config(suffix: str, data: bytes) -> bool:
    """Read a schedule config."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"schedule{suffix}"
        path.write_bytes(data)
        try:
            config = load_schedule(path)
            for step in (0, 1, config.steps - 1, config.steps, 10 * config.steps):
                config.rate(step)
        except LrfinderError:
            return False
        return True


TARGETS: dict[str, tuple[Callable[[bytes], bool], bytes]] = {
    **{name: (lambda data, name=name: read_run(name, data), (RUN / name).read_bytes()) for name in NAMES},
    "trials.jsonl": (read_trials, (RUN / "runs.jsonl").read_bytes()),
    **{
        f"schedule{suffix}": (lambda data, suffix=suffix: read_config(suffix, data), text.encode())
        for suffix, text in CONFIGS.items()
    },
}
