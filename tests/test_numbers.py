from __future__ import annotations

import ast
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.formatting import (
    decade,
    format_bytes,
    format_count,
    format_duration,
    format_factor,
    format_interval,
    format_loss,
    format_lr,
    quoted,
)

RATES = [
    (0.0031, "0.0031"),
    (0.178, "0.178"),
    (5.6, "5.6"),
    (12.0, "12"),
    (3.1e-5, "3.1e-05"),
    (1e-6, "1e-06"),
    (0.001, "0.001"),
    (0.00099996, "0.001"),
    (0.0009994, "9.99e-04"),
    (0.1 + 0.2, "0.3"),
    (999.96, "1000"),
    (1000.0, "1000"),
    (1234.0, "1.23e+03"),
    (100.0, "100"),
    (0.0, "0"),
    (-0.0, "0"),
    (math.inf, "inf"),
    (math.nan, "nan"),
]
LOSSES = [
    (2.302585, "2.303"),
    (0.3, "0.3"),
    (48210.0, "48210"),
    (123456.0, "123500"),
    (-1.25, "-1.25"),
    (1.23e-5, "1.23e-05"),
    (2.5e7, "2.5e+07"),
    (-math.inf, "-inf"),
]
DURATIONS = [
    (0.0, "0.0 s"),
    (0.84, "0.8 s"),
    (9.94, "9.9 s"),
    (9.96, "10 s"),
    (59.4, "59 s"),
    (59.6, "1 min 00 s"),
    (185.0, "3 min 05 s"),
    (3599.6, "1 h 00 min"),
    (7380.0, "2 h 03 min"),
]


@pytest.mark.parametrize(("value", "text"), RATES)
def test_rate_as_it_is_written(value: float, text: str) -> None:
    assert format_lr(value) == text


@pytest.mark.parametrize(("value", "text"), LOSSES)
def test_loss_as_it_is_written(value: float, text: str) -> None:
    assert format_loss(value) == text


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_duration_as_it_is_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_duration_refuses_what_is_no_span_of_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
        format_duration(seconds)


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_a_written_rate_reads_back_within_half_a_unit_of_its_third_digit(value: float) -> None:
    text = format_lr(value)
    assert math.isclose(float(text), value, rel_tol=0.0051)
    assert text.isascii()
    assert len(text) <= 8
    assert ("e" in text) == (not 0.001 <= float(text) <= 1000)
    assert not re.search(r"\.\d*0(e|$)", text), "trailing zeros say nothing"


@given(st.floats(min_value=-1e30, max_value=1e30).filter(lambda x: x == 0 or abs(x) > 1e-30))
def test_a_written_loss_reads_back_within_half_a_unit_of_its_fourth_digit(value: float) -> None:
    assert math.isclose(float(format_loss(value)), value, rel_tol=0.00051)


def test_interval_decade_count_and_movement() -> None:
    assert format_interval(0.0011, 0.0084) == "0.0011 to 0.0084"
    assert [decade(-4), decade(0)] == ["1e-4", "1e0"]
    assert [format_count(1, "repeat"), format_count(3, "repeat")] == ["1 repeat", "3 repeats"]
    assert [format_factor(0.15052), format_factor(-0.30103), format_factor(0.0)] == [  # by hand: sqrt(2), 1/2
        "up by a factor of 1.41",
        "down by a factor of 2.00",
        "up by a factor of 1.00",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (2**44, "16.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.text())
def test_a_quoted_text_is_that_text_in_python_on_one_line(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert len(quoted(text).splitlines()) == 1


def test_a_quoted_text_stays_readable() -> None:
    assert quoted("modèle \N{GRINNING FACE}/学習.yaml") == '"modèle \N{GRINNING FACE}/学習.yaml"'
