"""Calls that torch's own schedulers take and ours must not take for something else, and what follows a refusal."""

from __future__ import annotations

import copy
import gc
import math
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.config.refine import refine
from lrfinder.errors import UsageError
from lrfinder.export import export_schedule
from lrfinder.gradient_norms.log import read_norms
from lrfinder.schedules import Constant, Linear, Plateau, Schedule


def config(schedule: Schedule, groups: tuple[float, ...] | None = None) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1, groups=groups), schedule=schedule)


def optimizer_of(groups: int = 1, **keywords: Any) -> torch.optim.Optimizer:
    parts = [{"params": [nn.Parameter(torch.ones(2))]} for _ in range(groups)]
    for part in parts:
        part["params"][0].grad = torch.ones(2)
    return torch.optim.SGD(parts, **{"lr": 3.0, **keywords})


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def advanced(optimizer: torch.optim.Optimizer, scheduler: Any, updates: int) -> None:
    for _ in range(updates):
        optimizer.step()
        scheduler.step()


class TestLosses:
    @pytest.mark.parametrize("loss", [0.83, torch.tensor(0.83), 5, math.nan])
    def test_a_plateau_takes_the_loss_as_torchs_own_does(self, loss: Any) -> None:
        optimizer, other = optimizer_of(), optimizer_of(lr=0.1)
        ours = config(Plateau(warmup=5, steps=1000, factor=0.5, patience=0)).scheduler(optimizer)
        torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(other, factor=0.5, patience=0, eps=0.0)
        for epoch in range(4):
            advanced(optimizer, ours, 10)
            ours.step(loss)
            torchs.step(loss)
            assert rates(optimizer) == rates(other)
            assert ours.last_epoch == 10 * (epoch + 1)
        assert float(loss) == pytest.approx(0.83) or not isinstance(loss, torch.Tensor)

    def test_without_a_warm_up_torchs_own_loop_needs_no_other_call(self) -> None:
        optimizer = optimizer_of()
        scheduler = config(Plateau(steps=1000, factor=0.5, patience=0)).scheduler(optimizer)
        used = []
        for _ in range(4):
            optimizer.step()
            scheduler.step(0.83)
            used += rates(optimizer)
        assert used == [0.1, 0.05, 0.025, 0.0125]

    def test_behind_another_scheduler_it_begins_when_its_turn_comes(self) -> None:
        """SequentialLR calls step(0), which is no loss."""
        optimizer = optimizer_of(lr=0.1)
        before = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, total_iters=3)
        plateau = config(Plateau(steps=100, factor=0.5, patience=0)).scheduler(optimizer)
        both = torch.optim.lr_scheduler.SequentialLR(optimizer, [before, plateau], milestones=[3])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on its own step(0)
            advanced(optimizer, both, 5)
        assert (plateau.last_epoch, rates(optimizer)) == (2, [0.1])
        for loss in (1.0, 0.9, 0.9):
            plateau.observe(loss)
        assert rates(optimizer) == [0.05]

    def test_a_warm_up_that_nobody_counts_is_refused(self) -> None:
        scheduler = config(Plateau(steps=1000, warmup=5)).scheduler(optimizer_of())
        with pytest.raises(UsageError, match="before any update was counted"):
            scheduler.step(0.83)

    @pytest.mark.parametrize("hear", ["step", "observe"])
    def test_a_warm_up_that_only_the_first_update_counts_is_refused(self, hear: str) -> None:
        optimizer = optimizer_of()
        scheduler = config(Plateau(steps=1000, warmup=5, patience=0)).scheduler(optimizer)
        advanced(optimizer, scheduler, 1)
        getattr(scheduler, hear)(0.83)
        before = (rates(optimizer), scheduler.state_dict())
        for _ in range(2):
            with pytest.raises(UsageError, match="two losses came at update 1") as refused:
                getattr(scheduler, hear)(0.83)
            assert "call step() after every update" in refused.value.hint
        assert (rates(optimizer), scheduler.state_dict()) == before
        for _ in range(4):  # a validation for every update is one after the other
            advanced(optimizer, scheduler, 1)
            getattr(scheduler, hear)(0.5)
        getattr(scheduler, hear)(0.5)  # behind the warm-up the rate no longer asks for the update
        assert rates(optimizer) == [0.1 * 0.1**4]

    def test_a_loaded_warm_up_may_be_validated_again(self) -> None:
        made = config(Plateau(steps=1000, warmup=5))
        optimizer = optimizer_of()
        scheduler = made.scheduler(optimizer)
        advanced(optimizer, scheduler, 2)
        scheduler.observe(0.83)
        scheduler.load_state_dict(scheduler.state_dict())
        scheduler.observe(0.83)
        assert scheduler.state.stalled == 1

    @pytest.mark.parametrize(("steps", "warmup", "at"), [(1500, 5, 1005), (6000, 0, 3001), (100, 50, 1050)])
    def test_a_plateau_without_losses_is_warned_of_once(self, steps: int, warmup: int, at: int) -> None:
        optimizer = optimizer_of()
        scheduler = config(Plateau(steps=steps, warmup=warmup)).scheduler(optimizer)
        advanced(optimizer, scheduler, at - 1)  # warnings are errors here: there is none
        optimizer.step()
        with pytest.warns(UserWarning, match=f"no validation loss has come in {at} updates"):
            scheduler.step()
        advanced(optimizer, scheduler, 50)

    def test_a_plateau_that_had_its_first_loss_by_half_of_the_run_is_not(self) -> None:
        optimizer = optimizer_of()
        scheduler = config(Plateau(steps=6000)).scheduler(optimizer)
        advanced(optimizer, scheduler, 3000)
        scheduler.observe(math.nan)
        advanced(optimizer, scheduler, 3000)

    @pytest.mark.parametrize("loss", [0.7, torch.tensor(0.7), math.nan, -1, "1"])
    def test_what_is_no_update_is_refused_by_every_other_schedule(self, loss: Any) -> None:
        optimizer = optimizer_of()
        scheduler = config(Linear(steps=100)).scheduler(optimizer)
        advanced(optimizer, scheduler, 10)
        before = (rates(optimizer), scheduler.state_dict())
        with pytest.raises(UsageError, match="expected the index of an update"):
            scheduler.step(loss)
        assert (rates(optimizer), scheduler.state_dict()) == before

    def test_a_position_is_gone_to_and_its_state_loads(self) -> None:
        optimizer = optimizer_of()
        scheduler = config(Linear(steps=100)).scheduler(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's: the argument is on its way out
            scheduler.step(torch.tensor(50))
        assert type(scheduler.last_epoch) is int
        again = config(Linear(steps=100)).scheduler(optimizer_of())
        again.load_state_dict(scheduler.state_dict())
        assert rates(again.optimizer) == [pytest.approx(0.05)]


class TestLastEpoch:
    @pytest.mark.parametrize("done", [np.int64(5), torch.tensor(5), 5])
    def test_a_whole_number_of_any_kind_is_taken_as_one(self, done: Any) -> None:
        made, optimizer = config(Linear(steps=100)), optimizer_of()
        scheduler = made.scheduler(optimizer, last_epoch=done)
        advanced(optimizer, scheduler, 3)
        assert (int(done), scheduler.last_epoch, type(scheduler.last_epoch)) == (5, 9, int)
        assert rates(optimizer) == [made.rate(9)]
        other = made.scheduler(optimizer_of())
        other.load_state_dict(scheduler.state_dict())
        assert rates(other.optimizer) == [made.rate(9)]

    @pytest.mark.parametrize("done", [5.0, 1.5, torch.tensor(5.0), np.float64(5.0), "5", None, -2])
    def test_anything_else_is_refused_when_the_scheduler_is_made(self, done: Any) -> None:
        optimizer = optimizer_of()
        with pytest.raises(UsageError, match=r"last_epoch=.*expected the index of an update, a whole number from -1"):
            config(Linear(steps=100)).scheduler(optimizer, last_epoch=done)
        assert rates(optimizer) == [3.0]
        assert "initial_lr" not in optimizer.param_groups[0]


class TestTensors:
    @pytest.mark.parametrize("make", ["config", "torch", "deepspeed"])
    def test_one_tensor_for_all_groups_becomes_one_for_each(self, make: str) -> None:
        """torch puts the tensor it is given into every group; the first keeps it."""
        rate = torch.tensor(0.7)
        optimizer, made = optimizer_of(2, lr=rate), config(Linear(steps=10, warmup=3), groups=(1.0, 0.1))
        if make == "config":
            scheduler: Any = made.scheduler(optimizer)
        else:
            names: dict[str, Any] = {}
            exec(export_schedule(made, make).text, names)  # noqa: S102 - our own text
            scheduler = names["make_scheduler" if make == "torch" else "lr_scheduler"](optimizer)
        for t in range(5):
            assert rates(optimizer) == pytest.approx([made.rate(t), 0.1 * made.rate(t)])
            assert optimizer.param_groups[0]["lr"] is rate
            advanced(optimizer, scheduler, 1)

    def test_groups_of_one_rate_keep_the_tensor_they_share(self) -> None:
        rate = torch.tensor(0.7)
        optimizer = optimizer_of(2, lr=rate)
        config(Linear(steps=10)).scheduler(optimizer)
        assert all(group["lr"] is rate for group in optimizer.param_groups)
        assert float(rate) == pytest.approx(0.1)

    def test_an_exported_plateau_fills_the_tensor(self) -> None:
        names: dict[str, Any] = {}
        made = config(Plateau(steps=9, warmup=2, patience=0, factor=0.5), groups=(1.0, 0.1))
        exec(export_schedule(made, "torch").text, names)  # noqa: S102 - our own text
        rate = torch.tensor(0.7)
        optimizer = optimizer_of(2, lr=rate)
        scheduler = names["make_scheduler"](optimizer)
        advanced(optimizer, scheduler, 2)
        for _ in range(2):
            scheduler.observe(1.0)
        assert optimizer.param_groups[0]["lr"] is rate
        assert rates(optimizer) == pytest.approx([0.05, 0.005])

    def test_a_tensor_of_whole_numbers_is_refused_and_left_alone(self) -> None:
        rate = torch.tensor(1)
        optimizer = optimizer_of(lr=rate)
        with pytest.raises(UsageError, match=r"tensor of torch\.int64"):
            config(Linear(steps=10)).scheduler(optimizer)
        assert int(rate) == 1
        assert "initial_lr" not in optimizer.param_groups[0]


class TestRecords:
    def run(self, optimizer: torch.optim.Optimizer, scheduler: Any, updates: int) -> None:
        advanced(optimizer, scheduler, updates)
        scheduler.norms.flush()

    def test_made_twice_it_records_once(self, tmp_path: Path) -> None:
        made, optimizer, log = config(Constant(steps=250)), optimizer_of(), tmp_path / "n.csv"
        first = made.scheduler(optimizer, record=log)
        advanced(optimizer, first, 3)
        second = made.scheduler(optimizer, record=log)  # a cell of a notebook, run again
        self.run(optimizer, second, 250)
        first.norms.flush()
        assert log.read_text().count("\n") == 1 + 3 + 250
        assert len(read_norms(log).l1) == 250

    def test_a_cell_that_makes_a_new_optimizer_records_once(self, tmp_path: Path) -> None:
        made, log = config(Constant(steps=250)), tmp_path / "n.csv"
        old, new = optimizer_of(), optimizer_of()
        first = made.scheduler(old, record=log)
        advanced(old, first, 30)
        second = made.scheduler(new, record=tmp_path / "." / "n.csv")
        advanced(new, second, 250)
        advanced(old, first, 3)  # the old one lives on, and records no more
        first.norms.observe()
        second.norms.flush()
        first.norms.flush()
        assert log.read_text().count("\n") == 1 + 30 + 250
        assert refine(made, read_norms(log)).missing == 0

    def test_another_file_is_another_record(self, tmp_path: Path) -> None:
        made, optimizer = config(Constant(steps=5)), optimizer_of()
        both = [made.scheduler(optimizer, record=tmp_path / name) for name in ("a.csv", "b.csv")]
        optimizer.step()
        for scheduler in both:
            scheduler.norms.flush()
        assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()

    def test_nothing_is_kept_alive(self, tmp_path: Path) -> None:
        optimizer = optimizer_of()
        scheduler = config(Constant(steps=5)).scheduler(optimizer, record=tmp_path / "n.csv")
        advanced(optimizer, scheduler, 2)
        gone = weakref.ref(optimizer)
        gc.collect()
        gc.disable()
        try:
            del optimizer, scheduler
            assert gone() is None
        finally:
            gc.enable()
        assert len(read_norms(tmp_path / "n.csv").l1) == 2

    def test_a_copy_writes_nothing_of_the_original(self, tmp_path: Path) -> None:
        optimizer = optimizer_of()
        scheduler = config(Constant(steps=5)).scheduler(optimizer, record=tmp_path / "n.csv")
        advanced(optimizer, scheduler, 2)
        other = copy.deepcopy(scheduler)
        advanced(other.optimizer, other, 3)
        assert other.norms is None
        scheduler.norms.flush()
        assert (tmp_path / "n.csv").read_text().count("\n") == 1 + 2
