from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.report.lanes import Place, places

# Rates that look the same share a label, so ticks lie apart; twelve labels of up to 150 pixels fill a strip of 700.
ANYWHERE = st.lists(st.tuples(st.integers(0, 700), st.floats(10, 150)), max_size=12, unique_by=lambda p: p[0])
INSIDE = st.lists(st.tuples(st.integers(150, 550), st.floats(10, 150)), max_size=12, unique_by=lambda p: p[0])
Labels = list[tuple[int, float]]


def placed(labels: Labels) -> tuple[tuple[Place, ...], list[tuple[float, float]]]:
    """The places, and the span of each label."""
    labels = sorted(labels)
    found = places([float(x) for x, _ in labels], [w for _, w in labels], left=0, right=700, gap=5)
    spans = [(x, x + w) if at.rightward else (x - w, x) for (x, w), at in zip(labels, found, strict=True)]
    return found, [(float(low), float(high)) for low, high in spans]


@given(ANYWHERE)
def test_no_two_labels_of_a_lane_meet_and_none_sticks_out(labels: Labels) -> None:
    found, spans = placed(labels)
    for i, (low, high) in enumerate(spans):
        assert 0 <= low < high <= 700
        for j, (other_low, other_high) in enumerate(spans):
            assert i == j or found[i].lane != found[j].lane or high <= other_low or other_high <= low


@given(INSIDE)
def test_no_leader_crosses_a_label(labels: Labels) -> None:
    found, spans = placed(labels)
    for i, (low, high) in enumerate(spans):
        for j, (tick, _) in enumerate(sorted(labels)):
            passes = found[j].lane > found[i].lane  # on its way down to its own label
            assert not (passes and low < tick < high)


@given(INSIDE)
def test_half_as_many_lanes_as_labels_and_one_more_are_enough(labels: Labels) -> None:
    found, _ = placed(labels)
    assert max((place.lane for place in found), default=0) <= len(labels) / 2


def test_labels_at_the_edges_run_inward() -> None:
    first, last = places([10.0, 690.0], [100.0, 100.0], left=0, right=700, gap=5)
    assert (first, last) == (Place(lane=0, rightward=True), Place(lane=0, rightward=False))


def test_labels_with_room_share_the_first_lane() -> None:
    assert {place.lane for place in places([100.0, 300.0, 500.0], [80.0] * 3, left=0, right=700, gap=5)} == {0}


def test_labels_as_wide_as_the_strip_get_lanes_of_their_own() -> None:
    found = places([10.0, 90.0], [85.0, 85.0], left=0, right=100, gap=1)
    assert [place.lane for place in found] == [0, 1]


def test_falling_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="positions must not fall"):
        places([2.0, 1.0], [1.0, 1.0], left=0, right=9, gap=1)
