"""torch's own schedulers, imported: f(t) is the rate that each really uses at update t."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler as lrs

import lrfinder
from helpers.shapes import schedules
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export import export_schedule
from lrfinder.importing import import_schedule
from lrfinder.schedules import Linear, Schedule, Table

Make = Callable[[torch.optim.Optimizer], lrs.LRScheduler]

rates = st.floats(1e-6, 10)
steps = st.integers(1, 80)


def optimizer_of(*lrs_: float, kind: type[torch.optim.Optimizer] = torch.optim.SGD, **more: Any) -> Any:
    return kind([{"params": [nn.Parameter(torch.zeros(2))], "lr": lr} for lr in lrs_], lr=0.5, **more)


def used(optimizer: torch.optim.Optimizer, scheduler: lrs.LRScheduler, updates: int) -> list[list[float]]:
    """Train, and record the rates that each update uses."""
    rows = []
    for t in range(updates):
        rows.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        if t + 1 < updates:
            scheduler.step()
    return rows


def imported(make: Make, *lrs_: float, updates: int, **more: Any) -> ScheduleConfig:
    """Import the scheduler that `make` makes, and hold it equal to what a second one really does."""
    first, second = optimizer_of(*lrs_, **more), optimizer_of(*lrs_, **more)
    config = import_schedule(make(first), steps=updates)
    rows = used(second, make(second), updates)
    assert config.steps == updates
    for t, row in enumerate(rows):
        for rate, ratio in zip(row, config.optimizer.groups or (1.0,), strict=True):
            assert abs(rate - ratio * config.rate(t)) <= 1.001e-9 * config.optimizer.lr * ratio
    return config


# --- each class over its parameters ---------------------------------------------------------------------------------


@given(rates, steps, st.floats(0.001, 1), st.integers(0, 100))
def test_constant(lr: float, updates: int, factor: float, total: int) -> None:
    config = imported(lambda it: lrs.ConstantLR(it, factor, total), lr, updates=updates)
    if factor == 1 or total >= updates:
        assert config.schedule.name == "constant"


@given(rates, steps, st.floats(0.001, 1), st.floats(0, 1), st.integers(1, 100))
def test_linear(lr: float, updates: int, start: float, end: float, total: int) -> None:
    config = imported(lambda it: lrs.LinearLR(it, start, end, total), lr, updates=updates)
    if end < start and total == updates:
        assert config.schedule.name == "linear"


@given(rates, steps, st.integers(1, 100), st.floats(0.01, 1))
def test_step(lr: float, updates: int, every: int, gamma: float) -> None:
    config = imported(lambda it: lrs.StepLR(it, every, gamma), lr, updates=updates)
    assert config.schedule.name == "step"
    assert (config.schedule.every, config.schedule.drop) == (every, gamma)


@given(rates, steps, st.lists(st.integers(1, 100), max_size=5), st.floats(0.01, 1))
def test_multi_step(lr: float, updates: int, milestones: list[int], gamma: float) -> None:
    config = imported(lambda it: lrs.MultiStepLR(it, milestones, gamma), lr, updates=updates)
    assert config.schedule.name == ("multi-step" if milestones else "constant")


@given(rates, steps, st.floats(0.5, 1))
def test_exponential(lr: float, updates: int, gamma: float) -> None:
    config = imported(lambda it: lrs.ExponentialLR(it, gamma), lr, updates=updates)
    assert (config.schedule.name, config.schedule.base) == ("exponential", gamma)


@given(rates, steps, st.integers(1, 100), st.floats(0.3, 4))
def test_polynomial(lr: float, updates: int, total: int, power: float) -> None:
    config = imported(lambda it: lrs.PolynomialLR(it, total, power), lr, updates=updates)
    assert config.schedule.name == ("linear" if total == updates and power == 1 else "polynomial")


@given(rates, steps, st.floats(0, 2), st.integers(1, 100))
def test_cosine(lr: float, updates: int, floor: float, longest: int) -> None:
    config = imported(lambda it: lrs.CosineAnnealingLR(it, longest, eta_min=floor * lr), lr, updates=updates)
    if longest == updates and floor <= 1:
        assert config.schedule.name == "cosine"
    # at its own length it is always named
    whole = imported(lambda it: lrs.CosineAnnealingLR(it, updates, eta_min=min(floor, 1) * lr), lr, updates=updates)
    assert whole.schedule.name == "cosine"


@given(rates, steps, st.integers(1, 40), st.integers(1, 4), st.floats(0, 1))
def test_warm_restarts(lr: float, updates: int, first: int, growth: int, floor: float) -> None:
    make: Make = lambda it: lrs.CosineAnnealingWarmRestarts(it, first, growth, eta_min=floor * lr)  # noqa: E731
    assert imported(make, lr, updates=updates).schedule.name == "cosine-restarts"


@given(
    rates,
    st.integers(3, 120),
    st.floats(0.05, 0.95),
    st.floats(1.5, 100),
    st.floats(1.5, 1e5),
    st.sampled_from(["cos", "linear"]),
    st.booleans(),
)
@example(1.0, 30, 0.05, 2.0, 2.0, "linear", True)
def test_one_cycle(
    lr: float, updates: int, rise: float, div: float, final: float, anneal: str, three_phase: bool
) -> None:
    assume(rise * updates > 1.01)  # below, torch's own first phase has no length
    assume(not three_phase or rise < 0.5)
    make: Make = lambda it: lrs.OneCycleLR(  # noqa: E731
        it,
        max_lr=lr,
        total_steps=updates,
        pct_start=rise,
        div_factor=div,
        final_div_factor=final,
        anneal_strategy=anneal,
        three_phase=three_phase,
    )
    config = imported(make, 0.1, updates=updates)
    # Three phases are a table, or another shape if their peak lies between two updates.
    assert (config.schedule.name == "one-cycle") is not three_phase
    optimizer = optimizer_of(0.1)
    assert import_schedule(make(optimizer)) == config  # it knows its length


@given(
    rates,
    st.integers(1, 120),
    st.floats(0, 0.9),
    st.integers(1, 40),
    st.none() | st.integers(1, 40),
    st.sampled_from(["triangular", "triangular2", "exp_range"]),
    st.floats(0.9, 1),
)
def test_cyclic(lr: float, updates: int, base: float, up: int, down: int | None, mode: str, gamma: float) -> None:
    make: Make = lambda it: lrs.CyclicLR(it, base * lr, lr, up, down, mode=mode, gamma=gamma)  # noqa: E731
    first = optimizer_of(0.1, momentum=0.8)
    assume(base > 0 or updates > 1)  # else its one rate is 0
    config = import_schedule(make(first), steps=updates)
    assert config.schedule.name == "cyclical"
    second = optimizer_of(0.1, momentum=0.8)
    for t, (rate,) in enumerate(used(second, make(second), updates)):
        assert rate == pytest.approx(config.rate(t), rel=0, abs=1e-9 * lr)


# --- functions, and composites --------------------------------------------------------------------------------------


@given(schedules(most=150), rates)
def test_a_function_of_ours_comes_back_with_the_same_rates(schedule: Schedule, lr: float) -> None:
    assume(max(map(schedule.factor, range(schedule.steps))) > 1e-9)
    imported(lambda it: lrs.LambdaLR(it, schedule.factor), lr, updates=schedule.steps)


NAMED = ["constant", "linear", "cosine", "rex", "step", "multi-step", "exponential", "inverse-sqrt", "noam"]
NAMED += ["geometric", "time-based", "polynomial", "k-decay", "wsd"]


@pytest.mark.parametrize(("warmup", "start"), [(0, None), (7, None), (7, 0.0), (7, 0.1), (1, 0.0)])
@pytest.mark.parametrize("name", NAMED)
def test_a_function_without_cycles_is_recognized_by_its_rates(name: str, warmup: int, start: float | None) -> None:
    if name == "noam" and start is not None:
        return  # it is at the peak with its last update of warm-up, which here is below it: nothing shows the peak
    usual = lrfinder.schedules.SCHEDULES[name].for_run(steps=120, warmup=warmup)
    schedule = type(usual)(**{**usual.model_dump(by_alias=True), "warmup_start": start})
    config = imported(lambda it: lrs.LambdaLR(it, schedule.factor), 0.03, updates=120)
    assert not isinstance(config.schedule, Table)
    if start is not None:
        assert (config.schedule.warmup, config.schedule.warmup_start) == (warmup, start)
    found = [config.schedule.factor(t) for t in range(120)]
    assert found == pytest.approx([schedule.factor(t) for t in range(120)], abs=1e-9)


@pytest.mark.parametrize("final", [0.1, 1 / 3, 0.05])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_numbers_that_somebody_wrote_come_back(name: str, final: float) -> None:
    schedule = lrfinder.schedules.SCHEDULES[name](steps=90, warmup=5, final=final)
    config = imported(lambda it: lrs.LambdaLR(it, schedule.factor), 0.03, updates=90)
    assert config.schedule.name == name
    assert config.schedule.final == (pytest.approx(final, rel=1e-12) if final == 1 / 3 else final)


@pytest.mark.parametrize("warmup", [2, 10])
@pytest.mark.parametrize(
    ("after", "name"),
    [
        (lambda it, n: lrs.CosineAnnealingLR(it, n, eta_min=0.003), "cosine"),
        (lambda it, n: lrs.StepLR(it, 20, 0.1), "step"),
        (lambda it, n: lrs.PolynomialLR(it, n, 0.9), "polynomial"),
        (lambda it, n: lrs.ExponentialLR(it, 0.97), "exponential"),
        (lambda it, n: lrs.MultiStepLR(it, [30, 40], 0.5), "multi-step"),
        (lambda it, n: lrs.LinearLR(it, 1.0, 0.0, n), "linear"),
        (lambda it, n: lrs.CosineAnnealingWarmRestarts(it, 20), "cosine-restarts"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_warmup_that_is_ours_and_what_follows(warmup: int, after: Callable[..., Any], name: str) -> None:
    def make(it: torch.optim.Optimizer) -> lrs.LRScheduler:
        rise = lrs.LinearLR(it, 1 / warmup, 1.0, warmup - 1)
        return lrs.SequentialLR(it, [rise, after(it, 100 - warmup)], [warmup])

    config = imported(make, 0.03, updates=100)
    assert (config.schedule.name, config.schedule.warmup, config.schedule.warmup_start) == (name, warmup, None)

    def documented(it: torch.optim.Optimizer) -> lrs.LRScheduler:
        """torch's own recipe: it starts anywhere, and is at the peak with update W."""
        return lrs.SequentialLR(it, [lrs.LinearLR(it, 0.15, 1.0, warmup), after(it, 100 - warmup)], [warmup])

    def from_zero(it: torch.optim.Optimizer) -> lrs.LRScheduler:
        rise = lrs.LambdaLR(it, lambda t: t / warmup)
        return lrs.SequentialLR(it, [rise, after(it, 100 - warmup)], [warmup])

    for other, start in [(documented, 0.15), (from_zero, 0.0)]:
        found = imported(other, 0.03, updates=100).schedule
        assert (found.name, found.warmup, found.warmup_start) == (name, warmup, start)


