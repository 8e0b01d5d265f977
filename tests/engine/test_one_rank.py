"""A job of one process goes the way of several, measures the same, and leaves no process group behind."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.api.sweeping.together import together
from lrfinder.cli.process.several import leave_job
from lrfinder.engine.distributed import launcher, team
from lrfinder.engine.distributed.environment import STEP_TIMEOUT, launch_variables, launched_place, step_timeout_s
from lrfinder.errors import EnvironmentFailure, UsageError

SWEEP = {"steps": 12, "repeats": 2, "run_steps": 10, "device": "cpu"}


@pytest.fixture
def job(monkeypatch):
    """Make this process the only rank of a job: its launcher holds the store."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def begin():
        for name, value in launch_variables(0, 1, "127.0.0.1", store.port).items():
            monkeypatch.setenv(name, value)

    yield begin
    left = team.current_team()
    if left is not None:
        left.leave()


def swept(strategy="ddp"):
    """Weights, the order of the data and dropout are drawn."""
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    return lrfinder.sweep(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 3)),
        train_loader=lambda: DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=8, shuffle=True),
        loss_fn=nn.functional.cross_entropy,
        strategy=strategy,
        **SWEEP,
    )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_it_measures_what_a_process_by_itself_does(request, job, one_thread, strategy):
    if strategy == "fsdp2":
        request.getfixturevalue("fsdp_on_cpu")
    alone = swept()
    job()
    shared = swept(strategy)
    assert shared.setup.processes == 1
    assert (shared.traces, shared.runs) == (alone.traces, alone.runs)
    assert not dist.is_initialized()


@pytest.mark.parametrize("device", ["cpu", None])
def test_who_only_follows_learns_on_which_device_from_the_store(job, monkeypatch, device):
    monkeypatch.setattr(launcher, "_joins", itertools.count())
    job()
    place = launched_place()
    if device is None:
        launcher.dismiss(place, 2)
    else:
        team.join(device)
    assert launcher.wait_for_call(place) == launcher.Call(device=device, status=0 if device else 2)


def test_from_python_a_script_is_not_verified_under_torchrun(job, monkeypatch, tmp_path):
    shutil.copytree(Path(__file__).parents[1] / "data" / "run-v12-script", tmp_path / "run")
    (tmp_path / "translator.py").touch()
    monkeypatch.chdir(tmp_path)
    job()
    with pytest.raises(UsageError, match="under torchrun this function tries no script"):
        lrfinder.verify("run", steps=100)


def test_where_torch_cannot_divide_weights_it_is_said_before_anything_is_trained(job, monkeypatch):
    monkeypatch.delattr(torch.cpu.Stream, "record_event", raising=False)  # torch 2.6 has none
    job()
    with pytest.raises(UsageError, match=r"FSDP2 of torch \S+ can't divide weights on a CPU") as refused:
        swept("fsdp2")
    assert refused.value.hint == "use --strategy ddp, or a newer torch"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_the_group_is_destroyed_after_an_exception(job, error):
    def fail():
        assert dist.is_initialized()
        raise error

    job()
    with pytest.raises(type(error)):
        together(fail, device="cpu")
    assert not dist.is_initialized()


def test_the_group_is_destroyed_when_the_command_ends(job):
    job()
    assert team.join("cpu") is not None
    assert dist.is_initialized()
    leave_job(0)
    assert not dist.is_initialized()
    assert team.current_team() is None


@pytest.mark.parametrize(("error", "raised"), [(RuntimeError, EnvironmentFailure), (KeyboardInterrupt,) * 2])
def test_the_group_is_destroyed_if_the_others_do_not_come(job, monkeypatch, error, raised):
    def fail(*_, **__):
        assert dist.is_initialized()
        raise error

    job()
    monkeypatch.setattr(dist, "barrier", fail)
    with pytest.raises(raised):
        team.join("cpu")
    assert not dist.is_initialized()


def test_a_group_that_was_there_stays(job):
    job()
    dist.init_process_group("gloo")
    try:
        swept()
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_how_long_an_update_may_take(monkeypatch):
    for text, seconds in (("", 60.0), ("300", 300.0), ("0", 0.0), ("1e3", 1000.0)):
        monkeypatch.setenv(STEP_TIMEOUT, text)
        assert step_timeout_s() == seconds
    for text in ("10min", "nan", "inf", "-1"):
        monkeypatch.setenv(STEP_TIMEOUT, text)
        with pytest.raises(UsageError, match=f"^LRFINDER_STEP_TIMEOUT is '{text}', which is no number of seconds$"):
            step_timeout_s()
