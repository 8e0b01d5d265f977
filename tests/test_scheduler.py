"""The torch scheduler on live optimizers: rates, param groups, order of construction, tensors, pickling."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import ConfigError, UsageError
from lrfinder.scheduler import ConfiguredScheduler
from lrfinder.schedules import SCHEDULES as SHAPES
from lrfinder.schedules import Constant, Cosine, Linear, Schedule, Step

SCHEDULES: list[Schedule] = [
    *(shape.for_run(steps=12, warmup=3) for shape in SHAPES.values()),
    Linear(steps=10, warmup=3),
    Cosine(steps=10, warmup=1, final=0.1),
    Constant(steps=10, warmup=10),
    Step(steps=10, every=3, factor=0.5),
    Linear(steps=1),
]


def config(
    schedule: Schedule, groups: tuple[float, ...] | None = None, lr: float = 0.0031, name: str = "SGD"
) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=lr, groups=groups), schedule=schedule)


def optimizer_of(*rates: float, kind: type[torch.optim.Optimizer] = torch.optim.SGD) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    return kind([{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in rates], lr=0.5)


def run(
    optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler, updates: int
) -> list[list[float]]:
    """Train, and record the rates that each update uses."""
    used = []
    for _ in range(updates):
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        assert [float(rate) for rate in scheduler.get_last_lr()] == used[-1]
        optimizer.step()
        scheduler.step()
    return used


def columns(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("built_with", [1.0, 1e-8, 0.0031, 0.0])
def test_each_update_uses_the_configs_rate_whatever_the_optimizer_was_built_with(
    schedule: Schedule, built_with: float
) -> None:
    made = config(schedule)
    optimizer = optimizer_of(built_with)
    scheduler = made.scheduler(optimizer)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    (used,) = columns(run(optimizer, scheduler, schedule.steps + 3))
    assert used == [made.rate(t) for t in range(schedule.steps + 3)]
    assert tuple(used[: schedule.steps]) == made.lrs()


def test_the_same_as_torchs_lambda_scheduler() -> None:
    schedule = Cosine(steps=20, warmup=5)
    ours, theirs = optimizer_of(0.3, 0.03), optimizer_of(0.3, 0.03)
    used = run(ours, config(schedule, lr=0.3).scheduler(ours), 25)
    assert used == run(theirs, torch.optim.lr_scheduler.LambdaLR(theirs, schedule.factor), 25)


class TestParamGroups:
    def test_ratios_of_the_live_optimizer_are_kept_and_the_fastest_group_follows_the_config(self) -> None:
        made = config(Linear(steps=8, warmup=2))
        optimizer = optimizer_of(0.02, 0.2, 0.0)
        slow, fast, still = columns(run(optimizer, made.scheduler(optimizer), 8))
        assert tuple(fast) == made.lrs()
        assert slow == pytest.approx([lr / 10 for lr in made.lrs()], rel=1e-15)
        assert still == [0.0] * 8

    def test_ratios_of_the_config_win(self) -> None:
        made = config(Linear(steps=8), groups=(0.5, 2.0, 0.0))
        optimizer = optimizer_of(1.0, 1.0, 1.0)
        used = columns(run(optimizer, made.scheduler(optimizer), 8))
        assert used == [[lr * ratio for lr in made.lrs()] for ratio in (0.5, 2.0, 0.0)]

    def test_all_at_zero_means_all_alike(self) -> None:
        made = config(Linear(steps=4))
        optimizer = optimizer_of(0.0, 0.0)
        used = columns(run(optimizer, made.scheduler(optimizer), 4))
        assert used == [list(made.lrs())] * 2

    def test_a_count_that_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        optimizer = optimizer_of(0.1, 0.2, 0.3)
        with pytest.raises(ConfigError, match="2 ratios, but the optimizer has 3 param groups") as caught:
            config(Linear(steps=4), groups=(1.0, 0.1)).scheduler(optimizer)
        assert "groups" in (caught.value.hint or "")
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2, 0.3]
        assert "initial_lr" not in optimizer.param_groups[0]

    def test_a_group_added_later_is_refused_at_the_next_step(self) -> None:
        optimizer = optimizer_of(0.1)
        scheduler = config(Linear(steps=4)).scheduler(optimizer)
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.7})
        optimizer.step()
        with pytest.raises(UsageError, match="2 param groups, but had 1"):
            scheduler.step()
        again = config(Linear(steps=4), groups=(1.0, 0.1)).scheduler(optimizer, last_epoch=0)
        assert again.last_epoch == 1


def test_initial_lr_is_the_groups_peak() -> None:
    optimizer = optimizer_of(1.0, 0.5)
    scheduler = config(Linear(steps=4, warmup=2), lr=0.01).scheduler(optimizer)
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    assert scheduler.base_lrs == [0.01, 0.005]


def test_ratios_after_another_scheduler_are_those_of_the_rates_it_began_with() -> None:
    optimizer = optimizer_of(0.4, 0.1)
    # Different curves: the present rates, 0.2 and 0.1, don't show the groups' true ratio any more.
    other = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 1.0])
    optimizer.step()
    other.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]
    config(Constant(steps=4), lr=1.0).scheduler(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.25]


def test_a_second_scheduler_of_the_same_config_changes_no_bit() -> None:
    made = config(Linear(steps=10), lr=0.935)
    optimizer = optimizer_of(0.374, 0.025)  # 0.935 * (0.025 / 0.374) is 0.0625, but 0.935 * (0.0625 / 0.935) is not
    assert 0.935 * (0.935 * (0.025 / 0.374) / 0.935) != 0.935 * (0.025 / 0.374)
    first = run(optimizer, made.scheduler(optimizer), 6)
    assert run(optimizer, made.scheduler(optimizer), 6) == first


def test_made_after_the_optimizer_has_stepped() -> None:
    made = config(Linear(steps=5))
    optimizer = optimizer_of(0.1)
    for _ in range(3):
        optimizer.step()
    (used,) = columns(run(optimizer, made.scheduler(optimizer), 5))
    assert tuple(used) == made.lrs()


def test_stepping_in_the_wrong_order_is_still_torchs_warning() -> None:
    scheduler = config(Linear(steps=5)).scheduler(optimizer_of(0.1))
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_manual_changes_of_the_rate_do_not_last() -> None:
    made = config(Linear(steps=5))
    optimizer = optimizer_of(0.1)
    scheduler = made.scheduler(optimizer)
    optimizer.param_groups[0]["lr"] = 99.0
    optimizer.step()
    with pytest.warns(UserWarning, match="at update 0 the rate of param group 0 is 99"):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == made.rate(1)


def test_tensor_rates_are_filled_in_place() -> None:
    made = config(Cosine(steps=6, warmup=2), name="AdamW")
    lr = torch.tensor(0.25, dtype=torch.float64)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2))], lr=lr)
    held = optimizer.param_groups[0]["lr"]
    scheduler = made.scheduler(optimizer)
    for t in range(6):
        assert optimizer.param_groups[0]["lr"] is held
        assert held.item() == made.rate(t)
        (last,) = scheduler.get_last_lr()
        assert isinstance(last, torch.Tensor)
        assert last is not held or torch.__version__.startswith("2.6.")  # which copies no rate
        optimizer.step()
        scheduler.step()


def test_the_updates_themselves_are_those_of_sgd_at_the_configs_rates() -> None:
    # loss = x**2 / 2, so one update multiplies x by (1 - rate): the weights show the rates that were really used
    made = config(Linear(steps=6, warmup=2), lr=0.5)
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=123.0)
    scheduler = made.scheduler(optimizer)
    expected = 1.0
    for t in range(6):
        optimizer.zero_grad()
        (weight**2 / 2).sum().backward()
        optimizer.step()
        scheduler.step()
        expected *= 1 - made.rate(t)
        assert weight.item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adadelta, torch.optim.NAdam])
def test_any_optimizer(kind: type[torch.optim.Optimizer]) -> None:
    made = config(Linear(steps=3), name=kind.__name__)
    optimizer = optimizer_of(0.1, kind=kind)
    (used,) = columns(run(optimizer, made.scheduler(optimizer), 3))
    assert tuple(used) == made.lrs()


def test_something_else_than_an_optimizer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"needs a torch\.optim\.Optimizer, got Linear"):
        config(Linear(steps=3)).scheduler(nn.Linear(1, 1))


@pytest.mark.parametrize("done", [0, 1, 4])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_goes_on_with_its_own_optimizer(done: int, copied: object) -> None:
    made = config(Linear(steps=8, warmup=3))
    optimizer = optimizer_of(0.1, 0.01)
    scheduler = made.scheduler(optimizer)
    run(optimizer, scheduler, done)
    twin = copied(scheduler)  # type: ignore[operator]
    assert twin.optimizer is not optimizer
    rest = run(twin.optimizer, twin, 8 - done)
    assert run(optimizer, scheduler, 8 - done) == rest


def test_the_state_is_plain_data() -> None:
    scheduler = config(Step(steps=8, every=2, factor=0.5)).scheduler(optimizer_of(0.1, 0.01))
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == scheduler.state_dict()


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({}, "'last_epoch' is None"),
        ({"last_epoch": "3"}, "'last_epoch' is '3'"),
        ({"last_epoch": True, "step_count": 1}, "'last_epoch' is True"),
        ({"last_epoch": -1, "step_count": 1}, "'last_epoch' is -1"),
        ({"last_epoch": 3, "_step_count": 4}, "'step_count' is None"),
    ],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(state: dict[str, object], complaint: str) -> None:
    optimizer = optimizer_of(0.1)
    scheduler = config(Linear(steps=8)).scheduler(optimizer)
    before = scheduler.state_dict(), optimizer.param_groups[0]["lr"]
    with pytest.raises(UsageError, match=complaint):
        scheduler.load_state_dict(state)
    assert (scheduler.state_dict(), optimizer.param_groups[0]["lr"]) == before


def test_repr_and_type() -> None:
    assert type(config(Linear(steps=8)).scheduler(optimizer_of(0.1))) is ConfiguredScheduler