@pytest.mark.parametrize("milestone", [9, 11])
def test_a_warmup_that_is_cut_off_or_followed_late_is_none(milestone: int) -> None:
    def make(it: torch.optim.Optimizer) -> lrs.LRScheduler:
        return lrs.SequentialLR(it, [lrs.LinearLR(it, 0.1, 1.0, 10), lrs.CosineAnnealingLR(it, 50)], [milestone])

    assert isinstance(imported(make, 0.03, updates=milestone + 50).schedule, Table)


@pytest.mark.parametrize(("start", "total", "warmup"), [(0.25, 3, 4), (0.25, 4, 4), (0.1, 20, 20)])
def test_a_rise_alone_is_a_warmup(start: float, total: int, warmup: int) -> None:
    found = imported(lambda it: lrs.LinearLR(it, start, 1.0, total), 0.03, updates=50).schedule
    assert (found.name, found.warmup) == ("constant", warmup)
    assert found.warmup_start == (None if total < warmup else start)


def sequence(it: torch.optim.Optimizer) -> lrs.LRScheduler:
    """Its second part isn't over with the run."""
    return lrs.SequentialLR(it, [lrs.LinearLR(it, 0.1, 1.0, 10), lrs.CosineAnnealingLR(it, 70)], [10])


def nested(it: torch.optim.Optimizer) -> lrs.LRScheduler:
    inner = lrs.SequentialLR(it, [lrs.LinearLR(it, 0.2, 1.0, 5), lrs.ExponentialLR(it, 0.95)], [5])
    return lrs.SequentialLR(it, [inner, lrs.StepLR(it, 7, 0.5), lrs.ConstantLR(it, 0.25, 3)], [20, 40])


