"""tanh, k-decay and slanted-triangular against pytorch-scheduler, timm and their papers' own formulas."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import pytorch_scheduler
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.matrix import FRAMEWORKS
from helpers.zygote import Zygote
from lrfinder.schedules import Cosine, KDecay, Linear, Schedule, SlantedTriangular, Tanh

PEAK = 0.3
LENGTHS = [1, 2, 3, 7, 12, 97]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def rates(schedule: Schedule, peak: float = PEAK, *, updates: int | None = None) -> list[float]:
    return [peak * schedule.factor(t) for t in range(updates or schedule.steps)]


def pytorch_schedulers(name: str, updates: int, **arguments: Any) -> list[float]:
    """The rates that each update uses, also past the end."""
    made = optimizer()
    scheduler = getattr(pytorch_scheduler, name)(made, **arguments)
    used = []
    for _ in range(updates):
        used.append(float(made.param_groups[0]["lr"]))
        made.step()
        scheduler.step()
    return used


K_DECAYS = [(steps, k, final) for steps in LENGTHS for k in (0.5, 1.0, 2.0, 3.5) for final in (0.0, 0.1)]
TANHS = [(n, lower, upper) for n in LENGTHS for lower, upper in [(-6.0, 3.0), (-7.0, 3.0), (-1.0, 2.0), (0.0, 0.5)]]


@pytest.fixture(scope="module")
def timms(zygote: Zygote) -> dict[Any, list[float]]:
    """The rates that each update uses in timm, in a process of its own: it is installed without what it imports."""
    calls = {
        ("k-decay", *it): f"CosineLRScheduler(it, {it[0]}, lr_min={it[2]} * it.defaults['lr'], k_decay={it[1]}"
        for it in K_DECAYS
    }
    calls |= {("tanh", *it): f"TanhLRScheduler(it, {it[0]}, lb={it[1]}, ub={it[2]}" for it in TANHS}
    text = "import timm.scheduler\n\ndef make_scheduler(it):\n    it.defaults['lr'] = it.param_groups[0]['lr']\n"
    jobs = [
        {"target": "timm", "text": f"{text}    return timm.scheduler.{call}, t_in_epochs=False)\n", "steps": key[1]}
        for key, call in calls.items()
    ]
    runs = json.loads(zygote.python(FRAMEWORKS, given=json.dumps(jobs)).splitlines()[-1])
    return {key: [rates[0] for rates in run] for key, run in zip(calls, runs, strict=True)}


@pytest.mark.parametrize(("steps", "k", "final"), K_DECAYS)
def test_k_decay_is_theirs(timms: dict[Any, list[float]], steps: int, k: float, final: float) -> None:
    ours = KDecay(steps=steps, k=k, final=final)
    theirs = pytorch_schedulers("KDecayScheduler", steps + 3, total_steps=steps, k=k, min_lr=final * PEAK)
    assert rates(ours, updates=steps + 3) == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    other = timms["k-decay", steps, k, final]
    assert rates(ours, other[0]) == pytest.approx(other, rel=1e-9)


@given(st.integers(1, 200), st.floats(0, 1))
def test_k_decay_of_1_is_cosine(steps: int, final: float) -> None:
    assert rates(KDecay(steps=steps, k=1.0, final=final)) == rates(Cosine(steps=steps, final=final))


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("steepness", [1.0, 3.0, 8.0])
def test_tanh_is_pytorch_schedulers_over_its_first_rate(steps: int, steepness: float) -> None:
    """Theirs ends with an update at 0 past the end, where the formula's own value is held here."""
    ours = Tanh(steps=steps, lower=-steepness, upper=steepness)
    theirs = pytorch_schedulers("TanhDecayScheduler", steps, total_steps=steps, steepness=steepness)
    assert rates(ours, theirs[0]) == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("steps", "lower", "upper"), TANHS)
def test_tanh_is_timms_over_its_first_rate(
    timms: dict[Any, list[float]], steps: int, lower: float, upper: float
) -> None:
    """timm's first update is at the peak, whatever its formula says there."""
    ours = Tanh(steps=steps, lower=lower, upper=upper)
    theirs = timms["tanh", steps, lower, upper]
    first = theirs[0] * (1 - math.tanh(lower)) / 2
    assert rates(ours, first)[1:] == pytest.approx(theirs[1:], rel=1e-9, abs=1e-15)


def test_tanh_is_the_papers_formula_and_near_it_by_default() -> None:
    published = [0.5 * (1 - math.tanh(-6 + 9 * t / 90)) for t in range(91)]
    ours = [Tanh(steps=90).factor(t) for t in range(91)]
    assert ours[0] == 1.0
    assert ours == pytest.approx(published, abs=6.2e-6)
    assert ours[60] == pytest.approx(0.5, abs=1e-5)
    assert ours[90] == pytest.approx(0.00247, abs=1e-5)
    floored = Tanh(steps=90, floor=0.2)
    assert [floored.factor(t) for t in range(91)] == pytest.approx([0.2 + 0.8 * share for share in ours])


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("rise", [0.1, 0.25, 0.5, 0.37])
@pytest.mark.parametrize("ratio", [1.0, 10.0, 32.0])
def test_slanted_triangular_is_theirs(steps: int, rise: float, ratio: float) -> None:
    ours = SlantedTriangular(steps=steps, rise=rise, ratio=ratio)
    theirs = pytorch_schedulers("SlantedTriangularScheduler", steps + 3, total_steps=steps, cut_frac=rise, ratio=ratio)
    if ours.cut == 0:
        theirs[0] = PEAK  # theirs begins below a peak that it never reaches
    assert rates(ours, updates=steps + 3) == pytest.approx(theirs, rel=1e-12)


def test_slanted_triangular_is_the_papers_formula() -> None:
    steps, cut_frac, ratio = 1000, 0.1, 32
    cut = math.floor(steps * cut_frac)

    def published(t: int) -> float:
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        return (1 + p * (ratio - 1)) / ratio

    assert rates(SlantedTriangular(steps=steps), 1.0) == pytest.approx([published(t) for t in range(steps)], rel=1e-9)


@given(st.integers(1, 300), st.floats(0, 1, exclude_max=True), st.floats(1, 100))
def test_slanted_triangular_is_linear_with_a_warmup(steps: int, rise: float, ratio: float) -> None:
    ours = SlantedTriangular(steps=steps, rise=rise, ratio=ratio)
    start = {"warmup_start": 1 / ratio} if ours.cut else {}
    same = Linear(steps=steps, warmup=ours.cut, final=1 / ratio, **start)
    assert rates(ours, 1.0, updates=steps + 2) == pytest.approx(rates(same, 1.0, updates=steps + 2), rel=1e-12)


def test_a_cut_that_is_whole_but_for_rounding() -> None:
    assert 0.29 * 100 < 29
    assert SlantedTriangular(steps=100, rise=0.29).cut == 29
