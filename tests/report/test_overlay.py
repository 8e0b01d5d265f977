from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len

from helpers.answers import answer_of
from lrfinder.advice.comparison import compare_answers
from lrfinder.report.overlay import SHARE_HIGH, SHARE_LOW, Overlay, overlay_of, overlay_png, overlay_text

Named = Callable[[str], Any]


def overlay(named: Named, *names: str) -> Overlay:
    return overlay_of(compare_answers([answer_of(named(name), name=name) for name in names]))


SETS = [("digits", "nan_tail"), ("digits", "huge", "never_fell", "linear"), ("nothing_finite", "nothing_finite")]


@pytest.mark.parametrize("names", SETS)
@pytest.mark.parametrize(("width", "height"), [(40, 20), (120, 30)])
def test_the_plot_obeys_its_size_and_its_encoding(
    named: Named, names: tuple[str, ...], width: int, height: int
) -> None:
    for encoding in ("utf-8", "ascii"):
        text = overlay_text(overlay(named, *names), width=width, height=height, color=False, encoding=encoding)
        assert "\x1b" not in text
        assert encoding == "utf-8" or text.isascii()
        assert max(map(cell_len, text.splitlines())) <= width
        assert len(text.splitlines()) <= height
        assert names[0] == "nothing_finite" or f"{names[0]}: use 0.0042 (confident)" in text


def test_many_runs_are_told_apart_by_letters(named: Named) -> None:
    answers = [answer_of(named("digits"), name=f"run {i}") for i in range(25)]
    lines = overlay_text(
        overlay_of(compare_answers(answers)), width=80, height=20, color=True, encoding="utf-8"
    ).splitlines()  # fmt: skip
    letters = [re.sub(r"\x1b\[[0-9;]*m", "", part)[0] for part in re.split("  ", "  ".join(lines)) if ": use" in part]
    assert len(set(letters)) == 25


def test_curves_that_may_not_be_compared_are_shares_of_their_own_fall(named: Named) -> None:
    losses = overlay(named, "digits", "nan_tail")
    assert not losses.shares
    assert losses.lines[0].losses == named("digits").fit.losses
    digits = named("digits")
    other = dataclasses.replace(digits.result.setup, loss="mean squared error")
    huge = dataclasses.replace(named("huge"), result=dataclasses.replace(named("huge").result, setup=other))
    shares = overlay_of(compare_answers([answer_of(digits), answer_of(huge), answer_of(named("never_fell"))]))
    assert shares.shares
    assert shares.window is not None
    assert (shares.window.loss_low, shares.window.loss_high) == (SHARE_LOW, SHARE_HIGH)
    for line, chart in zip(shares.lines, (digits, huge), strict=False):
        assert min(line.losses) == 0
        assert line.losses[0] == pytest.approx(1, abs=0.1)
        span = chart.fit.start - min(chart.fit.losses)
        assert line.losses[50] * span + min(chart.fit.losses) == pytest.approx(chart.fit.losses[50])
    assert min(shares.lines[2].losses) > 0.9  # noise is no fall


@pytest.mark.parametrize("names", SETS[1:])
def test_the_png_has_its_size_and_is_the_same_each_time(named: Named, names: tuple[str, ...]) -> None:
    png = overlay_png(overlay(named, *names))
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.size == (800, 500)
    assert overlay_png(overlay(named, *names)) == png
    found = {color for _, color in image.getcolors(maxcolors=10**6)}
    assert names[0] == "nothing_finite" or {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= found