def chained(it: torch.optim.Optimizer) -> lrs.LRScheduler:
    return lrs.ChainedScheduler([lrs.ConstantLR(it, 0.1, 4), lrs.ExponentialLR(it, 0.9)], it)


def chained_sequences(it: torch.optim.Optimizer) -> lrs.LRScheduler:
    return lrs.ChainedScheduler([sequence(it), lrs.StepLR(it, 9, 0.7)], it)


def multiplied(it: torch.optim.Optimizer) -> lrs.LRScheduler:
    return lrs.MultiplicativeLR(it, lambda t: 0.9 if t % 3 else 1.05)


COMPOSITES = [sequence, nested, chained, chained_sequences, multiplied]


# torch steps a sequence inside a sequence once when it is made, and warns of that itself.
torchs_own = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@torchs_own
@pytest.mark.parametrize("make", COMPOSITES)
def test_composites_are_tables_of_what_they_do(make: Make) -> None:
    config = imported(make, 0.1, 0.01, updates=60)
    assert isinstance(config.schedule, Table)
    assert config.evidence is not None
    assert "as a table, equal at every update: " in (config.evidence.why or "")
    assert "torch's " in (config.evidence.why or "")


# --- where it has advanced, and what stays as it is -----------------------------------------------------------------

MAKERS: list[Make] = [
    *COMPOSITES,
    lambda it: lrs.CosineAnnealingLR(it, 30, eta_min=0.0),
    lambda it: lrs.CosineAnnealingWarmRestarts(it, 5, 2),
    lambda it: lrs.OneCycleLR(it, 0.3, total_steps=60),
    lambda it: lrs.CyclicLR(it, 0.01, 0.1, 7),
    lambda it: lrs.LinearLR(it, 0.3, 1.0, 20),
    lambda it: lrs.LambdaLR(it, lambda t: 0.9**t),
    lambda it: ScheduleConfig(
        optimizer=OptimizerConfig(name=type(it).__name__, lr=0.2), schedule=Linear(steps=60, warmup=6)
    ).scheduler(it),
]


