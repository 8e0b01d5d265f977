from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from helpers.runs import runs_at
from lrfinder.records import Chart, Status
from lrfinder.report.figure import HEAD_BYTES, curve_figure, curve_png, curve_svg, figure_digest, is_drawn
from lrfinder.report.window import points, window_of

SVG = "{http://www.w3.org/2000/svg}"
WITH_A_PICK = ("digits", "nan_tail", "negative", "huge", "one_repeat", "sgd", "many_repeats", "linear")


def png(curve: Any, **options: Any) -> bytes:
    return curve_png(curve, **options)


def svg(curve: Any) -> ET.Element:
    text = curve_svg(curve)
    return ET.fromstring(text)  # noqa: S314 - our own document


def texts(root: ET.Element) -> dict[str, ET.Element]:
    return {str(element.text): element for element in root.iter(f"{SVG}text")}


def vertices(root: ET.Element, gid: str) -> list[tuple[float, float]]:
    """The points of the first path in the group `gid`."""
    group = next(element for element in root.iter(f"{SVG}g") if element.get("id") == gid)
    path = next(group.iter(f"{SVG}path")).get("d") or ""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]


def line(figure: Figure, gid: str) -> Any:
    return next(artist for artist in figure.findobj(match=lambda a: a.get_gid() == gid))


def test_the_png_has_the_size_asked_for_and_the_colors_of_the_parts(digits: Any) -> None:
    for dpi in (100, 200):
        image = Image.open(io.BytesIO(png(digits, dpi=dpi))).convert("RGB")
        assert image.size == (8 * dpi, 5 * dpi)
        found = {color for _, color in image.getcolors(maxcolors=10**6)}
        assert {(0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)} <= found  # the pick's and the fit's
        assert image.getpixel((2, 2)) == (255, 255, 255)


def test_every_curve_gives_a_picture_that_is_not_blank(curve: Any) -> None:
    image = Image.open(io.BytesIO(png(curve))).convert("L")
    assert image.size == (800, 500)
    assert np.asarray(image).std() > 5


@pytest.mark.parametrize("name", WITH_A_PICK)
def test_the_pick_stands_where_the_tick_labels_say(named: Callable[[str], Any], name: str) -> None:
    """The position of the line, read from the SVG alone: between the tick labels around it."""
    curve = named(name)
    root = svg(curve)
    labels = {}
    for element in root.iter(f"{SVG}text"):  # the axis of losses may have a label with the same text
        text = str(element.text)
        if "text-anchor: middle" in (element.get("style") or "") and re.fullmatch(r"[\d.e+-]+", text):
            labels[float(text)] = float(str(element.get("x")))
    rates = sorted(labels)
    assert len(rates) >= 4
    linear = name == "linear"
    scale = (lambda x: x) if linear else math.log10
    expected = np.interp(scale(curve.picks[0].lr), [scale(lr) for lr in rates], [labels[lr] for lr in rates])
    drawn = {round(x, 3) for x, _ in vertices(root, "pick")}
    assert len(drawn) == 1
    assert drawn.pop() == pytest.approx(float(expected), abs=0.05)


@pytest.mark.parametrize("name", WITH_A_PICK)
def test_the_whisker_spans_the_interval_and_the_band_its_rates(named: Callable[[str], Any], name: str) -> None:
    curve = named(name)
    figure = curve_figure(curve)
    axes = figure.axes[0]
    pick = curve.picks[0]
    whisker = line(figure, "interval").get_xdata()
    assert list(whisker) == [pick.low, pick.high]
    root = svg(curve)
    x_of = lambda lr: float(axes.transData.transform((lr, axes.get_ylim()[0]))[0]) * 0.72  # noqa: E731 - px to pt
    assert [x for x, _ in vertices(root, "interval")] == pytest.approx([x_of(pick.low), x_of(pick.high)], abs=0.01)
    edges = {round(x, 2) for x, _ in vertices(root, "band")}
    assert sorted(edges) == pytest.approx([x_of(curve.band.low), x_of(curve.band.high)], abs=0.02)


