"""A trial of several processes is what `lrfinder sweep --nproc` makes, and none of them outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import psutil
import pytest

from helpers.models import GOOD_WITH_VAL
from lrfinder.api.training.dispatch import Lost
from lrfinder.api.training.group import run_together
from lrfinder.api.training.trial import Repeat, TrialSpec
from lrfinder.records import SweepSettings
from lrfinder.store import Source, load_run

EVERY_FAULT = bool(os.environ.get("LRFINDER_EVERY_FAULT"))
FAULTS = """
import os, pathlib, signal
FAULT = pathlib.Path(__file__).parent / "fault"
_step, _calls = training_step, []
def training_step(net, batch):
    _calls.append(0)
    if len(_calls) == 9 and FAULT.exists():
        kind, rank = FAULT.read_text().split()
        (FAULT.parent / f"rank-{os.environ['RANK']}").write_text(str(os.getpid()))
        while not all((FAULT.parent / f"rank-{number}").exists() for number in (0, 1)):
            time.sleep(0.01)
        if rank == os.environ["RANK"]:
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "launcher":
                os.kill(os.getppid(), signal.SIGKILL)
            raise ValueError("mine")
    return _step(net, batch)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL + FAULTS)
    return tmp_path / "model.py"


def spec(plan, **others):
    return TrialSpec(
        source=Source(reference="model.py", device="cpu"), seed=0, plan=plan, threads=1, processes=2, **others
    )


def ranks(folder):
    return [int((folder / f"rank-{rank}").read_text()) for rank in (0, 1)]


def test_it_is_the_same_as_with_nproc(file, tmp_path, zygote):
    arguments = ("--steps", "20", "--repeats", "2", "--run-steps", "10", "--device", "cpu", "--nproc", "2")
    done = zygote.start("sweep", "model.py", "--out", "run", *arguments, cwd=tmp_path)
    assert done.wait(120) in {0, 5}, done.stderr
    swept = load_run(tmp_path / "run")
    repeat = run_together(spec(Repeat(settings=SweepSettings(steps=20, repeats=2, run_steps=10), number=1)), 2)
    assert repeat.made == swept.traces[1]
    assert [details[0].processes for event, details in repeat.events if event == "prepared"] == [2]
    assert run_together(spec(swept.runs[0].plan), 2).made == swept.runs[0]


@pytest.mark.parametrize("rank", ["0", "1"] if EVERY_FAULT else ["1"])
def test_a_rank_that_is_killed_is_lost_and_takes_the_other_with_it(file, tmp_path, rank):
    (tmp_path / "fault").write_text(f"killed {rank}")
    began = time.monotonic()
    lost = run_together(spec(Repeat(settings=SweepSettings(steps=20), number=0)), 2)
    assert isinstance(lost, Lost)
    assert f"rank {rank} of 2" in lost.why
    assert time.monotonic() - began < 30
    assert not any(map(psutil.pid_exists, ranks(tmp_path)))


@pytest.mark.skipif(not EVERY_FAULT, reason="`make test-ray` fails in more ways")
def test_an_exception_on_any_rank_is_raised_and_names_it(file, tmp_path):
    (tmp_path / "fault").write_text("raised 1")
    with pytest.raises(Exception, match="rank 1 of 2 failed first in update 8: ValueError: mine"):
        run_together(spec(Repeat(settings=SweepSettings(steps=20), number=0)), 2)
    assert not any(map(psutil.pid_exists, ranks(tmp_path)))


@pytest.mark.skipif(not EVERY_FAULT, reason="`make test-ray` fails in more ways")
def test_ranks_end_with_the_process_that_started_them(file, tmp_path):
    (tmp_path / "fault").write_text("launcher 1")
    plan = spec(Repeat(settings=SweepSettings(steps=20), number=0))
    launcher = multiprocessing.get_context("spawn").Process(target=run_together, args=(plan, 2))
    launcher.start()
    launcher.join(60)
    assert launcher.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, ranks(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, ranks(tmp_path)))
