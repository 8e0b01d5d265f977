"""The shapes of the literature against torch, transformers, exact arithmetic and the sources' own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import lr_scheduler as torch_schedulers
from transformers import optimization

from lrfinder.schedules import (
    SCHEDULES,
    CosineRestarts,
    Cyclical,
    Exponential,
    Geometric,
    InverseSqrt,
    MultiStep,
    Noam,
    OneCycle,
    Polynomial,
    Rex,
    Schedule,
    TimeBased,
    WarmupStableDecay,
)

PEAK = 0.3
LENGTHS = [1, 2, 3, 7, 12, 97]


def rates_of(make: Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler], updates: int) -> list[float]:
    """Run a torch scheduler and record the rate that each update uses."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for step in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step + 1 < updates:  # some of torch's raise past their end
            scheduler.step()
    return rates


def same(schedule: Schedule, make: Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler]) -> None:
    ours = [PEAK * schedule.factor(t) for t in range(schedule.steps)]
    assert ours == pytest.approx(rates_of(make, schedule.steps), rel=1e-9, abs=1e-9 * PEAK)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("milestones", [(1,), (3, 5), (2, 2, 9), (50,)])
def test_multi_step_is_torchs(steps: int, milestones: tuple[int, ...]) -> None:
    same(
        MultiStep(steps=steps, milestones=milestones, factor=0.25),
        lambda o: torch_schedulers.MultiStepLR(o, list(milestones), gamma=0.25),
    )


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize(("factor", "every"), [(0.5, 1), (0.96, 10), (1.0, 3)])
def test_exponential_is_torchs(steps: int, factor: float, every: int) -> None:
    gamma = factor ** (1 / every)
    same(Exponential(steps=steps, factor=factor, every=every), lambda o: torch_schedulers.ExponentialLR(o, gamma))
    same(
        Exponential(steps=steps, factor=factor, every=every, staircase=True),
        lambda o: torch_schedulers.StepLR(o, every, gamma=factor),
    )


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("power", [0.5, 0.9, 1.0, 2.0])
@pytest.mark.parametrize("over", [None, 5])
def test_polynomial_is_torchs(steps: int, power: float, over: int | None) -> None:
    same(
        Polynomial(steps=steps, power=power, over=over),
        lambda o: torch_schedulers.PolynomialLR(o, total_iters=over or steps, power=power),
    )


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_polynomial_is_transformers(warmup: int) -> None:
    """Theirs begins the warm-up at 0, one update earlier than ours; the decay is the same."""
    schedule = Polynomial(steps=20, warmup=warmup, power=2.0, final=0.1)
    theirs = rates_of(
        lambda o: optimization.get_polynomial_decay_schedule_with_warmup(o, warmup, 20, lr_end=0.1 * PEAK, power=2.0),
        20,
    )
    assert [PEAK * schedule.factor(t) for t in range(warmup, 20)] == pytest.approx(theirs[warmup:], rel=1e-9)


def test_polynomial_cycles_as_tensorflow_documents() -> None:
    cycling = Polynomial(steps=10, over=4, cycle=True)
    assert [cycling.factor(t) for t in range(7)] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0.375, 0.25])


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize(("first", "growth"), [(1, 1), (5, 1), (3, 2), (2, 3), (100, 2)])
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_restarts_are_torchs(steps: int, first: int, growth: int, final: float) -> None:
    same(
        CosineRestarts(steps=steps, first=first, growth=float(growth), final=final),
        lambda o: torch_schedulers.CosineAnnealingWarmRestarts(o, first, growth, eta_min=final * PEAK),
    )


def test_cosine_restarts_shrink() -> None:
    waves = CosineRestarts(steps=40, first=10, growth=1.0, shrink=0.5)
    assert [waves.factor(t) for t in (0, 10, 20, 30)] == [1.0, 0.5, 0.25, 0.125]
    assert waves.factor(15) == pytest.approx(0.25)