@pytest.mark.parametrize("name", [name for name in WITH_A_PICK if name != "linear"])
def test_the_rate_to_use_lies_on_the_axis_and_the_lowest_point_on_the_fit(
    named: Callable[[str], Any], name: str
) -> None:
    curve = named(name)
    figure = curve_figure(curve)
    fit, pick = curve.fit, curve.picks[0]
    axes = figure.axes[0]
    figure.canvas.draw()
    point = line(figure, "pick-point").get_window_extent()
    x, y = axes.transData.transform((pick.lr, axes.get_ylim()[0]))
    assert ((point.x0 + point.x1) / 2, (point.y0 + point.y1) / 2) == pytest.approx((x, y), abs=0.5)
    lowest = line(figure, "lowest")
    bottom = int(np.argmin(fit.losses))
    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (fit.lrs[bottom], fit.losses[bottom])


def test_every_measurement_is_drawn_once_as_dot_caret_or_cross(curve: Any) -> None:
    figure = curve_figure(curve)
    window = window_of(curve.result, curve.fit)
    if window is None:
        assert figure.axes[0].lines[:] == []
        return
    drawn: dict[str, int] = {}
    for artist in figure.axes[0].lines:
        kind = re.sub(r"-\d+$", "", str(artist.get_gid()))
        drawn[kind] = drawn.get(kind, 0) + len(artist.get_xdata())
    losses = [point.loss for point in points(curve.result)]
    low, high = window.loss_low, window.loss_high
    assert drawn.get("repeat", 0) == sum(low <= y <= high for y in losses)
    assert drawn.get("above", 0) == sum(high < y < math.inf for y in losses)
    assert drawn.get("below", 0) == sum(-math.inf < y < low for y in losses)
    assert drawn.get("not-finite", 0) == sum(not math.isfinite(y) for y in losses)


@pytest.mark.parametrize("panels", [1, 2])
def test_no_two_texts_overlap_and_none_is_cut_off(curve: Any, panels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Text] = []
    if panels == 2:
        curve = replace(curve, result=replace(curve.result, runs=runs_at((-3.0, -2.0, -1.0), lambda x: (x + 2) ** 2)))

    def noted(text: Text, renderer: Any) -> None:
        drawn.append(text)

    figure = curve_figure(curve)
    monkeypatch.setattr(Text, "draw", noted)  # matplotlib itself knows which labels are in view
    figure.canvas.draw()
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in drawn if text.get_visible()]
    boxes = [(text, box) for text, box in boxes if text]
    assert boxes
    for text, box in boxes:
        assert 0 <= box.x0 <= box.x1 <= 800, text
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} and {other!r}"


def test_the_picture_names_model_optimizer_setting_and_rates(digits: Any) -> None:
    found = texts(svg(digits))
    for text in (
        "digits_mlp, AdamW",
        "3 repeats x 100 updates, batch size 64, cpu",
        "use 0.0042 (confident)",
        "trains between 7e-04 and 0.11",
        "start 2.3",
        "learning rate",
        "sweep",
    ):
        assert text in found, text
    rules = [pick.rule for pick in digits.picks]
    assert not [rule for rule in rules if rule in "".join(found)], "the table names rules, the picture doesn't"


def test_an_uncertain_rate_looks_and_reads_otherwise(digits: Any) -> None:
    sure = curve_figure(digits)
    first, *others = digits.picks
    doubtful = replace(digits, picks=(replace(first, status=Status.UNCERTAIN), *others))
    unsure = curve_figure(doubtful)
    assert "use 0.0042 (uncertain)" in texts(svg(doubtful))
    for gid in ("pick", "pick-point"):
        assert line(sure, gid).get_color() != line(unsure, gid).get_color(), gid
    assert line(unsure, "pick").is_dashed()
    assert not line(sure, "pick").is_dashed()
    assert line(unsure, "pick-point").get_markerfacecolor() == "white"
    assert line(sure, "pick-point").get_markerfacecolor() != "white"
    assert png(digits) != png(doubtful)
    assert figure_digest(digits) != figure_digest(doubtful)


