"""Scripts that train on a GPU; run where there is one. The reference is the script, which sets the rates by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lrfinder import load_schedule
from lrfinder.store import load_run

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
UPDATES = 200  # of the whole script
SCHEDULE = f"""
version: 1
optimizer: {{name: SGD, lr: 0.05}}
schedule: {{name: cosine, warmup: 10, steps: {UPDATES}, final: 0.001}}
"""


def done(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = [sys.executable, *map(str, command)]
    return subprocess.run(told, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


def lrfinder(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    return done(folder, "-m", "lrfinder", *command)


@pytest.mark.parametrize("options", [(), ("--amp",), ("--workers", "2"), ("--compile",)], ids=" ".join)
def test_a_sweep_reads_what_the_script_computes_at_those_rates(
    tmp_path: Path, program: Callable[[str], str], options: tuple[str, ...]
) -> None:
    program("device.py")
    how = ("--mode", "continuous", "--repeats", "1", "--steps", "40", "--min-lr", "1e-3", "--max-lr", "0.5")
    swept = lrfinder(tmp_path, "sweep", "--script", "device.py", "--out", "run", *how, "--json", "--", *options)
    assert swept.returncode in {0, 5}, swept.stderr[-4000:]
    trace = load_run(tmp_path / "run").traces[0]
    assert len(trace.losses) > 20
    rates = [*trace.lrs, *[0.0] * (UPDATES - len(trace.lrs))]
    (tmp_path / "rates.txt").write_text("\n".join(map(str, rates)))
    plain = done(tmp_path, "device.py", "--rates", "rates.txt", "--losses", "losses.txt", *options)
    assert plain.returncode == 0, plain.stderr[-4000:]
    expected = list(map(float, (tmp_path / "losses.txt").read_text().split()))
    after_each_update = expected[1 : len(trace.losses) + 1]
    assert list(trace.losses) == pytest.approx(after_each_update, rel=1e-5)


def test_short_runs_begin_alike_and_their_rate_is_found(tmp_path: Path, program: Callable[[str], str]) -> None:
    program("device.py")
    swept = lrfinder(tmp_path, "sweep", "--script", "device.py", "--out", "run", "--run-steps", 30, "--json")
    assert swept.returncode == 0, swept.stderr[-4000:]
    assert "starts of the script" in swept.stderr
    result = load_run(tmp_path / "run")
    assert len(result.runs) > 2
    assert 0.003 < json.loads(swept.stdout)["advice"]["lr"] < 3


def test_a_run_trains_at_the_rates_of_the_config_bit_for_bit(tmp_path: Path, program: Callable[[str], str]) -> None:
    program("device.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    run = lrfinder(tmp_path, "run", "--config", "schedule.yaml", "--script", "device.py", "--", "--save", "ours.pt")
    assert run.returncode == 0, run.stderr[-4000:]
    (tmp_path / "rates.txt").write_text("\n".join(map(str, load_schedule(tmp_path / "schedule.yaml").lrs())))
    plain = done(tmp_path, "device.py", "--rates", "rates.txt", "--save", "plain.pt")
    assert plain.returncode == 0, plain.stderr[-4000:]
    ours, theirs = torch.load(tmp_path / "ours.pt"), torch.load(tmp_path / "plain.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
