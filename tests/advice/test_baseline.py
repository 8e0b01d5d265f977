"""Has the band moved? Known bands, beside the noise that they are known with."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.advice.checks.baseline import AGAIN, CHANCE, compare_bands, learns_nothing
from lrfinder.errors import UsageError
from lrfinder.records import Band, OptimizerFacts, SweepResult
from lrfinder.store import load_run

RUN = Path(__file__).parents[1] / "data" / "run-v5-tiny"


@pytest.fixture(scope="module")
def baseline() -> SweepResult:
    return load_run(RUN)


@pytest.fixture(scope="module")
def band(baseline: SweepResult) -> Band:
    found = advise(gather_evidence(baseline), Request()).band
    assert found is not None
    return found


def moved(band: Band, *, low: float = 1.0, high: float = 1.0) -> Band:
    return Band(
        low=band.low * low,
        high=band.high * high,
        low_interval=(band.low_interval[0] * low, band.low_interval[1] * low),
        high_interval=(band.high_interval[0] * high, band.high_interval[1] * high),
    )


def test_the_same_band_has_not_moved(band: Band, baseline: SweepResult) -> None:
    shift = compare_bands(band, baseline, baseline, name="run.json")
    assert shift.moved is False
    assert [it.decades for it in shift.shifts] == [0.0, 0.0]
    assert shift.why == "the trainable band is where it was in run.json, within noise"
    assert shift.warnings == ()


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_end_that_moved_by_more_than_noise_is_named(band: Band, baseline: SweepResult, end: str, sign: int) -> None:
    here = compare_bands(moved(band, **{end: 10.0**sign}), baseline, baseline, name="run.json")
    shift = here.shifts[end == "high"]
    assert shift.decades == pytest.approx(sign)
    assert shift.noise >= CHANCE
    assert here.moved is (shift.noise < 1)
    less = compare_bands(moved(band, **{end: 10.0 ** (sign * 0.95 * shift.noise)}), baseline, baseline, name="r")
    more = compare_bands(moved(band, **{end: 10.0 ** (sign * 1.05 * shift.noise)}), baseline, baseline, name="r")
    assert (less.moved, more.moved) == (False, True)
    assert f"its {'upper' if end == 'high' else 'lower'} end from " in more.why
    assert ("decades up" if sign > 0 else "decades down") in more.why


def test_wider_intervals_leave_more_open(band: Band, baseline: SweepResult) -> None:
    wide = dataclasses.replace(moved(band, low=10.0), low_interval=(band.low / 100, band.low * 1000))
    assert compare_bands(wide, baseline, baseline, name="r").moved is False


def test_without_an_interval_a_whole_decade_is_open(band: Band, baseline: SweepResult) -> None:
    for decades, expected in ((-0.95, False), (-2.0, True)):
        low = dataclasses.replace(moved(band, low=10.0**decades), low_interval=None)
        shift = compare_bands(low, baseline, baseline, name="r")
        assert (shift.moved, shift.shifts[0].noise >= 1) == (expected, True)


def test_another_optimizer_is_another_rate(band: Band, baseline: SweepResult) -> None:
    other = dataclasses.replace(baseline.setup, optimizer=OptimizerFacts(name="Lion", settings={}))
    here = compare_bands(band, dataclasses.replace(baseline, setup=other), baseline, name="run.json")
    assert here.moved is True
    assert here.why.startswith("this is a sweep of Lion at 1 times the rate that is asked for, and run.json was ")


def test_base_rates_that_all_changed_by_one_factor_are_the_same_optimizer(band: Band, baseline: SweepResult) -> None:
    """1e-4 and 1e-3 then, 3e-4 and 3e-3 now: the ratios differ by rounding only."""
    before, now = (
        dataclasses.replace(
            baseline,
            setup=dataclasses.replace(
                baseline.setup, optimizer=OptimizerFacts(name="AdamW", settings={}, group_ratios=ratios)
            ),
        )
        for ratios in ((1e-4 / 1e-3, 1.0), (3e-4 / 3e-3, 1.0))
    )
    assert before.setup.optimizer.group_ratios != now.setup.optimizer.group_ratios
    assert compare_bands(band, now, before, name="run.json").moved is False


def test_other_conditions_are_told(band: Band, baseline: SweepResult) -> None:
    setup = dataclasses.replace(baseline.setup, batch_size=7, loss="other")
    here = compare_bands(band, dataclasses.replace(baseline, setup=setup), baseline, name="r")
    assert here.moved is False
    assert [it.partition(" is ")[0] for it in here.warnings] == ["batch size", "loss"]


def test_a_baseline_without_a_band_is_refused(band: Band, baseline: SweepResult) -> None:
    flat = dataclasses.replace(
        baseline, traces=tuple(dataclasses.replace(it, losses=(1.0,) * len(it.losses)) for it in baseline.traces)
    )
    flat = dataclasses.replace(flat, runs=(), short_sweeps=())
    with pytest.raises(UsageError, match=r"run\.json: no trainable band was found there"):
        compare_bands(band, baseline, flat, name="run.json")


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ((0.5, None), (127.5, None), "the numbers of a batch's tensor 1 are 127.5 in size (median)"),
        ((1.0, 200.0), (1.0, 2.0), "tensor 2 are 2 in size (median), and in run.json they were 200"),
        ((0.5, None), (0.9, None), ""),
        ((0.5, None), (None, None), ""),  # too few to tell
        ((), (127.5,), ""),  # from before this was recorded
    ],
)
def test_numbers_of_another_size_are_other_data(
    band: Band, baseline: SweepResult, before: tuple, now: tuple, told: str
) -> None:
    first, second = (
        dataclasses.replace(baseline, setup=dataclasses.replace(baseline.setup, sizes=sizes)) for sizes in (before, now)
    )
    here = compare_bands(band, second, first, name="run.json")
    assert here.moved is bool(told)
    assert told in here.why
    assert ("normalization" in here.why) is bool(told)


def test_another_first_loss_is_another_task_with_or_without_a_band(band: Band, baseline: SweepResult) -> None:
    def scaled(factor: float) -> SweepResult:
        traces = [dataclasses.replace(it, initial_loss=factor * it.initial_loss) for it in baseline.traces]
        runs = [dataclasses.replace(it, initial_loss=factor * it.initial_loss) for it in baseline.runs]
        return dataclasses.replace(baseline, traces=tuple(traces), runs=tuple(runs))

    for now in (band, None):
        here = compare_bands(now, scaled(100), baseline, name="run.json")
        assert here.moved is True
        assert re.match(r"the loss begins at [\d.]+, and in run\.json it began at [\d.]+", here.why)
    assert compare_bands(band, scaled(1.5), baseline, name="run.json").moved is False
    assert compare_bands(None, scaled(1.5), baseline, name="run.json") is None


def ended(baseline: SweepResult, loss: float, constant: float | None) -> SweepResult:
    runs = [
        dataclasses.replace(run, initial_loss=3.0, loss=loss + 0.1 * number, constant=constant)
        for number, run in enumerate(baseline.runs)
    ]
    return dataclasses.replace(baseline, runs=tuple(runs))


@pytest.mark.parametrize(
    ("before", "now", "constant", "nothing"),
    [
        (1.0, 2.001, 2.0, True),
        (1.0, 1.96, 2.0, True),  # a twentieth of the gain would be 1.95
        (1.0, 1.94, 2.0, False),
        (1.97, 2.1, 2.0, False),  # the baseline learned next to nothing itself
        (1.0, 2.95, None, True),  # measured from the loss before any update, 3
        (1.0, 2.5, None, False),
    ],
)
def test_nothing_learned_counts_if_three_sweeps_show_it(
    band: Band, baseline: SweepResult, before: float, now: float, constant: float | None, nothing: bool
) -> None:
    old, new = ended(baseline, before, constant), ended(baseline, now, constant)
    others = [ended(baseline, now + 0.5, constant)] * AGAIN
    assert learns_nothing(new, old) is nothing
    shift = compare_bands(band, new, old, name="r", others=others)
    assert shift.moved is nothing
    assert ("nothing is learned any more: in r the best trial run ended" in shift.why) is nothing
    learned = [*others[1:], ended(baseline, before, constant)]
    for few in ((), others[1:], learned):  # one seed, or two, may be chance
        assert compare_bands(band, new, old, name="r", others=few).moved is False
        assert compare_bands(None, new, old, name="r", others=few) is None


def test_trial_runs_of_another_length_or_kind_are_not_compared(baseline: SweepResult) -> None:
    old, new = ended(baseline, 1.0, 2.0), ended(baseline, 2.1, 2.0)
    longer = dataclasses.replace(old, settings=dataclasses.replace(old.settings, run_steps=300))
    other = dataclasses.replace(old, runs=tuple(dataclasses.replace(run, metric="train") for run in old.runs))
    assert [learns_nothing(new, one) for one in (old, longer, other)] == [True, False, False]
