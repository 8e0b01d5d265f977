"""A disk that fails at each call that writes a run folder: what was measured is readable, nothing else is left."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

import inject
from curves import sweep_of, traces_of
from lrfinder.errors import EnvironmentFailure
from lrfinder.files import write_atomic
from lrfinder.records import Mode, Point, RunPlan, SweepResult, SweepSettings
from lrfinder.store import PICTURE, RunFolder, Source, load_run, load_unfinished
from run_folders import TEMPORARY, intact
from runs import parabola, runs_at

SETTINGS = {
    mode: SweepSettings(min_lr=1e-5, max_lr=1.0, steps=5, repeats=2, mode=mode) for mode in (Mode.AUTO, Mode.RESTART)
}
RUNS = runs_at([-3, -2, -1], parabola(-2))


def tell(folder: RunFolder, result: SweepResult) -> None:
    """Tell a run folder what a sweep tells, from where it is on."""
    known = {trace.repeat for trace in result.traces[: len(folder._traces)]}
    folder.prepared(result.setup)
    for trace in result.traces if result.settings.mode is not Mode.RESTART else ():
        if trace.repeat not in known:
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
                folder.measured(Point(repeat=trace.repeat, step=step, lr=lr, loss=loss))
            folder.repeat_ended(trace)
    for run in RUNS[folder._runs :]:
        folder.run_started(RunPlan(lr=run.plan.lr, steps=run.plan.steps))
        folder.run_ended(run)


def write(out: Path, result: SweepResult) -> None:
    source = Source(reference="model.py")
    with RunFolder.create(out, model="m", source=source, settings=result.settings, created_by="a test") as folder:
        tell(folder, result)
    write_atomic(out / PICTURE, b"a picture")


def carry_on(out: Path, result: SweepResult) -> None:
    with RunFolder.resume(load_unfinished(out)) as folder:
        tell(folder, result)
    write_atomic(out / PICTURE, b"a picture")


def all_files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if not TEMPORARY.fullmatch(path.name)}


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "full", "short"])
@pytest.mark.parametrize("slow", [True, False], ids=["slow", "fast"])
def test_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, kind: str, slow: bool) -> None:
    """Of slow updates each point is written by itself, of fast ones only the first; files have names or none."""
    if slow:
        monkeypatch.setattr("lrfinder.store.folder._WRITE_SECONDS", 0.0)
    else:
        monkeypatch.setattr("lrfinder.files._UNNAMED", None)
    traces = () if mode is Mode.RESTART else tuple(traces_of(SETTINGS[mode], noise=0.1))
    result = sweep_of(traces, SETTINGS[mode])
    (tmp_path / "whole").mkdir()
    with monkeypatch.context() as counting:
        inject.install(f"count:0:{tmp_path / 'whole' / 'run'}", counting.setattr)
        write(tmp_path / "whole" / "run", result)
    whole = all_files(tmp_path / "whole" / "run")
    count = int((tmp_path / "whole" / "calls").read_text())
    assert count > 20
    (tmp_path / "work").mkdir()
    run = tmp_path / "work" / "run"
    for at in range(1, count + 1):
        with monkeypatch.context() as failing:
            inject.install(f"{kind}:{at}:{run}", failing.setattr)
            with pytest.raises(EnvironmentFailure, match=r"run") as caught:
                write(run, result)
        assert ("Input/output error" if kind == "EIO" else "No space left on device") in str(caught.value)
        if intact(run, advised=False) is not None:
            before = load_run(run)
            assert before.traces[:-1] == result.traces[: max(0, len(before.traces) - 1)]
            assert before.runs == RUNS[: len(before.runs)]
            carry_on(run, result)
            assert all_files(run) == whole, at
            assert not [path for path in run.iterdir() if TEMPORARY.fullmatch(path.name)]
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "full", "short"])
def test_at_every_call_of_carrying_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("lrfinder.store.folder._WRITE_SECONDS", 0.0)
    result = sweep_of(tuple(traces_of(SETTINGS[Mode.AUTO], noise=0.1)), SETTINGS[Mode.AUTO])
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole" / "run", result)
    whole = all_files(tmp_path / "whole" / "run")
    cut = tmp_path / "cut" / "run"
    cut.parent.mkdir()
    with monkeypatch.context() as failing:
        inject.install(f"ENOSPC:22:{cut}", failing.setattr)
        with pytest.raises(EnvironmentFailure):
            write(cut, result)
    points = sum(len(trace.lrs) for trace in load_run(cut).traces)
    assert 0 < points < 10  # in the midst of the second repeat
    failed = 0
    for at in itertools.count(1):
        run = tmp_path / "work" / "run"
        shutil.copytree(cut, run)
        try:
            with monkeypatch.context() as failing:
                inject.install(f"{kind}:{at}:{run}", failing.setattr)
                carry_on(run, result)
            break  # there is no call number `at`
        except EnvironmentFailure:
            failed += 1
            assert intact(run, advised=False) is not None
            carry_on(run, result)
        assert all_files(run) == whole, at
        shutil.rmtree(run.parent)
    assert failed > 10
