"""A sweep that was cut short carries on, and its folder then holds what an uninterrupted one would have written."""

from __future__ import annotations

import functools
import itertools
import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import lrfinder
from lrfinder.api.sweeping.measure import measure
from lrfinder.engine.observer import Observer
from lrfinder.records import RunPlan, ShortRun, Stop
from lrfinder.store import RunFolder, load_run, load_unfinished

# Everything that another process could draw otherwise: data and weights at import, order and dropout in each repeat.
MODEL = """
import os
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(96, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)

def make():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))

model = MADE
loss_fn = nn.CrossEntropyLoss()

def train_loader():
    if os.path.exists("no-memory"):
        raise MemoryError
    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True, generator=torch.Generator())

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""
SETTINGS = {"steps": 12, "repeats": 2, "run_steps": 10, "min_lr": 1.234567e-3, "max_lr": 1.0, "seed": 5}
FILES = ("run.json", "curve.csv", "short-curve.csv", "runs.jsonl")
LONG = {"steps": 80}  # more than 25 a decade: mode auto sweeps again in short
SAMPLE = 5  # of the moments of each sweep; each costs a sweep


class Film(Observer):
    """Forward each event to a run folder, and keep the folder as it is afterwards."""

    def __init__(self, folder: RunFolder, frames: Path) -> None:
        self._writer = folder
        self._folder, self._frames, self._count = folder.path, frames, itertools.count()

    def take(self) -> None:
        shutil.copytree(self._folder, self._frames / f"{next(self._count):04}")


for name in ("prepared", "judged", "measured", "repeat_ended", "short_sweeps_started", "run_started", "run_ended"):

    def told(self, value, name=name):
        getattr(self._writer, name)(value)
        if (self._folder / "run.json").exists():
            self.take()

    setattr(Film, name, told)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES if (run / name).exists()}


@pytest.mark.parametrize("made", ["make", "make()"], ids=["callable", "live"])
@pytest.mark.parametrize("mode", ["continuous", "restart", "auto", "auto, long"])
def test_cut_at_any_moment_it_ends_as_if_it_had_not_been(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str, made: str
) -> None:
    settings = {**SETTINGS, "mode": mode.partition(",")[0], **(LONG if "long" in mode else {})}
    monkeypatch.setattr("lrfinder.api.sweeping.sweep_run.write_picture", lambda *_: None)  # the longest part
    (folder / "model.py").write_text(MODEL.replace("MADE", made))
    frames = folder / "frames"
    with monkeypatch.context() as filmed:
        filmed.setattr(
            "lrfinder.api.sweeping.measure.measure",
            lambda problem, settings, *, observers, **rest: measure(
                problem, settings, observers=[Film(observers[0], frames)], **rest
            ),
        )
        whole = lrfinder.sweep("model.py", out="whole", **settings)
    wanted = contents(folder / "whole")
    assert ("short-curve.csv" in wanted) is ("long" in mode)
    moments = sorted(frames.iterdir())
    assert len(moments) > 2 * SAMPLE
    for moment in random.Random(f"{mode} {made}").sample(moments, SAMPLE):  # noqa: S311 - the same ones each time
        torn = max(moment.glob("*curve.csv"), key=lambda curve: curve.name)  # the one that was written last
        torn.write_bytes(torn.read_bytes() + b"0,7,0.12")
        torch.manual_seed(hash(moment))  # whatever was drawn before must not matter
        resumed = lrfinder.resume(moment)
        assert contents(moment) == wanted, moment.name
        assert (resumed.traces, resumed.short_sweeps, resumed.runs) == (whole.traces, whole.short_sweeps, whole.runs)


def test_a_failure_of_the_machine_is_made_good(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL.replace("MADE", "make"))
    lrfinder.sweep("model.py", mode="auto", out="whole", **SETTINGS)
    shutil.copytree("whole", "failed")
    document = json.loads(Path("failed/run.json").read_text())
    document["repeats"][1]["stop"] = "failed"
    Path("failed/run.json").write_text(json.dumps(document))
    Path("no-memory").touch()
    before = contents(folder / "failed")
    with pytest.raises(lrfinder.EnvironmentFailure):
        lrfinder.resume("failed")
    assert contents(folder / "failed") == before  # nothing new was measured: nothing is thrown away
    Path("no-memory").unlink()
    lrfinder.resume("failed")
    assert contents(folder / "failed") == contents(folder / "whole")


def test_points_that_a_power_cut_took_are_measured_again(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL.replace("MADE", "make"))
    lrfinder.sweep("model.py", mode="continuous", out="whole", **SETTINGS)
    shutil.copytree("whole", "cut")
    lines = Path("cut/curve.csv").read_text().splitlines(keepends=True)
    Path("cut/curve.csv").write_text("".join(lines[:-3]))
    assert [trace.repeat for trace in load_unfinished(Path("cut")).traces] == [0]
    lrfinder.resume("cut")
    assert contents(folder / "cut") == contents(folder / "whole")


def test_a_finished_sweep_stays_as_it_is(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL.replace("MADE", "make"))
    whole = lrfinder.sweep("model.py", out="whole", **SETTINGS)
    times = {name: (folder / "whole" / name).stat().st_mtime_ns for name in contents(folder / "whole")}
    again = lrfinder.resume("whole")
    assert again == whole
    assert {name: (folder / "whole" / name).stat().st_mtime_ns for name in contents(folder / "whole")} == times


@pytest.fixture
def cut(folder: Path) -> Path:
    """A run whose second repeat was cut short."""
    (folder / "model.py").write_text(MODEL.replace("MADE", "make"))
    lrfinder.sweep("model.py", mode="continuous", out="cut", **SETTINGS)
    change(folder / "cut", lambda document: document["repeats"].pop())
    return folder / "cut"


def change(run: Path, how) -> None:
    document = json.loads((run / "run.json").read_text())
    how(document)
    (run / "run.json").write_text(json.dumps(document))


REFUSED = {
    "another model file": (
        lambda run: (run.parent / "model.py").write_text("model = 1\n"),
        lrfinder.RunError,
        "model.py has changed since the sweep began",
    ),
    "no model file": (lambda run: (run.parent / "model.py").unlink(), lrfinder.UsageError, "no such file: 'model.py'"),
    "another torch": (
        lambda run: change(run, lambda document: document["setup"].update(torch="1.0")),
        lrfinder.RunError,
        rf"torch was 1.0 and is {torch.__version__.replace('+', '.')} now",
    ),
    "another optimizer": (
        lambda run: change(run, lambda document: document["setup"]["optimizer"].update(name="Adam")),
        lrfinder.RunError,
        "optimizer was .*Adam.* and is .*SGD.* now",
    ),
    "an older format": (
        lambda run: change(run, lambda document: document.update(version=1)),
        lrfinder.RunError,
        "version 1 was written by an older lrfinder",
    ),
    "no digest": (
        lambda run: change(run, lambda document: document.update(model_sha256=7)),
        lrfinder.RunError,
        "model_sha256: expected a text",
    ),
    "a model file within the run": (
        lambda run: (
            shutil.move(run.parent / "model.py", run / "model.py"),
            change(run, lambda document: document["source"].update(reference="cut/model.py")),
        ),
        lrfinder.RunError,
        "names a model file inside the folder",
    ),
    "a module of the run": (
        lambda run: (shutil.move(run.parent / "model.py", run / "evil.py"), named(run, "cut.evil:f")),
        lrfinder.RunError,
        "names a model file inside the folder, cut.evil:f",
    ),
    "a link in the run": (
        lambda run: (link(run / "evil.py", "model.py"), named(run, "cut.evil:f")),
        lrfinder.RunError,
        "names a model file inside the folder",
    ),
    "the run as a package": (
        lambda run: (shutil.move(run.parent / "model.py", run / "__init__.py"), named(run, "cut:f")),
        lrfinder.RunError,
        "names a model file inside the folder",
    ),
    "a package that the model might import": (
        lambda run: (run / "__init__.py").write_text("raise SystemExit"),
        lrfinder.RunError,
        "the run folder is a Python package",
    ),
    "the curve is a link": (
        lambda run: (shutil.move(run / "curve.csv", run.parent / "mine.csv"), link(run / "curve.csv", "mine.csv")),
        lrfinder.EnvironmentFailure,
        "curve.csv: a symbolic link: nothing is written through it",
    ),
    "no run": (lambda run: (run / "run.json").unlink(), lrfinder.RunError, "not a run folder"),
}


def named(run: Path, reference: str) -> None:
    change(run, lambda document: document["source"].update(reference=reference))


def link(path: Path, name: str) -> None:
    path.symlink_to(path.parent.parent / name)


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_carried_on_is_refused_and_left_alone(cut: Path, case: str) -> None:
    damage, kind, message = REFUSED[case]
    damage(cut)
    before = {path: path.read_bytes() for path in cut.iterdir()}
    with pytest.raises(kind, match=message):
        lrfinder.resume(cut)
    assert {path: path.read_bytes() for path in cut.iterdir()} == before


def test_a_module_is_not_looked_for_in_the_run(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installed module imports would be found in the working folder first."""
    named(cut, "http.server:test")
    (cut / "mimetypes.py").write_text("raise SystemExit")
    monkeypatch.chdir(cut)
    for call in (lrfinder.resume, functools.partial(lrfinder.verify, steps=100)):
        with pytest.raises(lrfinder.RunError, match=r"http\.server, whose imports would be looked for in the folder"):
            call(".")


