"""The plateau, against torch's ReduceLROnPlateau and Keras's own callback, and its torch scheduler."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.shapes import PARAMETERS
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.scheduler import PlateauScheduler
from lrfinder.schedules import Plateau
from lrfinder.schedules.plateau import PlateauState

PEAK = 0.3
# Few different values, so that ties, improvements of the very threshold and long stalls all happen.
losses = st.lists(st.sampled_from([1.0, 0.9, 0.89, 0.5, 0.45, 0.0, -0.5, math.nan, math.inf]), max_size=60)


def sgd(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def plateau(**parameters: Any) -> Plateau:
    return Plateau(**{"steps": 100, **parameters})


def scheduler_of(schedule: Plateau, optimizer: torch.optim.Optimizer) -> PlateauScheduler:
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=PEAK), schedule=schedule)
    made = config.scheduler(optimizer)
    assert isinstance(made, PlateauScheduler)
    return made


@given(st.fixed_dictionaries(PARAMETERS["plateau"]), losses)
def test_it_cuts_where_torchs_does(parameters: dict[str, Any], seen: list[float]) -> None:
    schedule = plateau(**parameters)
    ours, theirs = sgd(PEAK, PEAK / 4), sgd(PEAK, PEAK / 4)
    scheduler = scheduler_of(schedule, ours)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs,
        factor=parameters["factor"],
        patience=parameters["patience"],
        threshold=parameters["threshold"],
        threshold_mode={"relative": "rel", "absolute": "abs"}[parameters["mode"]],
        cooldown=parameters["cooldown"],
        min_lr=[PEAK * parameters["floor"], PEAK / 4 * parameters["floor"]],
        eps=0.0,
    )
    for loss in seen:
        for _ in range(3):  # an epoch
            ours.step()
            scheduler.step()
        scheduler.observe(loss)
        reference.step(loss)
        assert [group["lr"] for group in ours.param_groups] == pytest.approx(
            [group["lr"] for group in theirs.param_groups], rel=1e-12
        )


@given(
    st.floats(0.1, 0.9), st.integers(0, 4), st.floats(0, 0.2), st.integers(0, 3), st.lists(st.floats(0, 1), max_size=40)
)
def test_kerass_callback_cuts_one_evaluation_sooner_for_the_same_numbers(
    factor: float, patience: int, threshold: float, cooldown: int, seen: list[float]
) -> None:
    schedule = plateau(factor=factor, patience=patience, threshold=threshold, mode="absolute", cooldown=cooldown)
    state, ours = PlateauState(), []
    for loss in seen:
        state = schedule.observe(state, loss)
        ours.append(state.cuts)
    assert ours == keras_cuts(seen, patience + 1, threshold, cooldown + 1)


def keras_cuts(seen: list[float], patience: int, min_delta: float, cooldown: int) -> list[int]:
    """Keras's published rule (ReduceLROnPlateau.on_epoch_end); the export's test runs the callback itself."""
    best, wait, left, cuts, made = math.inf, 0, 0, 0, []
    for loss in seen:
        if left > 0:
            left, wait = left - 1, 0
        if loss < best - min_delta:
            best, wait = loss, 0
        elif left <= 0:
            wait += 1
            if wait >= patience:
                cuts, left, wait = cuts + 1, cooldown, 0
        made.append(cuts)
    return made


def test_the_warmup_and_a_cut_in_it_multiply() -> None:
    schedule = plateau(warmup=4, patience=0, factor=0.5)
    optimizer = sgd(PEAK)
    scheduler = scheduler_of(schedule, optimizer)
    used = []
    for loss in (1.0, 1.0, 1.0, 0.5):
        used.append(optimizer.param_groups[0]["lr"] / PEAK)
        optimizer.step()
        scheduler.step()
        scheduler.observe(loss)
    used.append(optimizer.param_groups[0]["lr"] / PEAK)
    assert used == pytest.approx([1 / 4, 2 / 4, 3 / 4 / 2, 1 / 4, 1 / 4])


@given(st.fixed_dictionaries(PARAMETERS["plateau"]), losses, st.integers(0, 60))
def test_resuming_is_as_going_on(parameters: dict[str, Any], seen: list[float], cut: int) -> None:
    schedule = plateau(**parameters)
    whole, first, second = sgd(PEAK), sgd(PEAK), sgd(1.0)
    uninterrupted, before = scheduler_of(schedule, whole), scheduler_of(schedule, first)
    for loss in seen[:cut]:
        before.observe(loss)
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = scheduler_of(schedule, second)
    after.load_state_dict(torch.load(file, weights_only=True))
    for loss in seen:
        uninterrupted.observe(loss)
    for loss in seen[cut:]:
        after.observe(loss)
    assert second.param_groups[0]["lr"] == whole.param_groups[0]["lr"]
    assert after.state_dict() == uninterrupted.state_dict()


@pytest.mark.parametrize(
    "state", [{"last_epoch": 1, "step_count": 2}, {"last_epoch": 1, "step_count": 2, "plateau": 7}]
)
def test_the_state_of_another_scheduler_is_refused_and_changes_nothing(state: dict[str, Any]) -> None:
    scheduler = scheduler_of(plateau(patience=0), sgd(PEAK))
    scheduler.observe(1.0)
    before = scheduler.state_dict()
    with pytest.raises(UsageError, match="'plateau' is"):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == before


def test_a_tensor_is_a_loss() -> None:
    optimizer = sgd(PEAK)
    scheduler = scheduler_of(plateau(patience=0, factor=0.1), optimizer)
    for _ in range(2):
        scheduler.observe(torch.tensor(1.0))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(PEAK / 10)
