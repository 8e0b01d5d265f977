from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import plotext
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color

from lrfinder.records import Status
from lrfinder.report.terminal_plot import terminal_plot
from lrfinder.report.ticks import round_ticks

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def plot(curve: Any, width: int = 80, height: int = 24, **options: Any) -> str:
    return terminal_plot(curve, width=width, height=height, **options)


@pytest.mark.parametrize(("width", "height"), [(40, 14), (80, 24), (120, 40), (233, 60)])
def test_width_and_height_are_obeyed(curve: Any, width: int, height: int) -> None:
    for encoding in ("utf-8", "ascii"):
        lines = plot(curve, width, height, color=False, encoding=encoding).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert len(lines) <= height


def test_without_color_there_is_no_escape_code_and_with_it_the_text_is_the_same(curve: Any) -> None:
    plain, colored = plot(curve, color=False), plot(curve, color=True)
    assert "\x1b" not in plain
    stripped = "\n".join(line.rstrip() for line in ESCAPE.sub("", colored).splitlines())
    assert stripped == "\n".join(line.rstrip() for line in plain.splitlines())


def test_an_output_that_is_not_utf8_gets_ascii(curve: Any) -> None:
    for encoding in ("ascii", "latin-1", "cp1252"):
        assert plot(curve, color=False, encoding=encoding).isascii()
    assert plot(curve, encoding="ascii").isascii()


def axis(lines: list[str]) -> tuple[list[int], list[str], int]:
    """The columns of the ticks on the axis of rates, their labels, and the line of the axis."""
    row = next(i for i, line in enumerate(lines) if "└" in line)
    return [i for i, letter in enumerate(lines[row]) if letter == "┬"], lines[row + 1].split(), row


@pytest.mark.parametrize("name", ["digits", "sgd", "huge"])
def test_the_pick_stands_where_the_ticks_say(named: Callable[[str], Any], name: str) -> None:
    curve = named(name)
    lines = plot(curve, 120, 30, color=False).splitlines()
    ticks, labels, row = axis(lines)
    assert len(ticks) == len(labels) >= 5
    # Every line of the plot has the pick's bar, and nothing else is drawn with that character but the frame.
    columns = {i for line in lines[1:row] for i, letter in enumerate(line) if letter == "│"}
    column = (columns - {min(columns)}).pop()
    expected = np.interp(math.log10(curve.picks[0].lr), [math.log10(float(label)) for label in labels], ticks)
    assert abs(column - expected) <= 1
    assert len(columns) == 2


def test_the_band_spans_its_rates(digits: Any) -> None:
    lines = plot(digits, 120, 30, color=False).splitlines()
    ticks, labels, row = axis(lines)
    bar = [i for i, letter in enumerate(lines[row - 1]) if letter == "━"]
    at = np.interp(np.log10([digits.band.low, digits.band.high]), [math.log10(float(label)) for label in labels], ticks)
    assert abs(bar[0] - at[0]) <= 1
    assert abs(bar[-1] - at[1]) <= 1


def test_the_explosion_does_not_flatten_the_curve(digits: Any) -> None:
    lines = plot(digits, 80, 24, color=False, encoding="ascii").splitlines()
    rows = [i for i, line in enumerate(lines) if "*" in line and not line.startswith(("|", "*", "="))]
    assert max(rows) - min(rows) >= 10
    assert "^" in lines[1]


def test_non_finite_losses_are_marked(named: Callable[[str], Any]) -> None:
    text = plot(named("nan_tail"), color=False)
    assert "x" in text.splitlines()[1]
    assert "x not finite" in text


def test_the_key_names_pick_band_and_lowest(digits: Any) -> None:
    text = plot(digits, color=False)
    assert "│ use 0.0042 (confident), between 0.00262 and 0.00672" in text
    assert "━ trains between 7e-04 and 0.11" in text
    assert "o lowest" in text


def test_an_uncertain_rate_has_a_mark_of_its_own(digits: Any) -> None:
    first, *others = digits.picks
    doubtful = replace(digits, picks=(replace(first, status=Status.UNCERTAIN), *others))
    assert "┊ use 0.0042 (uncertain)" in plot(doubtful, color=False)
    assert ": use 0.0042 (uncertain)" in plot(doubtful, color=False, encoding="ascii")


