"""fastai's formulas alone, on arbitrary curves, against its real functions."""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrfinder.rules.peers.ema import ema_unbiased_float32
from lrfinder.rules.peers.fastai import slide_index, steep_index, valley_index


@pytest.fixture(scope="module")
def schedule() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fastai's import uses torch.jit.script
        warnings.filterwarnings("ignore", message="The 'mode.chained_assignment' option is deprecated")  # and pandas's
        from fastai.callback import schedule
    return schedule


def slide(schedule: ModuleType, lrs: NDArray[np.float32], losses: NDArray[np.float32]) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="__array_wrap__", category=DeprecationWarning
        )  # fastai's, of a tensor
        return schedule.slide(torch.tensor(lrs), torch.tensor(losses), 100)[0]


def geometric(count: int) -> NDArray[np.float32]:
    return np.geomspace(1e-6, 10, count).astype(np.float32)


# Small whole numbers make ties and plateaus, floats make none.
losses_of = st.one_of(
    st.lists(st.integers(-3, 6).map(float), min_size=1, max_size=60),
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=60),
).map(lambda losses: np.asarray(losses, dtype=np.float32))


@given(losses=losses_of)
@settings(max_examples=150, deadline=None)
def test_valley(losses: NDArray[np.float32], schedule: ModuleType) -> None:
    lrs = geometric(losses.size)
    index = valley_index(losses)
    assert index is not None
    assert float(lrs[index]) == schedule.valley(torch.tensor(lrs), torch.tensor(losses), 100)[0]


@given(losses=losses_of)
@settings(max_examples=150, deadline=None)
def test_slide(losses: NDArray[np.float32], schedule: ModuleType) -> None:
    lrs = geometric(losses.size)
    index = slide_index(losses)
    if losses.size <= 15:
        assert index is None
        with pytest.raises((IndexError, ValueError)):
            slide(schedule, lrs, losses)
    else:
        assert index is not None
        assert float(lrs[index]) == slide(schedule, lrs, losses)


def test_slide_goes_down_to_the_first_rate(schedule: ModuleType) -> None:
    losses = np.cumsum(np.arange(40, dtype=np.float32))  # slopes that far apart always differ
    lrs = geometric(40)
    assert slide_index(losses) == 0
    assert slide(schedule, lrs, losses) == float(lrs[0])


@pytest.mark.parametrize("seed", range(20))
def test_steep(seed: int, schedule: ModuleType) -> None:
    rng = np.random.default_rng(seed)
    lrs = np.sort(rng.uniform(1e-6, 1, size=50)).astype(np.float32)
    losses = rng.standard_normal(50).astype(np.float32)
    index = steep_index(lrs.tolist(), losses)
    assert index is not None
    assert float(lrs[index]) == schedule.steep(torch.tensor(lrs), torch.tensor(losses), 100)[0]


def test_steep_with_rates_that_are_equal_in_single_precision(schedule: ModuleType) -> None:
    lrs = [0.1, 0.1 + 1e-12, 0.2, 0.3]
    losses = np.asarray([3, 2, 1, 2], dtype=np.float32)
    index = steep_index(lrs, losses)
    assert index is not None
    assert float(np.float32(lrs[index])) == schedule.steep(torch.tensor(lrs), torch.tensor(losses), 100)[0]


def test_smoothing_has_the_bits_of_fastai() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai.learner import AvgSmoothLoss

    class Batch:
        loss = torch.tensor(0.0)

    losses = np.random.default_rng(4).lognormal(0, 3, size=1000).astype(np.float32)
    average, theirs = AvgSmoothLoss(beta=0.98), []
    for loss in losses:
        Batch.loss = torch.tensor(loss)
        average.accumulate(Batch)
        theirs.append(average.value.item())
    ours = ema_unbiased_float32(losses.tolist(), decay=0.98).tolist()
    # Without AVX, torch.lerp may round its product by itself.
    fused = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    assert ours == (theirs if fused else pytest.approx(theirs, rel=1e-5))
