"""What is told of a run's time, and of what it printed."""

from __future__ import annotations

import pytest

from lrfinder.scripts.described import TAIL, last_lines, pauses


@pytest.mark.parametrize(
    ("stepping_s", "pausing_s", "told"),
    [(20.0, 16.0, "80% of the time"), (20.0, 1.0, ""), (2.0, 1.5, ""), (0.0, 0.0, "")],
)
def test_time_that_is_no_training_is_told_if_it_is_much(stepping_s: float, pausing_s: float, told: str) -> None:
    said = pauses({"stepping_s": stepping_s, "pausing_s": pausing_s})
    assert said.startswith(told)
    assert bool(said) == bool(told)


def test_of_a_line_that_is_written_over_its_last_state_is_shown() -> None:
    bar = "".join(f"\r{done}%|###" for done in range(100))
    lines = [f"line {number}" for number in range(100)]
    printed = "\n".join([*lines, bar, "on Windows\r", "a bell \a", ""])
    assert last_lines(printed.encode()).split("\n") == [*lines[3 - TAIL :], "99%|###", "on Windows", "a bell ?"]