def test_a_long_title_is_broken_and_not_cut(digits: Any) -> None:
    result = replace(digits.result, setup=replace(digits.result.setup, model="a_model_with_a_name", cached_batches=128))
    title = "a_model_with_a_name, AdamW 3 repeats x 100 updates on 128 cached batches, batch size 64, cpu"
    assert len(title) > 80
    assert " ".join(plot(replace(digits, result=result), color=False).split()).startswith(title)


def luminance(rgb: tuple[int, int, int]) -> float:
    """The relative luminance of WCAG 2.1."""
    shares = [value / 255 for value in rgb]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_color_can_be_read_on_a_light_and_on_a_dark_terminal(curve: Any) -> None:
    numbers = {int(number) for number in re.findall(r"\x1b\[(?:\d+;)*?38;5;(\d+)", plot(curve, color=True))}
    assert numbers or curve.result.traces[0].initial_loss is None
    for number in numbers:
        assert number >= 16, "the first 16 look different on every terminal"
        own = luminance(Color.from_ansi(number).get_truecolor())
        assert 1.05 / (own + 0.05) >= 3, number
        assert (own + 0.05) / 0.05 >= 3, number


def test_a_refusal_is_told_with_its_reason(named: Callable[[str], Any]) -> None:
    text = " ".join(plot(named("never_fell"), color=False).split())
    assert "No rate recommended: the loss never fell below where it began" in text
    nothing = plot(named("nothing_finite"), color=False)
    assert nothing.endswith("No finite loss was measured.")


def test_a_linear_sweep_has_a_linear_axis(named: Callable[[str], Any]) -> None:
    ticks, labels, _ = axis(plot(named("linear"), 100, 24, color=False).splitlines())
    steps = {round(b - a, 6) for a, b in pairwise(map(float, labels))}
    assert len(steps) == 1
    assert max(b - a for a, b in pairwise(ticks)) - min(b - a for a, b in pairwise(ticks)) <= 1


def test_under_a_decade_the_ticks_are_round_rates(digits: Any) -> None:
    traces = tuple(replace(t, lrs=t.lrs[:9], losses=t.losses[:9]) for t in digits.result.traces)
    curve = replace(digits, result=replace(digits.result, traces=traces), fit=None, picks=(), band=None, chosen=None)
    _, labels, _ = axis(plot(curve, color=False).splitlines())
    assert len(labels) >= 2
    assert all(1e-6 <= float(label) <= 5e-6 for label in labels)


def test_calls_leave_nothing_behind_and_do_not_touch_plotexts_own_figure(digits: Any) -> None:
    plotext.figure.clear()
    plotext.figure.plot_size(30, 10)
    plotext.figure.draw(plotext.figure.signal([1, 2, 3], [1, 2, 3], marker="o"))
    theirs = plotext.figure.build().string()
    first = plot(digits, 60, 20)
    other = plot(digits, 100, 30)
    assert plot(digits, 60, 20) == first != other
    assert plotext.figure.build().string() == theirs
    plotext.figure.clear()


def test_two_threads_draw_at_the_same_time(digits: Any) -> None:
    expected = [plot(digits, width) for width in (60, 90)]
    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda w=w: found.update({w: plot(digits, w)})) for w in (60, 90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[60], found[90]] == expected


@pytest.mark.parametrize(("width", "height"), [(39, 24), (80, 13)])
def test_a_plot_too_small_to_read_is_refused(digits: Any, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"at least 40 x 14 characters, got {width} x {height}"):
        plot(digits, width, height)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(3, 12))
def test_round_ticks_are_few_evenly_spaced_and_inside(low: float, span: float, most: int) -> None:
    high = low + span * max(1.0, abs(low))
    ticks = round_ticks(low, high, most=most)
    assert 1 <= len(ticks) <= most
    slack = 1e-9 * (high - low)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    if len(ticks) > 1:
        steps = np.diff(ticks)
        assert np.allclose(steps, steps[0], rtol=1e-6, atol=1e-9)
        mantissa = float(f"{steps[0]:.6e}".split("e")[0])
        assert round(mantissa, 3) in {1.0, 2.0, 5.0}
