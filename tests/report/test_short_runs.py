"""Trial runs as people see them: a diamond each in the figure and the terminal, also without a curve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.cells import cell_len

from helpers.runs import runs_at
from lrfinder.records import RUN_STEPS, Chart, Mode, SweepResult
from lrfinder.report.figure import curve_png, curve_svg
from lrfinder.report.terminal_plot import terminal_plot

SVG = "{http://www.w3.org/2000/svg}"
XS = (-3.0, -2.5, -2.0, -1.5, 0.5)


def final(x: float) -> float:
    return 0.4 + (x + 2) ** 2 if x < 0 else math.inf  # the last one diverges


def with_runs(result: SweepResult) -> SweepResult:
    return replace(result, runs=runs_at(XS, final))


def group(root: ET.Element, gid: str) -> ET.Element:
    return next(element for element in root.iter(f"{SVG}g") if element.get("id") == gid)


def test_the_figure_has_a_diamond_where_each_run_ended_and_a_caret_where_one_diverged(digits: Any) -> None:
    root = ET.fromstring(curve_svg(replace(digits, result=with_runs(digits.result))))  # noqa: S314 - our own document
    placed = [
        (float(use.get("x", "nan")), float(use.get("y", "nan"))) for use in group(root, "short-runs").iter(f"{SVG}use")
    ]
    assert len(placed) == 4
    steps = [right[0] - left[0] for left, right in itertools.pairwise(placed)]
    assert steps == pytest.approx([steps[0]] * 3, rel=1e-3), "the rates are half a decade apart on a logarithmic axis"
    heights = [final(x) for x in XS[:4]]
    per_loss = (placed[0][1] - placed[2][1]) / (heights[0] - heights[2])
    for (_, y), height in zip(placed, heights, strict=True):
        assert y == pytest.approx(placed[2][1] + per_loss * (height - heights[2]), abs=0.1)
    assert len(list(group(root, "above-short-runs").iter(f"{SVG}use"))) == 1


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "◆"), ("ascii", "#")])
def test_the_terminal_shows_and_explains_them(digits: Any, encoding: str, mark: str) -> None:
    drawn = terminal_plot(
        replace(digits, result=with_runs(digits.result)), width=90, height=26, color=False, encoding=encoding
    )
    assert drawn.count(mark) == 4 + 1, "four runs and the legend"
    assert f"{mark} trial runs of {RUN_STEPS} updates (held-out loss)" in drawn
    assert f"5 trial runs x {RUN_STEPS}" in drawn
    assert max(map(cell_len, drawn.splitlines())) <= 90


def test_a_sweep_of_short_runs_alone_has_a_picture_too(named: Callable[[str], Any]) -> None:
    whole = named("digits").result
    alone = with_runs(replace(whole, traces=(), settings=replace(whole.settings, mode=Mode.RESTART)))
    assert terminal_plot(Chart(result=alone), width=80, height=24, color=False, encoding="utf-8").count("◆") == 5
    assert curve_png(Chart(result=alone)).startswith(b"\x89PNG")