def test_live_objects_are_gone_and_it_says_so(folder: Path) -> None:
    x = torch.randn(32, 4)
    lrfinder.sweep(
        nn.Linear(4, 1), train_loader=[(x, x[:, :1])], loss_fn=nn.MSELoss(), out="live", mode="continuous", steps=5
    )
    with pytest.raises(lrfinder.UsageError, match="live objects") as caught:
        lrfinder.resume("live")
    assert "model file" in str(caught.value.hint)


def test_an_iterator_has_only_one_start_and_it_says_so(folder: Path) -> None:
    (folder / "model.py").write_text(
        MODEL.replace("MADE", "make").replace("def train_loader", "def batches")
        + "\ntrain_loader = (batch for _ in range(99) for batch in batches())\n"
    )
    lrfinder.sweep("model.py", mode="continuous", out="run", **SETTINGS)
    change(folder / "run", lambda document: document["repeats"].pop())
    with pytest.raises(lrfinder.ModelFileError, match="iterator, which has only one start"):
        lrfinder.resume("run")


def test_what_was_kept_is_told_by_how_it_ended(folder: Path) -> None:
    (folder / "model.py").write_text(MODEL.replace("MADE", "make"))
    lrfinder.sweep("model.py", mode="auto", out="run", **SETTINGS)
    runs = load_run(Path("run")).runs
    assert len(runs) > 2
    for stop in Stop:
        log = [*runs[:2], cut_short(runs[2], stop)]
        Path("run/runs.jsonl").unlink()
        with RunFolder.resume(load_unfinished(Path("run"))) as writing:
            writing._prepared = True
            for run in log:
                writing.run_ended(run)
        kept = load_unfinished(Path("run")).runs
        ended = stop in {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE, Stop.OUT_OF_DATA}
        assert len(kept) == (3 if ended else 2), stop


def cut_short(run: ShortRun, stop: Stop) -> ShortRun:
    return ShortRun(
        plan=RunPlan(lr=run.plan.lr, steps=run.plan.steps),
        seed=run.seed,
        metric=run.metric,
        initial_loss=run.initial_loss,
        loss=None,
        stop=stop,
        updates=1,
    )