@given(st.integers(1, 50), st.floats(1, 3), st.integers(1, 3000))
def test_cycles_follow_each_other_without_a_gap(first: int, growth: float, steps: int) -> None:
    """By adding up the lengths of the cycles, as a reader of the paper would."""
    schedule = CosineRestarts(steps=steps, first=first, growth=growth)
    start, length = 0.0, float(first)
    u = steps - 1
    while start + length <= u + 1e-6:
        start, length = start + length, length * growth
    expected = (1 + math.cos(math.pi * (u - start) / length)) / 2
    assert schedule.factor(u) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("steps", [2, 4, 5, 10, 11, 30, 97, 1000])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("rise", [0.3, 0.5])
def test_one_cycle_is_torchs(steps: int, anneal: str, rise: float) -> None:
    if rise * steps == 1:
        pytest.skip("torch divides by zero there")
    same(
        OneCycle(steps=steps, rise=rise, anneal=anneal),
        lambda o: torch_schedulers.OneCycleLR(
            o, PEAK, total_steps=steps, pct_start=rise, anneal_strategy=anneal, cycle_momentum=False
        ),
    )


def test_one_cycle_begins_at_the_peak_where_the_rise_has_no_room() -> None:
    assert OneCycle(steps=2, rise=0.5).factor(0) == 1.0


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize(("up", "down"), [(1, None), (4, None), (3, 5)])
@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp-range"])
def test_cyclical_is_torchs(steps: int, up: int, down: int | None, mode: str) -> None:
    gamma = 0.99 if mode == "exp-range" else 1.0
    same(
        Cyclical(steps=steps, up=up, down=down, base=0.2, mode=mode, gamma=gamma),
        lambda o: torch_schedulers.CyclicLR(
            o, 0.2 * PEAK, PEAK, up, down, mode=mode.replace("-", "_"), gamma=gamma, cycle_momentum=False
        ),
    )


@pytest.mark.parametrize(("warmup", "timescale"), [(0, None), (0, 7), (5, None), (5, 30)])
def test_inverse_sqrt_is_transformers(warmup: int, timescale: int | None) -> None:
    schedule = InverseSqrt(steps=60, warmup=warmup, timescale=timescale)
    theirs = rates_of(lambda o: optimization.get_inverse_sqrt_schedule(o, warmup, timescale), 60)
    assert [PEAK * schedule.factor(t) for t in range(warmup, 60)] == pytest.approx(theirs[warmup:], rel=1e-9)