@torchs_own
@pytest.mark.parametrize("done", [1, 6, 25, 59])
@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_one_that_has_advanced_is_imported_from_its_beginning(number: int, done: int) -> None:
    optimizer = optimizer_of(0.1, momentum=0.9)
    scheduler = MAKERS[number](optimizer)
    fresh = import_schedule(scheduler, steps=60)
    used(optimizer, scheduler, done)
    scheduler.step()
    assert import_schedule(scheduler, steps=60).lrs() == pytest.approx(fresh.lrs(), rel=1e-12)


@torchs_own
@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_nothing_of_the_users_changes(number: int) -> None:
    optimizer = optimizer_of(0.1, kind=torch.optim.AdamW)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    scheduler = MAKERS[number](optimizer)
    used(optimizer, scheduler, 5)

    def everything() -> list[Any]:
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        return [
            copy.deepcopy([groups, optimizer.state_dict()["state"], scheduler.state_dict()]),
            random.getstate(),
            torch.get_rng_state().tolist(),
            [str(part) for part in np.random.get_state()],  # noqa: NPY002
        ]

    before = everything()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_schedule(scheduler, steps=60)
    assert caught == []
    assert repr(everything()) == repr(before)
    assert scheduler.optimizer is optimizer


def test_a_function_that_draws_numbers_leaves_the_generators() -> None:
    def noisy(t: int) -> float:
        return 0.5 + random.random() / 4 + np.random.rand() / 8 + float(torch.rand(())) / 8  # noqa: NPY002, S311

    scheduler = lrs.LambdaLR(optimizer_of(0.1), noisy)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    import_schedule(scheduler, steps=20)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


def test_a_callable_object_is_copied() -> None:
    class Counting:
        calls = 0

        def __call__(self, t: int) -> float:
            self.calls += 1
            return 0.9**t

    function = Counting()
    scheduler = lrs.LambdaLR(optimizer_of(0.1), function)
    calls = function.calls
    assert import_schedule(scheduler, steps=20).schedule.name == "exponential"
    assert function.calls == calls


def test_a_rate_in_a_tensor_stays_one() -> None:
    held = torch.tensor(0.25)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=held)
    scheduler = lrs.CosineAnnealingLR(optimizer, 20)
    used(optimizer, scheduler, 3)
    config = import_schedule(scheduler, steps=20)
    assert optimizer.param_groups[0]["lr"] is held
    assert config.schedule.name == "cosine"
    assert config.optimizer.lr == 0.25
    assert config.rate(2) == pytest.approx(held.item(), rel=1e-6)


