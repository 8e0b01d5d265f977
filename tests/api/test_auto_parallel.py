"""Short runs in other processes without being asked: when they are, and that they measure what one process does."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest
import torch

import lrfinder.api.training.auto_parallel as module
from lrfinder.api.sweeping import model_file
from lrfinder.api.training.auto_parallel import WORTH, AutoParallel, room_in_memory, room_on
from lrfinder.api.training.trial import Trial
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import RunPlan, ShortRun, Stop
from lrfinder.store import Source

PLANS = [RunPlan(lr=lr, steps=100) for lr in (0.1, 0.2, 0.3)]


def run_of(plan):
    return ShortRun(plan=plan, seed=0, metric="val", initial_loss=1.0, loss=0.5, stop=Stop.COMPLETED, updates=100)


class Pools:
    """Stands for RunPool: each update takes `pace` seconds of a clock of its own; `dies_at` counts runs."""

    def __init__(self, monkeypatch, *, pace=0.0, dies_at=None):
        self.made, self.now, self.pace, self.dies_at = [], 0.0, pace, dies_at
        self.ended = 0
        monkeypatch.setattr(module, "RunPool", self)
        monkeypatch.setattr(module, "start_seconds", lambda: 3.0)  # before the first update of this process

    def __call__(self, source, *, seed, jobs, threads, folder):
        self.made.append((seed, jobs, threads))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.ended += 1

    def run(self, plans):
        for index, plan in enumerate(plans):
            if index == self.dies_at:
                raise EnvironmentFailure("a process that made a short run died")
            self.now += self.pace * plan.steps
            yield Trial(made=run_of(plan))


def asked(pools, seconds, plans=PLANS, threads=4, room=9, times=1):
    given = {"seed": 5, "threads": threads, "device": torch.device("cpu")}
    with AutoParallel(None, **given, memory=lambda _: room, clock=lambda: pools.now) as spare:
        return [[run.plan for run in spare(plans, seconds)] for _ in range(times)]


@pytest.mark.parametrize(("seconds", "worth"), [(WORTH * 3 / 300, True), (0.99 * WORTH * 3 / 300, False)])
def test_the_first_time_it_must_be_worth_the_start_of_the_processes(monkeypatch, seconds, worth):
    pools = Pools(monkeypatch)
    assert asked(pools, seconds) == [PLANS if worth else []]
    assert pools.made == ([(5, 3, 1)] if worth else [])
    assert pools.ended == len(pools.made)


@pytest.mark.parametrize(("pace", "again"), [(0.9, True), (1.0, False), (1.1, False)])
def test_later_on_it_is_done_where_the_first_time_was_faster(monkeypatch, pace, again):
    pools = Pools(monkeypatch, pace=pace)
    assert asked(pools, 1.0, times=3) == [PLANS, *2 * [PLANS if again else []]]
    assert pools.made == [(5, 3, 1)]  # the same processes


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"threads": 1}, []),
        ({"room": 1}, []),
        ({"room": 0}, []),
        ({"plans": PLANS[:1]}, []),
        ({"room": 2}, [(5, 2, 2)]),
        ({"threads": 12}, [(5, 3, 4)]),
    ],
)
def test_as_many_processes_as_torch_has_threads_and_as_there_is_room_for(monkeypatch, given, made):
    pools = Pools(monkeypatch)
    asked(pools, 1.0, **given)
    assert pools.made == made


def test_where_a_process_dies_the_rest_is_left(monkeypatch):
    pools = Pools(monkeypatch, dies_at=1)
    assert asked(pools, 1.0, times=2) == [PLANS[:1], []]


def test_room_in_memory_is_half_of_what_the_system_has_left_over_the_peak_of_this_process():
    status = Path("/proc/self/status")
    if not status.exists():
        assert room_in_memory() > 0
        return
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    total = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 0 < room_in_memory() <= total / 2 / peak * 1.1


@pytest.mark.parametrize(("free", "reserved", "room"), [(80, 1, 25), (80, 39, 1), (2, 0, 1), (1, 0, 0)])
def test_a_card_must_have_room_for_the_context_and_the_tensors_of_each(monkeypatch, free, reserved, room):
    """In GiB, by hand: half of what is free over what is reserved and the 600 MiB of a context."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: reserved * 2**30)
    monkeypatch.setattr(module, "room_in_memory", lambda: 99)
    assert room_on(torch.device("cuda")) == room
    monkeypatch.setattr(module, "room_in_memory", lambda: 0)
    assert room_on(torch.device("cuda")) == room_on(torch.device("cpu")) == 0


def test_on_other_devices_nothing_is_known():
    assert room_on(torch.device("mps")) == 0


MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

INPUTS = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(INPUTS, INPUTS.sum(1, keepdim=True))

def model():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

train_loader = DataLoader(DATA, batch_size=16, shuffle=True)
val_loader = DataLoader(DATA, batch_size=64)
loss_fn = nn.functional.mse_loss

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr)
"""


# What a model file may do, and what a user's script may be: one without `if __name__ == "__main__":`.
LEAVES = """
import os
os.chdir(os.path.dirname(os.path.abspath(__file__)))
"""
SCRIPT = """
with open("ran_again", "w"):
    pass
"""


def test_the_start_of_a_process_ends_where_its_first_model_file_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "_start_s", None)
    (tmp_path / "model.py").write_text(MODEL)
    source = Source(reference=str(tmp_path / "model.py"), device="cpu")
    before = time.process_time()
    model_file.load_source_problem(source, seed=0)
    after = time.process_time()
    while time.process_time() < after + 0.05:  # a sweep, say
        pass
    model_file.load_source_problem(source, seed=0)
    assert before < model_file.start_seconds() <= after


def test_real_processes_measure_what_this_one_does_and_run_no_script_again(tmp_path, monkeypatch):
    """With a model file that goes to another folder, while its own name and the run's start in the one before."""
    import lrfinder

    (tmp_path / "there").mkdir()
    file, script = Path("there", "model.py"), tmp_path / "script.py"
    monkeypatch.chdir(tmp_path)
    file.write_text(MODEL + LEAVES)
    script.write_text(SCRIPT)
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    threads = torch.get_num_threads()
    monkeypatch.setattr(module, "WORTH", 0.0)
    monkeypatch.setattr(module, "room_in_memory", lambda: 2)
    started = []

    class Noted(module.RunPool):
        def __init__(self, *arguments, **named):
            started.append(named["jobs"])
            super().__init__(*arguments, **named)

    monkeypatch.setattr(module, "RunPool", Noted)
    seen = {}
    try:
        torch.set_num_threads(2)
        for jobs in (None, 1):
            out = f"run{jobs}"
            lrfinder.sweep(file, steps=30, repeats=1, run_steps=20, device="cpu", out=out, clip_norm=1.0)
            said = lrfinder.verify(out, steps=60, jobs=jobs)
            assert Path.cwd() == tmp_path
            seen[jobs] = sorted((run.plan.lr, run.plan.steps, run.loss) for run in said.trials)
    finally:
        torch.set_num_threads(threads)
    assert started == [2]
    assert not list(tmp_path.rglob("ran_again"))
    assert sys.modules["__main__"] is main
    assert [run[:2] for run in seen[None]] == [run[:2] for run in seen[1]]
    assert [run[2] for run in seen[None]] == pytest.approx([run[2] for run in seen[1]], rel=1e-5)
