"""On how many batches a short run stands for a whole one, by the number of passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.search.passes import subset_size


@given(per_epoch=st.integers(1, 10**4), steps=st.integers(10, 10**4), times=st.floats(1.01, 100))
def test_the_short_run_passes_over_its_batches_as_often_as_the_whole_one(
    per_epoch: int, steps: int, times: float
) -> None:
    whole = round(steps * times)
    batches = subset_size(per_epoch, steps=steps, whole=whole)
    if whole <= per_epoch or whole <= steps:
        assert batches is None
    else:
        assert 1 <= batches <= per_epoch
        exact = per_epoch * steps / whole  # the batches with which the passes would be the same
        assert batches == pytest.approx(exact, abs=0.5) or exact < 0.5


def test_a_loader_without_a_length_gives_all_that_come() -> None:
    assert subset_size(None, steps=75, whole=400) is None


def test_by_hand() -> None:
    assert subset_size(21, steps=75, whole=400) == 4  # 19 passes over 4 batches; 400 updates are 19 passes over 21