def test_a_rate_that_was_set_by_hand_is_told() -> None:
    optimizer = optimizer_of(0.1)
    scheduler = lrs.ExponentialLR(optimizer, 0.9)
    used(optimizer, scheduler, 3)
    optimizer.param_groups[0]["lr"] = 0.5
    scheduler.step()
    with pytest.raises(UsageError, match=r"advanced to update 3, where param group 0 has the rate 0.45; .* 0.0729"):
        import_schedule(scheduler, steps=20)


def test_a_state_that_does_not_show_is_told() -> None:
    class Remembering(lrs.LRScheduler):
        """Falls further with each call, whatever `last_epoch` is."""

        fallen = 1.0

        def get_lr(self) -> list[float]:
            self.fallen *= 0.9
            return [base * self.fallen for base in self.base_lrs]

    optimizer = optimizer_of(0.1)
    scheduler = Remembering(optimizer)
    assert import_schedule(scheduler, steps=5).lrs() == pytest.approx([0.1 * 0.9 ** (t + 1) for t in range(5)])
    used(optimizer, scheduler, 3)
    with pytest.raises(UsageError, match="Remembering has advanced to update 2"):
        import_schedule(scheduler, steps=5)


# --- param groups ---------------------------------------------------------------------------------------------------


def test_groups_with_one_curve_keep_their_ratios() -> None:
    config = imported(lambda it: lrs.StepLR(it, 10, 0.5), 0.02, 0.2, 0.0, updates=30)
    assert config.optimizer.groups == pytest.approx((0.1, 1.0, 0.0))
    assert config.optimizer.lr == 0.2
    optimizer = optimizer_of(1.0, 1.0, 1.0)
    assert used(optimizer, config.scheduler(optimizer), 30)[15] == pytest.approx([0.01, 0.1, 0.0])


def test_one_cycle_with_a_peak_for_each_group() -> None:
    config = imported(lambda it: lrs.OneCycleLR(it, [0.5, 0.05], total_steps=40), 1.0, 1.0, updates=40)
    assert config.schedule.name == "one-cycle"
    assert config.optimizer.groups == pytest.approx((1.0, 0.1))


def test_groups_with_other_curves_are_named() -> None:
    optimizer = optimizer_of(0.1, 0.01, 0.02)
    scheduler = lrs.CosineAnnealingLR(optimizer, 20, eta_min=0.005)  # not in proportion to the groups' rates
    with pytest.raises(UsageError, match=r"param groups 1, 2 and param group 0 follow different curves: at update 1"):
        import_schedule(scheduler, steps=20)
    functions = lrs.LambdaLR(optimizer_of(0.1, 0.1), [lambda t: 1.0, lambda t: 0.9**t])
    with pytest.raises(UsageError, match=r"param group 1 and param group 0 follow different curves"):
        import_schedule(functions, steps=20)


# --- what can't be, and what is recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "asked", "complaint"),
    [
        (lambda it: lrs.StepLR(it, 3), None, "StepLR doesn't know how long the run is"),
        (lambda it: lrs.StepLR(it, 3), 0, "steps must be a whole number from 1 to"),
        (lambda it: lrs.StepLR(it, 3), 2.5, r"got 2\.5"),
        (lambda it: lrs.OneCycleLR(it, 0.1, total_steps=10), 12, "made for 10 updates, got steps=12"),
        (lrs.ReduceLROnPlateau, None, "ReduceLROnPlateau doesn't know how long the run is"),
        (lambda it: lrs.ReduceLROnPlateau(it, mode="max"), 10, "mode 'max' waits for a metric to rise"),
        (lambda it: lrs.ReduceLROnPlateau(it, patience=2.5), 10, "ReduceLROnPlateau's patience is 2.5"),
        (lambda it: lrs.ReduceLROnPlateau(it, factor=0.0), 10, "ReduceLROnPlateau's factor is 0.0"),
        (lambda it: it, 10, "expected a scheduler of torch.optim.lr_scheduler, got SGD"),
        (lambda it: lrs.LambdaLR(it, lambda t: 1.0 - t), 10, "update 2 would use the rate -0.1"),
        (lambda it: lrs.LambdaLR(it, lambda t: float("nan")), 10, "update 0 would use the rate nan"),
        (lambda it: lrs.LambdaLR(it, lambda t: 0.0), 10, "every update would use the rate 0"),
    ],
)
def test_what_cannot_be_imported(make: Callable[..., Any], asked: Any, complaint: str) -> None:
    scheduler = make(optimizer_of(0.1, momentum=0.9))
    with pytest.raises(UsageError, match=complaint) as caught:
        import_schedule(scheduler, steps=asked)
    assert caught.value.hint or asked in {0, 2.5}