def test_the_digest_is_of_what_is_drawn_only(digits: Any) -> None:
    first, *others = digits.picks
    reworded = replace(digits, picks=(replace(first, why="in other words"), *others[1:]))
    assert png(reworded) == png(digits)
    assert figure_digest(reworded) == figure_digest(digits)
    moved = replace(digits, picks=(replace(first, lr=0.0043), *others))
    assert png(moved) != png(digits)
    assert figure_digest(moved) != figure_digest(digits)
    assert is_drawn(png(digits)[:HEAD_BYTES], figure_digest(digits))
    assert not is_drawn(png(digits)[:HEAD_BYTES], figure_digest(moved))


def test_a_refused_sweep_shows_its_points_and_the_reason(named: Callable[[str], Any]) -> None:
    for name in ("never_fell", "diverged_at_once", "nothing_finite"):
        curve = named(name)
        figure = curve_figure(curve)
        said = " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))
        assert f"No rate recommended: {curve.picks[0].why}" in said
        assert not figure.findobj(match=lambda artist: artist.get_gid() == "pick")


def test_raw_points_alone_make_a_picture(digits: Any) -> None:
    root = ET.fromstring(curve_svg(Chart(result=digits.result)))  # noqa: S314
    assert "sweep" in texts(root)
    assert "fit with 90 % ribbon" not in texts(root)


@pytest.mark.parametrize(
    "model", ["<script>alert(1)</script>", "$\\frac{1}", "a\nb\tc", "模型🙂", "&amp;]]>-->", "m" * 300]
)
def test_any_model_name_can_be_drawn(digits: Any, model: str) -> None:
    result = replace(digits.result, setup=replace(digits.result.setup, model=model))
    text = curve_svg(replace(digits, result=result))
    root = ET.fromstring(text)  # noqa: S314
    assert "<script" not in text
    title = next(t for t in texts(root) if t.endswith(("AdamW", "...")))
    kept = " ".join(model.split())
    assert title.startswith(kept[:60] if kept.isascii() else "□□□")
    assert curve_png(replace(digits, result=result))


def test_the_same_curve_gives_the_same_bytes_in_another_process(digits: Any, tmp_path: Any) -> None:
    script = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("curves", sys.argv[1])
curves = importlib.util.module_from_spec(spec)
sys.modules["curves"] = curves
spec.loader.exec_module(curves)
from lrfinder.report.figure import curve_png, curve_svg
curve = curves.CURVES["digits"]()
Path(sys.argv[2]).write_bytes(curve_png(curve))
Path(sys.argv[3]).write_text(curve_svg(curve), encoding="utf-8")
assert "matplotlib.pyplot" not in sys.modules
"""
    helper = os.path.join(os.path.dirname(__file__), "conftest.py")  # noqa: PTH118, PTH120
    there = (tmp_path / "curve.png", tmp_path / "curve.svg")
    environment = os.environ | {"PYTHONHASHSEED": "12345", "SOURCE_DATE_EPOCH": "0", "MPLBACKEND": "svg"}
    subprocess.run([sys.executable, "-c", script, helper, *map(str, there)], check=True, env=environment)
    assert there[0].read_bytes() == png(digits)
    assert there[1].read_text(encoding="utf-8") == curve_svg(digits)


def test_the_users_own_matplotlib_settings_neither_show_nor_change(digits: Any) -> None:
    before = png(digits)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "text.usetex": False, "lines.linewidth": 9}):
        mine = dict(mpl.rcParams)
        assert png(digits) == before
        assert dict(mpl.rcParams) == mine


def test_a_linear_sweep_has_a_linear_axis(named: Callable[[str], Any]) -> None:
    curve = named("linear")
    assert curve_figure(curve).axes[0].get_xscale() == "linear"
    assert curve_figure(Chart(result=named("digits").result)).axes[0].get_xscale() == "log"


def test_a_rule_without_a_pick_is_refused(digits: Any) -> None:
    with pytest.raises(ValueError, match="chosen must be the rule of one of the picks"):
        replace(digits, chosen="knee")


def test_importing_the_reports_loads_neither_matplotlib_nor_plotext_nor_torch() -> None:
    script = """
import sys
import lrfinder.report.figure, lrfinder.report.html, lrfinder.formatting, lrfinder.report.picks
import lrfinder.report.progress, lrfinder.report.terminal_plot, lrfinder.report.canvas
heavy = {"matplotlib", "plotext", "torch", "pandas", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)
