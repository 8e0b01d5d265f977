"""The plot, the legend and the table of schedules, read back from their text."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.report.schedule import (
    describe,
    key_updates,
    schedule_legend,
    schedule_plot,
    schedule_table,
    shapes_table,
)
from lrfinder.schedules import Constant, Cosine, Linear, MultiStep, Schedule, Step, Table


def config(schedule: Schedule, lr: float = 0.01, name: str = "SGD") -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=lr), schedule=schedule)


def text_of(it: RenderableType, *, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(it)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def heights(plot: str, letter: str) -> dict[int, float]:
    """Read a plot drawn with letters: for each column of the canvas, how high its topmost letter is, 0 ... 1."""
    rows = [re.split("[│┤|+]", line, maxsplit=1)[1] for line in plot.split("\n") if re.search("[│┤]", line)]
    found: dict[int, float] = {}
    for row, line in enumerate(rows):
        for column, character in enumerate(line):
            if character == letter:
                found.setdefault(column, 1 - row / (len(rows) - 1))
    return found


def between(schedule: Schedule, t: float) -> float:
    """Go straight from each update's factor to the next one's, as the plot does."""
    before = math.floor(t)
    return schedule.factor(before) + (t - before) * (schedule.factor(before + 1) - schedule.factor(before))


@pytest.mark.parametrize("width", [40, 80, 133])
@pytest.mark.parametrize(
    "schedule",
    [
        Linear(steps=1000, warmup=100),
        Cosine(steps=77, final=0.2),
        Step(steps=100_000, every=30_000, factor=0.5),
        Constant(steps=3, warmup=3),
    ],
    ids=lambda schedule: schedule.name,
)
def test_the_curve_is_where_the_schedule_is(schedule: Schedule, width: int) -> None:
    plot = schedule_plot([config(schedule)], width=width, color=False)
    assert max(cell_len(line) for line in plot.split("\n")) <= width
    curve = heights(plot, "*")
    columns = max(curve) + 1
    assert columns > width / 2
    for column, height in curve.items():
        # A column covers several updates; somewhere among them the schedule is as high as the letter, give or take
        # the height of a row.
        updates = [(column + (i - 25) / 25) / (columns - 1) * (schedule.steps - 1) for i in range(51)]
        near = [between(schedule, max(t, 0)) for t in updates]
        assert min(near) - 0.1 <= height <= max(near) + 0.1


def test_two_schedules_of_different_length_share_the_axes() -> None:
    configs = [config(Constant(steps=100)), config(Constant(steps=50), lr=0.005)]
    plot = schedule_plot(configs, width=80, color=False)
    long, short = heights(plot, "*"), heights(plot, "o")
    assert set(long.values()) == {1.0}
    assert max(long) == pytest.approx(2 * max(short), abs=2)
    assert all(height == pytest.approx(0.5, abs=0.06) for height in short.values())


def test_drawing_twice_gives_the_same() -> None:
    configs = [config(Linear(steps=100))]
    assert schedule_plot(configs, width=80) == schedule_plot(configs, width=80)


def test_color_and_ascii() -> None:
    configs = [config(Linear(steps=100)), config(Cosine(steps=100))]
    assert "\x1b[" in schedule_plot(configs, width=80, color=True)
    assert "\x1b" not in schedule_plot(configs, width=80, color=False)
    plain = schedule_plot(configs, width=80, color=False, ascii_only=True)
    assert plain.isascii()
    assert {"*", "o"} <= set(plain)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs(steps: int) -> None:
    it = config(Linear(steps=steps))
    assert "0.01" in schedule_plot([it], width=80)
    assert f"{steps - 1} " in text_of(schedule_table({"it": it}))


def test_a_very_long_run_is_sampled() -> None:
    it = config(Linear(steps=100_000_000, warmup=1_000_000))
    assert "99999999" in schedule_plot([it], width=80)
    assert "warm-up ends" in text_of(schedule_table({"it": it}))


def test_the_table_says_what_the_schedule_says() -> None:
    it = config(Linear(steps=200, warmup=10))
    rows = [line.split() for line in text_of(schedule_table({"it": it})).split("\n")[2:] if line]
    assert [int(row[0]) for row in rows] == [0, 9, 20, 40, 60, 80, 100, 120, 140, 160, 180, 199]
    for row in rows:
        assert float(row[2]) == pytest.approx(it.rate(int(row[0])), rel=5e-3)
        assert float(row[3].rstrip("%")) == pytest.approx(100 * it.schedule.factor(int(row[0])), abs=0.051)
    assert rows[1][4:] == ["warm-up", "ends"]
    assert rows[-1][4:] == ["last", "update"]


def test_the_table_of_two_has_a_dash_behind_the_end_of_the_shorter() -> None:
    configs = {"long": config(Constant(steps=100)), "[short]": config(Constant(steps=50, warmup=4), lr=0.5)}
    lines = text_of(schedule_table(configs)).split("\n")
    assert lines[0].split() == ["update", "long", "[short]"]
    rows = {int(line.split()[0]): line.split()[1:] for line in lines[2:] if line}
    assert rows[49] == ["0.01", "0.5"]
    assert rows[50] == ["0.01", "-"]
    assert rows[3] == ["0.01", "0.5"]


def test_telling_updates_are_updates_of_the_run() -> None:
    for steps in range(1, 40):
        for warmup in {0, 1, steps - 1, steps}:
            updates = key_updates([config(Linear(steps=steps, warmup=warmup))])
            assert updates == sorted(set(updates))
            assert updates[0] == 0
            assert updates[-1] == steps - 1


def test_legend_and_description() -> None:
    configs = {"a.yaml": config(Step(steps=30, every=10, factor=0.25)), "b.yaml": config(Constant(steps=30, warmup=5))}
    legend = schedule_legend(configs, color=False)
    assert legend.plain.split("\n") == [
        "* a.yaml: SGD, peak 0.01, step (every 10, factor 0.25), 30 updates",
        "o b.yaml: SGD, peak 0.01, constant, warm-up 5 of 30 updates",
    ]
    assert describe(configs["a.yaml"]) in legend.plain


def test_the_list_of_shapes() -> None:
    told = text_of(shapes_table(), width=120)
    assert "every, factor" in told
    assert "final=0.0" in told


def test_a_long_list_is_told_by_its_length() -> None:
    optimizer = OptimizerConfig(name="SGD", lr=0.1)
    table = Table(steps=100, points=tuple((u, u / 100) for u in range(50)))
    assert "table (50 points, between line), 100 updates" in describe(
        ScheduleConfig(optimizer=optimizer, schedule=table)
    )
    steps = MultiStep(steps=100, milestones=(3, 5), factor=0.5)
    assert "milestones (3, 5)" in describe(ScheduleConfig(optimizer=optimizer, schedule=steps))