def test_a_function_that_cannot_be_copied() -> None:
    import threading

    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def factor(self, t: int) -> float:
            return 1.0

    with pytest.raises(UsageError, match="LambdaLR can't be copied"):
        import_schedule(lrs.LambdaLR(optimizer_of(0.1), Locked().factor), steps=10)


def test_an_exception_of_the_users_function_passes_through() -> None:
    scheduler = lrs.LambdaLR(optimizer_of(0.1), lambda t: [1.0, 0.5][t])
    before = [dict(group) for group in scheduler.optimizer.param_groups]
    with pytest.raises(IndexError):
        import_schedule(scheduler, steps=3)
    assert [dict(group) for group in scheduler.optimizer.param_groups] == before


losses = st.lists(st.sampled_from([0.5, 1.0, 1.0, 1.5, 0.999, float("nan")]) | st.floats(0.1, 2), max_size=60)


@given(
    losses,
    rates,
    st.floats(0.05, 0.95),
    st.integers(0, 4),
    st.floats(0, 0.3),
    st.sampled_from(["rel", "abs"]),
    st.integers(0, 3),
    st.floats(0, 1.2),
    st.sampled_from([0.0, 1e-8, 1e-3]),
)
def test_a_plateau_cuts_where_torchs_does(
    seen: list[float],
    lr: float,
    factor: float,
    patience: int,
    threshold: float,
    mode: Any,
    cooldown: int,
    least: float,
    eps: float,
) -> None:
    # Where a cut is just eps, rounding decides in torch, too.
    assume(all(abs(lr * factor**k * (1 - factor) - eps) > 1e-9 * eps for k in range(200) if eps))
    assume(all(abs(lr * factor**k - least * lr - eps) > 1e-9 * lr for k in range(200)))
    optimizer = optimizer_of(lr)
    theirs = lrs.ReduceLROnPlateau(
        optimizer,
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=mode,
        cooldown=cooldown,
        min_lr=least * lr,
        eps=eps,
    )
    config = import_schedule(theirs, steps=1000)
    assert config.schedule.name == "plateau"
    own = optimizer_of(0.7)
    ours: Any = config.scheduler(own)
    for loss in [*seen, *[1.0] * 60]:  # in the end it stalls, and cuts as far as it can
        theirs.step(loss)
        ours.observe(loss)
        (rate,), (expected,) = ([group["lr"] for group in it.param_groups] for it in (own, optimizer))
        assert abs(rate - expected) <= 1e-9 * lr


def test_a_plateau_for_several_groups() -> None:
    optimizer = optimizer_of(0.4, 0.1, 0.0)
    config = import_schedule(lrs.ReduceLROnPlateau(optimizer, min_lr=[0.04, 0.01, 0.0], eps=0), steps=100)
    assert config.optimizer.groups == (1.0, 0.25, 0.0)
    assert config.schedule.floor == pytest.approx(0.1)
    with pytest.raises(UsageError, match="at another share of its rate in some param groups"):
        import_schedule(lrs.ReduceLROnPlateau(optimizer, min_lr=0.01, eps=0), steps=100)