@pytest.mark.parametrize("warmup", [1, 4, 40])
def test_noam_is_the_published_formula_over_its_peak(warmup: int) -> None:
    width = 512
    schedule = Noam(steps=200, warmup=warmup)
    published = [width**-0.5 * min(s**-0.5, s * warmup**-1.5) for s in range(1, 201)]
    peak = (width * warmup) ** -0.5
    assert [peak * schedule.factor(t) for t in range(200)] == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(("shape", "theirs"), [("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "1-sqrt")])
@pytest.mark.parametrize(("warmup", "cooldown"), [(0, 4), (4, 4), (4, 8), (4, 1)])
def test_wsd_is_transformers(shape: str, theirs: str, warmup: int, cooldown: int) -> None:
    schedule = WarmupStableDecay(steps=12, warmup=warmup, cooldown=cooldown, shape=shape, final=0.1)
    rates = rates_of(
        lambda o: optimization.get_wsd_schedule(
            o, warmup, cooldown, num_training_steps=12, decay_type=theirs, min_lr_ratio=0.1
        ),
        12,
    )
    assert [PEAK * schedule.factor(t) for t in range(warmup, 12)] == pytest.approx(rates[warmup:], rel=1e-9)


def test_wsd_without_a_cooldown_is_constant_and_with_a_longer_one_falls_at_once() -> None:
    assert {WarmupStableDecay(steps=9, cooldown=0).factor(t) for t in range(20)} == {1.0}
    assert WarmupStableDecay(steps=8, cooldown=99, shape="linear").factor(2) == pytest.approx(0.75)


def test_rex_by_hand() -> None:
    assert [Rex(steps=4).factor(t) for t in range(6)] == pytest.approx([1, 6 / 7, 2 / 3, 2 / 5, 0, 0])


def test_time_based_by_the_worked_example() -> None:
    compounded = TimeBased(steps=10, rate=0.001, compounded=True)
    assert [round(0.1 * compounded.factor(t), 4) for t in range(5)] == [0.1, 0.0999, 0.0997, 0.0994, 0.0990]
    plain = TimeBased(steps=10, rate=0.001)
    assert [round(0.1 * plain.factor(t), 4) for t in range(5)] == [0.1, 0.0999, 0.0998, 0.0997, 0.0996]
    per_epoch = TimeBased(steps=10, rate=0.5, every=3)
    assert [per_epoch.factor(t) for t in range(7)] == pytest.approx([1, 1, 1, 2 / 3, 2 / 3, 2 / 3, 0.5])


@given(st.floats(0, 2), st.integers(0, 3000))
def test_compounding_is_what_a_loop_does(rate: float, n: int) -> None:
    lr = 1.0
    for i in range(1, n + 1):
        lr /= 1 + rate * i
    assert TimeBased(steps=5000, rate=rate, compounded=True).factor(n) == pytest.approx(lr, abs=1e-9)


@pytest.mark.parametrize(("rate", "n"), [(1e-9, 40_000), (1e-12, 1_000_000), (1e-6, 3000), (1e-5, 500_000)])
def test_compounding_over_long_runs(rate: float, n: int) -> None:
    expected = math.exp(-math.fsum(math.log1p(rate * i) for i in range(1, n + 1)))
    assert TimeBased(steps=n + 1, rate=rate, compounded=True).factor(n) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("steps", "phases"), [(1, 1), (2, 1), (4, 2), (7, 2), (8, 3), (1000, 9), (1024, 10)])
def test_geometric_halves_as_often_as_the_logarithm_says(steps: int, phases: int) -> None:
    schedule = Geometric(steps=steps)
    rates = [schedule.factor(t) for t in range(steps)]
    assert sorted(set(rates), reverse=True) == [0.5**i for i in range(phases)]
    lengths = [rates.count(rate) for rate in set(rates)]
    assert max(lengths) - min(lengths) <= 1
    assert Geometric(steps=steps, halved_first=True).factor(0) == 0.5


@pytest.mark.parametrize("name", ["one-cycle", "cyclical", "slanted-triangular"])
def test_what_rises_itself_takes_no_warmup(name: str) -> None:
    assert SCHEDULES[name].for_run(steps=100, warmup=10).warmup == 0
    with pytest.raises(ValidationError, match="has a rise of its own"):
        SCHEDULES[name](steps=100, warmup=10, **({"up": 5} if name == "cyclical" else {}))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("multi-step", {"milestones": [3, 2], "factor": 0.5}),
        ("multi-step", {"milestones": [], "factor": 0.5}),
        ("multi-step", {"milestones": [0], "factor": 0.5}),
        ("polynomial", {"power": 0.0}),
        ("polynomial", {"over": 0}),
        ("cosine-restarts", {"first": 0}),
        ("cosine-restarts", {"first": 3, "growth": 0.5}),
        ("one-cycle", {"rise": 0.0}),
        ("one-cycle", {"anneal": "cosine"}),
        ("cyclical", {"up": 3, "mode": "triangular3"}),
        ("time-based", {"rate": -0.1}),
        ("wsd", {"cooldown": -1}),
        ("exponential", {"factor": 1.5}),
        ("k-decay", {"k": 0.0}),
        ("k-decay", {"final": 1.5}),
        ("tanh", {"lower": 0.5}),
        ("tanh", {"lower": -3.0, "upper": -3.0}),
        ("tanh", {"upper": 1e300}),
        ("slanted-triangular", {"rise": 1.0}),
        ("slanted-triangular", {"ratio": 0.5}),
    ],
)
def test_wrong_parameters(name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SCHEDULES[name](steps=10, **wrong)


def test_the_transformers_that_is_compared_with_is_named() -> None:
    assert int(transformers.__version__.split(".")[0]) >= 5
