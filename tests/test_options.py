"""How a repeat ended: every ending has a sentence, and belongs to the groups that decide what follows."""

from __future__ import annotations

from lrfinder.options import STOP_TEXT, Stop

# Written out, so that a new ending has to be thought about here.
ANSWERS = {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE}
ASKED_FOR = {Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME}


def group(name: str) -> set[Stop]:
    return {stop for stop in Stop if getattr(stop, name)}


def test_every_ending_has_a_sentence() -> None:
    assert set(STOP_TEXT) == set(Stop)
    assert len(set(STOP_TEXT.values())) == len(Stop)


def test_the_groups_of_endings() -> None:
    assert group("blew_up") == {Stop.DIVERGED, Stop.NON_FINITE}
    assert group("was_asked_for") == ASKED_FOR
    assert group("cut_short") == set(Stop) - ANSWERS == ASKED_FOR | {Stop.OUT_OF_DATA, Stop.FAILED}
    assert group("worth_repeating") == ASKED_FOR | {Stop.FAILED}  # the same data would run out again
    assert group("ends_the_sweep") == ASKED_FOR | {Stop.OUT_OF_DATA}  # a run that failed says nothing of the next