def test_a_plateau_that_has_seen_losses_is_told() -> None:
    scheduler = lrs.ReduceLROnPlateau(optimizer_of(0.1))
    scheduler.step(1.0)
    with pytest.raises(UsageError, match="has seen 1 evaluations, and doesn't know the rate it began with"):
        import_schedule(scheduler, steps=100)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize(
    "make",
    [
        lambda it: lrs.OneCycleLR(it, 0.3, total_steps=60),
        lambda it: lrs.OneCycleLR(it, 0.3, total_steps=60, anneal_strategy="linear", base_momentum=0.7),
        lambda it: lrs.CyclicLR(it, 0.01, 0.1, 7, 11, mode="triangular2"),
    ],
)
def test_a_momentum_that_moves_is_imported_too(kind: type[torch.optim.Optimizer], make: Make) -> None:
    def momentum(it: torch.optim.Optimizer) -> float:
        group = it.param_groups[0]
        return float(group["betas"][0] if "betas" in group else group["momentum"])

    theirs, ours = ({"momentum": 0.9} if kind is torch.optim.SGD else {} for _ in range(2))
    first, second = optimizer_of(0.1, kind=kind, **theirs), optimizer_of(0.1, kind=kind, **ours)
    scheduler = make(first)
    own = import_schedule(scheduler, steps=60).scheduler(second)
    for t in range(60):
        assert momentum(second) == pytest.approx(momentum(first), abs=1e-9)
        assert second.param_groups[0]["lr"] == pytest.approx(first.param_groups[0]["lr"], abs=1e-9)
        first.step()
        second.step()
        if t < 59:
            scheduler.step()
            own.step()


def test_a_momentum_that_cannot_be_imported_is_said() -> None:
    config = import_schedule(lrs.OneCycleLR(optimizer_of(0.1, momentum=0.9), 0.3, total_steps=60, three_phase=True))
    assert config.schedule.name == "table"
    assert config.evidence.why.endswith("the momentum that it moves is left as the optimizer has it")
    still = import_schedule(lrs.OneCycleLR(optimizer_of(0.1), 0.3, total_steps=60, cycle_momentum=False))
    assert still.schedule.momentums is None
    assert "momentum" not in still.evidence.why


def test_the_optimizer_is_recorded_without_what_its_scheduler_moves() -> None:
    optimizer = optimizer_of(0.1, kind=torch.optim.AdamW, weight_decay=0.3, betas=(0.9, 0.95))
    config = import_schedule(lrs.ExponentialLR(optimizer, 0.9), steps=5)
    assert config.optimizer.name == "AdamW"
    assert (config.optimizer.settings["betas"], config.optimizer.settings["weight_decay"]) == ((0.9, 0.95), 0.3)
    cycled = import_schedule(lrs.OneCycleLR(optimizer, 0.1, total_steps=5))
    assert "betas" not in cycled.optimizer.settings
    for group in optimizer.param_groups:  # as a notebook's cell that is run anew
        group["lr"] = group["initial_lr"] = 0.1
    after = import_schedule(lrs.ExponentialLR(optimizer, 0.9), steps=5)
    assert after.optimizer.settings["weight_decay"] == 0.3
    assert "betas" in after.optimizer.settings
    assert "momentum" not in after.evidence.why


@pytest.mark.parametrize("target", ["lightning", "huggingface"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.AdamW, {"weight_decay": np.float64(0.3)}),
        (torch.optim.Adam, {"betas": (np.float64(0.8), 0.99)}),
        pytest.param(
            torch.optim.Adam,
            {"decoupled_weight_decay": True, "amsgrad": True},
            marks=pytest.mark.as_pinned("torch"),  # 2.6 has no decoupled_weight_decay
        ),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_the_same_optimizer_is_made_from_an_export(
    kind: type[torch.optim.Optimizer], settings: dict[str, Any], target: str
) -> None:
    optimizer = optimizer_of(0.1, kind=kind, **settings)
    config = import_schedule(lrs.CosineAnnealingLR(optimizer, 20), steps=20)
    names: dict[str, Any] = {}
    exec(export_schedule(config, target).text, names)  # noqa: S102 - our own text
    if "ARGUMENTS" in names:
        assert not {"amsgrad", "decoupled_weight_decay"} & config.optimizer.settings.keys()
        return
    net = torch.nn.Linear(1, 1)
    made = names["configure_optimizers"](net)["optimizer"] if target == "lightning" else names["optimizers"](net)[0]
    left_out = {"lr", "params", "initial_lr"}
    both = [{key: it.param_groups[0][key] for key in it.defaults if key not in left_out} for it in (made, optimizer)]
    assert (type(made), both[0]) == (kind, both[1])


def test_a_table_that_would_be_too_long_wants_a_tolerance() -> None:
    make: Make = lambda it: lrs.LambdaLR(it, lambda t: (1 + np.cos(t / 70.0)) / 2)  # noqa: E731
    with pytest.raises(UsageError, match=r"its table would have [0-9,]+ points: a config holds 10,000") as caught:
        import_schedule(make(optimizer_of(0.1)), steps=20_000)
    assert "--tolerance" in (caught.value.hint or "")
    config = import_schedule(make(optimizer_of(0.1)), steps=20_000, tolerance=1e-3)
    assert max(abs(config.rate(t) / 0.1 - (1 + np.cos(t / 70.0)) / 2) for t in range(20_000)) <= 1e-3
    assert "within 0.001 of the peak" in (config.evidence.why or "")


# --- there and back -------------------------------------------------------------------------------------------------


@given(schedules(most=60), rates)
def test_exported_to_torch_and_back(schedule: Schedule, lr: float) -> None:
    assume(max(map(schedule.factor, range(schedule.steps))) > 1e-9)
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=lr), schedule=schedule)
    names: dict[str, Any] = {}
    exec(export_schedule(config, "torch").text, names)  # noqa: S102 - our own text
    back = import_schedule(names["make_scheduler"](optimizer_of(0.7)), steps=schedule.steps)
    assert back.lrs() == pytest.approx(config.lrs(), rel=0, abs=2e-9 * lr)


