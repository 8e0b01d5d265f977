"""The norms that the scheduler records, against torch's own functions in real training loops."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from helpers.processes import environment
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.config.refine import refine
from lrfinder.errors import EnvironmentFailure, UsageError
from lrfinder.gradient_norms.log import read_norms
from lrfinder.gradient_norms.recorder import CHUNK
from lrfinder.scheduler import ConfiguredScheduler
from lrfinder.schedules import Constant


class Run:
    """A small net, its optimizer and a recording scheduler; `norms` is what torch says of each update's gradient."""

    def __init__(self, path: Path, steps: int = 12, **optimizer: Any) -> None:
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0, **optimizer)
        config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.05), schedule=Constant(steps=steps))
        self.scheduler: ConfiguredScheduler = config.scheduler(self.optimizer, record=path)
        self.config = config
        self.norms: list[tuple[float, float]] = []

    def loss(self) -> torch.Tensor:
        x = torch.randn(16, 4)
        return (self.model(x) - x.sum(1, keepdim=True)).square().mean()

    def backward(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()

    def note(self) -> None:
        flat = torch.cat([parameter.grad.flatten() for parameter in self.model.parameters()])
        self.norms.append((flat.abs().sum().item(), flat.square().sum().sqrt().item()))

    def step(self) -> None:
        self.optimizer.step()
        self.scheduler.step()

    def recorded(self) -> list[tuple[float, float]]:
        self.scheduler.norms.flush()
        log = read_norms(self.scheduler.norms.path)
        return list(zip(log.l1, log.l2, strict=True))


def test_a_plain_loop(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    for _ in range(12):
        run.backward()
        run.note()
        run.step()
    assert run.recorded() == [pytest.approx(norms, rel=1e-5) for norms in run.norms]


def test_observed_before_clipping(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    for _ in range(5):
        run.backward()
        run.note()
        run.scheduler.norms.observe()
        nn.utils.clip_grad_norm_(run.model.parameters(), 1e-3)
        run.step()
    assert run.recorded() == [pytest.approx(norms, rel=1e-5) for norms in run.norms]


@pytest.mark.parametrize("fused", [False, True])
def test_under_a_grad_scaler_they_are_those_of_the_unscaled_gradient(tmp_path: Path, fused: bool) -> None:
    run = Run(tmp_path / "norms.csv", fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(4):
        run.optimizer.zero_grad()
        loss = run.loss()
        loss.backward(retain_graph=True)
        run.note()
        run.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(run.optimizer)
        scaler.update()
        run.scheduler.step()
    assert run.recorded() == [pytest.approx(norms, rel=1e-4) for norms in run.norms]


def test_sparse_gradients_and_parameters_without_one(tmp_path: Path) -> None:
    embedding = nn.Embedding(10, 3, sparse=True)
    idle = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([*embedding.parameters(), idle], lr=1.0)
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.05), schedule=Constant(steps=3))
    scheduler = config.scheduler(optimizer, record=tmp_path / "norms.csv")
    embedding(torch.tensor([1, 1, 2])).sum().backward()  # the gradient is 2 in row 1, 1 in row 2
    optimizer.step()
    scheduler.norms.flush()
    log = read_norms(tmp_path / "norms.csv")
    assert (log.l1[0], log.l2[0]) == pytest.approx((9.0, (3 * 4 + 3 * 1) ** 0.5))


def test_a_resumed_run_has_one_complete_log(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    whole = Run(tmp_path / "whole.csv")
    for _ in range(12):
        whole.backward()
        whole.step()
    first = Run(path)
    for t in range(9):
        if t == 6:
            saved = [it.state_dict() for it in (first.model, first.optimizer, first.scheduler)]
            saved = [{k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()} for state in saved]
            random = torch.get_rng_state()
        first.backward()
        first.step()
    first.scheduler.norms.flush()
    second = Run(path)
    for it, state in zip((second.model, second.optimizer, second.scheduler), saved, strict=True):
        it.load_state_dict(state)
    torch.set_rng_state(random)
    for _ in range(6):
        second.backward()
        second.step()
    assert second.recorded() == whole.recorded()
    assert refine(whole.config, read_norms(path)).missing == 0


def test_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    recorded, plain = Run(tmp_path / "norms.csv"), Run(tmp_path / "other.csv")
    plain.scheduler = plain.config.scheduler(plain.optimizer)
    assert plain.scheduler.norms is None
    for run in (recorded, plain):
        torch.manual_seed(0)
        for _ in range(12):
            run.backward()
            run.step()
    for ours, theirs in zip(recorded.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_was_observed_is_written_when_the_program_ends(tmp_path: Path) -> None:
    code = f"""
import torch
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.schedules import Constant
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=1.0)
config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.05), schedule=Constant(steps=500))
scheduler = config.scheduler(optimizer, record={str(tmp_path / "norms.csv")!r})
for _ in range({CHUNK + 7}):
    weight.grad = torch.ones(2)
    optimizer.step()
    scheduler.step()
raise SystemExit("over")
"""
    subprocess.run([sys.executable, "-c", code], env=environment(), check=False, capture_output=True)
    assert read_norms(tmp_path / "norms.csv").l1 == (2.0,) * (CHUNK + 7)


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter one")
    with pytest.raises(UsageError, match="not a log of gradient norms"):
        Run(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "chapter one"


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_line_that_was_cut_short_is_cut_off_before_others_follow(tmp_path: Path, cut: int) -> None:
    run, states = Run(tmp_path / "norms.csv"), []
    for _ in range(4):
        states.append(copy.deepcopy(run.scheduler.state_dict()))
        run.backward()
        run.note()
        run.step()
    run.scheduler.norms.retire()
    whole = (tmp_path / "norms.csv").read_bytes()
    (tmp_path / "norms.csv").write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"\n") - 1
    again = Run(tmp_path / "norms.csv")
    again.norms = run.norms[:kept]
    again.scheduler.load_state_dict(states[kept])
    again.backward()
    again.note()
    again.step()
    assert again.recorded() == [pytest.approx(norms, rel=1e-5) for norms in again.norms]


@pytest.mark.parametrize("room", [0, 10, 100])
def test_what_a_full_disk_did_not_take_is_written_when_there_is_room(tmp_path: Path, monkeypatch, room: int) -> None:
    run, real, left = Run(tmp_path / "norms.csv"), os.write, [room]

    def write(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        took = real(handle, data[: left[0]])
        left[0] -= took
        return took

    for number in range(8):
        run.backward()
        run.note()
        run.step()
        if number == 5:
            monkeypatch.setattr(os, "write", write)
            with pytest.raises(EnvironmentFailure, match="No space left"):
                run.scheduler.norms.flush()
            monkeypatch.undo()
            written = (tmp_path / "norms.csv").read_text()
            assert written.endswith("\n")
            assert len(written) <= len("update,l1,l2\n") + room
    assert run.recorded() == [pytest.approx(norms, rel=1e-5) for norms in run.norms]


def test_the_log_stays_where_it_is_if_the_program_changes_its_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    run = Run(Path("norms.csv"))
    monkeypatch.chdir("other")
    run.backward()
    run.note()
    run.step()
    assert run.recorded() == [pytest.approx(norms, rel=1e-5) for norms in run.norms]
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["norms.csv"]
