"""A disk that fails at each call that writes a run folder: what was measured is readable, nothing else is left."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import inject
from helpers.curves import sweep_of, traces_of
from helpers.run_folders import TEMPORARY, intact
from helpers.runs import parabola, runs_at
from lrfinder.errors import EnvironmentFailure
from lrfinder.files import write_atomic
from lrfinder.records import Mode, Point, RunPlan, Stop, SweepResult, SweepSettings, Trace
from lrfinder.store import PICTURE, RunFolder, Source, load_run, load_unfinished

SETTINGS = {
    "auto": SweepSettings(min_lr=1e-5, max_lr=1.0, steps=5, repeats=2, mode=Mode.AUTO),
    "restart": SweepSettings(min_lr=1e-5, max_lr=1.0, steps=5, repeats=2, mode=Mode.RESTART),
    "long": SweepSettings(min_lr=1e-5, max_lr=1.0, steps=125, repeats=2, mode=Mode.AUTO),  # its repeats diverge early
}
RUNS = runs_at([-3, -2, -1], parabola(-2))


def swept(name: str) -> SweepResult:
    """Return what a sweep with these settings measured: of each repeat the first five points."""
    settings = SETTINGS[name]
    short = settings.short()
    traces = () if settings.mode is Mode.RESTART else first_points(traces_of(settings, noise=0.1))
    result = sweep_of(traces, settings)
    if short is None:
        return result
    return dataclasses.replace(result, short_sweeps=first_points(traces_of(short, noise=0.1)))


def first_points(traces: tuple[Trace, ...]) -> tuple[Trace, ...]:
    return tuple(
        dataclasses.replace(trace, lrs=trace.lrs[:5], losses=trace.losses[:5], updates=5, stop=Stop.DIVERGED)
        for trace in traces
    )


def tell(folder: RunFolder, result: SweepResult) -> None:
    """Tell a run folder what a sweep tells, from where it is on."""
    short = result.settings.short()
    if short is not None and len(folder._traces) == len(result.traces):
        folder.short_sweeps_started(short)
        folder.prepared(result.setup)
    else:
        folder.prepared(result.setup)
        tell_repeats(folder, result.traces[len(folder._traces) :])
        if short is not None:
            folder.short_sweeps_started(short)
    tell_repeats(folder, result.short_sweeps[len(folder._short_sweeps) :])
    for run in RUNS[folder._runs :]:
        folder.run_started(RunPlan(lr=run.plan.lr, steps=run.plan.steps))
        folder.run_ended(run)


def tell_repeats(folder: RunFolder, traces: tuple[Trace, ...]) -> None:
    for trace in traces:
        folder.repeat_started(trace.repeat)
        for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
            folder.measured(Point(repeat=trace.repeat, step=step, lr=lr, loss=loss))
        folder.repeat_ended(trace)


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


HOUR = 3600.0


@pytest.fixture(autouse=True)
def _no_call_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pause of the machine set off no write and no sync: each time there are as many calls."""
    monkeypatch.setattr("lrfinder.store.curve_file._WRITE_SECONDS", HOUR)
    monkeypatch.setattr("lrfinder.store.curve_file._SYNC_SECONDS", HOUR)
    monkeypatch.setattr("lrfinder.store.curve_file.time", SimpleNamespace(monotonic=lambda: 2 * HOUR))


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "full", "short"])
@pytest.mark.parametrize("slow", [True, False], ids=["slow", "fast"])
def test_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, slow: bool) -> None:
    """Of slow updates each point is written by itself, of fast ones only the first."""
    if slow:
        monkeypatch.setattr("lrfinder.store.curve_file._WRITE_SECONDS", 0.0)
    result = swept(name)
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
            if before.short_sweeps:
                assert before.traces == result.traces
                assert before.short_sweeps[:-1] == result.short_sweeps[: len(before.short_sweeps) - 1]
            assert before.runs == RUNS[: len(before.runs)]
            carry_on(run, result)
            assert all_files(run) == whole, at
            assert not [path for path in run.iterdir() if TEMPORARY.fullmatch(path.name)]
        shutil.rmtree(run, ignore_errors=True)


@pytest.mark.parametrize(("name", "after", "points"), [("auto", 22, 7), ("long", 22, 7), ("long", 47, 17)])
@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "full", "short"])
def test_at_every_call_of_carrying_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int, points: int, kind: str
) -> None:
    """From the midst of the second repeat, or of the second short sweep."""
    monkeypatch.setattr("lrfinder.store.curve_file._WRITE_SECONDS", 0.0)
    result = swept(name)
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole" / "run", result)
    whole = all_files(tmp_path / "whole" / "run")
    cut = tmp_path / "cut" / "run"
    cut.parent.mkdir()
    with monkeypatch.context() as failing:
        inject.install(f"ENOSPC:{after}:{cut}", failing.setattr)
        with pytest.raises(EnvironmentFailure):
            write(cut, result)
    left = load_run(cut)
    assert sum(len(trace.lrs) for trace in (*left.traces, *left.short_sweeps)) == points
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