@given(schedules(most=60), st.integers(0, 20))
def test_our_own_scheduler_comes_back_as_the_same_schedule(schedule: Schedule, done: int) -> None:
    assume(max(map(schedule.factor, range(schedule.steps))) > 1e-9)
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.3, groups=(0.5, 1.0)), schedule=schedule)
    optimizer = optimizer_of(0.7, 0.1, momentum=0.9)
    scheduler = config.scheduler(optimizer)
    used(optimizer, scheduler, done)
    back = import_schedule(scheduler)
    assert back.schedule == schedule
    assert back.steps == schedule.steps
    assert back.optimizer.lr == config.optimizer.lr
    assert back.optimizer.groups == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize("tolerance", [-1e-9, 1.5, float("nan")])
def test_a_tolerance_is_a_share_of_the_peak(tolerance: float) -> None:
    with pytest.raises(UsageError, match="tolerance must be from 0 to 1"):
        import_schedule(lrs.StepLR(optimizer_of(0.1), 3), steps=10, tolerance=tolerance)


def test_its_optimizer_cannot_be_renamed() -> None:
    with pytest.raises(UsageError, match="a live scheduler has its optimizer"):
        import_schedule(lrs.StepLR(optimizer_of(0.1), 3), steps=10, optimizer="Lion")


def test_it_is_in_the_package() -> None:
    assert lrfinder.import_schedule is import_schedule
    assert "import_schedule" in lrfinder.__all__


@pytest.mark.parametrize(
    ("make", "name", "epochs"),
    [
        (lambda it: lrs.StepLR(it, 3, 0.1), "step", 9),
        (lambda it: lrs.MultiStepLR(it, [3, 4], 0.1), "multi-step", 9),
        (lambda it: lrs.ExponentialLR(it, 0.97), "step", 9),
        (lambda it: lrs.ExponentialLR(it, 0.97), "step", 150),
        (lambda it: lrs.CosineAnnealingLR(it, 9), "table", 9),
        (lambda it: lrs.OneCycleLR(it, 0.1, total_steps=9), "table", 9),
    ],
)
def test_a_scheduler_that_is_stepped_once_an_epoch(make: Any, name: str, epochs: int) -> None:
    def optimizer() -> torch.optim.Optimizer:
        weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        return torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": 0.05}], lr=0.1, momentum=0.9)

    made, live = import_schedule(make(optimizer()), steps=epochs * 17, epoch=17), optimizer()
    scheduler, used = make(live), []
    for _ in range(epochs):  # of 17 updates
        for _ in range(17):
            used.append(live.param_groups[0]["lr"])
            live.step()
        if len(used) < epochs * 17:
            scheduler.step()
    assert made.lrs() == pytest.approx(used, rel=1e-12)
    assert made.schedule.name == name
    assert made.evidence is not None
    assert "stepped every 17 updates" in str(made.evidence.why)


def test_an_epoch_is_for_what_is_stepped_by_it() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(UsageError, match="epoch must be a whole number"):
        import_schedule(lrs.StepLR(optimizer, 3), steps=10, epoch=0)
    with pytest.raises(UsageError, match="isn't stepped for each epoch"):
        import_schedule(lrs.ReduceLROnPlateau(optimizer), steps=10, epoch=5)
    with pytest.raises(UsageError, match="stepped for each update"):
        import_schedule({"learning_rate": 0.1, "max_steps": 5}, epoch=5)
