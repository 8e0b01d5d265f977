"""What is said of a run folder that can't be read, to the last word, and what a folder without a sweep holds."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from helpers.curves import sweep_of, traces_of
from helpers.runs import parabola, runs_at
from lrfinder.errors import RunError
from lrfinder.records import Mode, Point, SweepResult, SweepSettings
from lrfinder.store import RunFolder, Source, latest_run, load_run
from lrfinder.store.layout import VERSION

SWEEP = SweepSettings(min_lr=1e-5, max_lr=1.0, steps=4, repeats=2, mode=Mode.CONTINUOUS)
RESULT = sweep_of(traces_of(SWEEP), SWEEP)
AGAIN = "the file is damaged or was edited; sweep again"


def folder_of(out: Path, settings: SweepSettings = SWEEP) -> RunFolder:
    return RunFolder.create(out, model="m", source=Source(reference="m.py"), settings=settings, created_by="a test")


def write(out: Path, result: SweepResult = RESULT) -> Path:
    with folder_of(out) as folder:
        folder.prepared(result.setup)
        for trace in result.traces:
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
                folder.measured(Point(repeat=trace.repeat, step=step, lr=lr, loss=loss))
            folder.repeat_ended(trace)
    return out


def test_short_runs_alone_have_no_repeats_though_they_are_points_of_the_curve(tmp_path: Path) -> None:
    runs = runs_at([-3, -2, -1], parabola(-2))
    settings = SweepSettings(min_lr=1e-5, max_lr=1.0, mode=Mode.RESTART)
    with folder_of(tmp_path / "run", settings) as folder:
        folder.prepared(RESULT.setup)
        for run in runs:
            folder.run_ended(run)
    read = load_run(tmp_path / "run")
    assert (read.traces, read.runs, read.settings) == ((), runs, settings)
    rows = (tmp_path / "run" / "curve.csv").read_text().splitlines()[1:]
    assert rows == [f"0,{index},{run.plan.lr!r},{run.loss!r}" for index, run in enumerate(runs)]


def test_a_point_before_it_is_known_what_is_swept_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with folder_of(tmp_path / "run") as folder, pytest.raises(RuntimeError) as raised:
        folder.measured(Point(repeat=0, step=0, lr=0.1, loss=1.0))
    assert str(raised.value) == "RunFolder.measured() before prepared()"


def test_the_latest_run_is_looked_for_in_the_folder_that_sweeps_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"^lrfinder-runs: no run found$"):
        latest_run()
    for number, name in enumerate(("b", "c", "a")):
        run = write(Path("lrfinder-runs") / name)
        os.utime(run / "run.json", (1e9 + number, 1e9 + number))
    assert latest_run() == Path("lrfinder-runs") / "a"
    assert latest_run(tmp_path / "lrfinder-runs") == tmp_path / "lrfinder-runs" / "a"


LONG = "0123456789" * 9
NO_NAME = "expected the name of a class, such as AdamW or package.Lion, got 'f() or AdamW'"
FROM_0 = "expected a whole number from 0 to 1e+12"


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("curve.csv", "repeat,step,lr,loss", LONG, f":1: expected the header repeat,step,lr,loss, got '{LONG[:80]}'"),
        ("curve.csv", "\n0,1,", f"\n{LONG},", f":3: expected four numbers, got '{LONG[:80]}'"),
        ("run.json", '"a test"', f'"\\u0007{LONG}"', f": a control character in '\\x07{LONG[:79]}'"),
        ("run.json", f'"version": {VERSION}', '"version": 0', ": version: expected a whole number from 1, got 0"),
        ("run.json", '"steps": 4', '"steps": "4"', ": settings.steps: Input should be a valid integer"),
        ("run.json", '"device": "cpu"', '"device": 3', ": setup.device: Input should be a valid string"),
        ("run.json", '"name": "AdamW"', '"name": "f() or AdamW"', f": setup.optimizer: Value error, {NO_NAME}"),
        ("run.json", '"repeat": 1', '"repeat": 1.5', ": repeats.1.repeat: Input should be a valid integer"),
        ("run.json", '"repeat": 1', '"repeat": -1', f": repeats.1.repeat: {FROM_0}, got -1"),
        ("run.json", '"lrfinder.run"', '"other"', ": format: expected 'lrfinder.run', got 'other'"),
    ],
)
def test_damage_is_told_to_the_letter_with_no_more_of_it_than_a_line_holds(
    tmp_path: Path, name: str, old: str, new: str, told: str
) -> None:
    file = write(tmp_path / "run") / name
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    with pytest.raises(RunError) as raised:
        load_run(tmp_path / "run")
    assert str(raised.value) == f"{file}{told}"
    assert raised.value.hint == AGAIN


def test_a_run_of_a_newer_version_is_told_what_to_do(tmp_path: Path) -> None:
    file = write(tmp_path / "run") / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": VERSION + 1}))
    with pytest.raises(RunError) as raised:
        load_run(tmp_path / "run")
    assert str(raised.value) == (
        f"{file}: version {VERSION + 1} was written by a newer lrfinder; this one reads up to version {VERSION}"
    )
    assert raised.value.hint == "upgrade: pip install --upgrade lrfinder"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"loader_timeout": -1.0}, "loader_timeout must be a finite number of seconds, 0 to wait forever, got -1.0"),
        ({"loader_timeout": math.inf}, "loader_timeout must be a finite number of seconds, 0 to wait forever, got inf"),
        ({"loader_timeout": math.nan}, "loader_timeout must be a finite number of seconds, 0 to wait forever, got nan"),
        (
            {"optimizer_options": {"momentum": 0.9, "eps": math.inf}},
            "eps must be a finite number, got inf",
        ),
    ],
)
def test_where_a_model_came_from_is_said_in_finite_numbers(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=rf"^{told}$"):
        Source(reference="m.py", **given)  # type: ignore[arg-type]
    assert Source(reference="m.py", loader_timeout=0.0).loader_timeout == 0.0


def test_what_ends_before_it_is_known_what_is_swept_leaves_no_folder(tmp_path: Path) -> None:
    with folder_of(tmp_path / "run") as folder:
        folder.repeat_started(0)
        folder.repeat_ended(RESULT.traces[0])
        (run,) = runs_at([-3], parabola(-2))
        folder.run_ended(run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["updates", "skipped"])
def test_nothing_was_made_less_than_never(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "run") / "run.json"
    document = json.loads(file.read_text())
    document["repeats"][0][name] = -284
    file.write_text(json.dumps(document))
    with pytest.raises(RunError) as raised:
        load_run(tmp_path / "run")
    assert str(raised.value) == f"{file}: repeats.0.{name}: {FROM_0}, got -284"


def test_a_repeat_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "run") / "run.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "repeats": document["repeats"] * 2}))
    with pytest.raises(RunError, match=r"run.json: repeats: expected each of the 2 repeats once, got \[0, 1, 0, 1\]"):
        load_run(tmp_path / "run")


def test_rates_that_are_not_those_of_the_settings_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "run") / "run.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "settings": {**document["settings"], "steps": 400}}))
    with pytest.raises(
        RunError, match=r"curve.csv:3: lr: the settings in run.json give 1.02\S+ for this step, got 0.000"
    ):
        load_run(tmp_path / "run")
