"""When the points of a curve reach the disk: slow ones at once, fast ones together, all of them at every end."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import lrfinder.store.curve_file
from helpers.curves import sweep_of, traces_of
from helpers.runs import parabola, runs_at
from lrfinder.errors import EnvironmentFailure
from lrfinder.files import AppendFile
from lrfinder.records import Mode, Point, SweepResult, SweepSettings
from lrfinder.store import RunFolder, Source, load_run

SWEEP = SweepSettings(min_lr=1e-5, max_lr=1.0, steps=20, repeats=2, mode=Mode.CONTINUOUS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands until it is put on."""
    clock = SimpleNamespace(now=1000.0, syncs=[])
    fake = SimpleNamespace(monotonic=lambda: clock.now, strftime=lambda _: "now")
    monkeypatch.setattr(lrfinder.store.curve_file, "time", fake)
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (clock.syncs.append(clock.now), sync(handle)))
    return clock


@pytest.fixture
def result() -> SweepResult:
    return sweep_of(traces_of(SWEEP, noise=0.1), SWEEP)


def folder_of(out: Path, settings: SweepSettings = SWEEP) -> RunFolder:
    return RunFolder.create(out, model="m", source=Source(reference="m.py"), settings=settings, created_by="a test")


def points(result: SweepResult, repeat: int) -> list[Point]:
    trace = result.traces[repeat]
    return [
        Point(repeat=repeat, step=step, lr=lr, loss=loss)
        for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True))
    ]


def on_disk(out: Path) -> int:
    return len((out / "curve.csv").read_text().splitlines()) - 1


def test_slow_updates_are_written_at_once_and_fast_ones_ten_times_a_second(
    clock: SimpleNamespace, result: SweepResult, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with folder_of(out) as folder:
        folder.prepared(result.setup)
        folder.repeat_started(0)
        for number, point in enumerate(points(result, 0)[:5], start=1):
            clock.now += 0.1001
            folder.measured(point)
            assert on_disk(out) == number
        clock.now += 0.05
        folder.measured(points(result, 0)[5])
        assert on_disk(out) == 5
        clock.now += 0.0501
        folder.measured(points(result, 0)[6])
        assert on_disk(out) == 7


def test_every_end_has_all_points(clock: SimpleNamespace, result: SweepResult, tmp_path: Path) -> None:
    def measured(out: Path, count: int) -> RunFolder:
        folder = folder_of(out)
        folder.prepared(result.setup)
        folder.repeat_started(0)
        for point in points(result, 0)[:count]:
            folder.measured(point)
        assert on_disk(out) == 1
        return folder

    folder = measured(tmp_path / "ended", 20)
    folder.repeat_ended(result.traces[0])
    assert on_disk(tmp_path / "ended") == 20  # and only then run.json says that it has ended
    assert load_run(tmp_path / "ended").traces == result.traces[:1]

    measured(tmp_path / "left", 9).__exit__()
    assert on_disk(tmp_path / "left") == 9

    error = KeyboardInterrupt()
    measured(tmp_path / "failed", 9).__exit__(type(error), error, None)
    assert on_disk(tmp_path / "failed") == 9

    again = measured(tmp_path / "again", 9)
    again.repeat_started(0)  # memory ran out
    again.measured(points(result, 0)[0])
    again.__exit__()
    assert on_disk(tmp_path / "again") == 1


def test_a_short_run_is_a_point_at_once(clock: SimpleNamespace, result: SweepResult, tmp_path: Path) -> None:
    settings = SweepSettings(min_lr=1e-5, max_lr=1.0, mode=Mode.RESTART)
    with folder_of(tmp_path / "run", settings) as folder:
        folder.prepared(result.setup)
        for number, run in enumerate(runs_at([-3, -2, -1], parabola(-2)), start=1):
            folder.run_ended(run)
            assert on_disk(tmp_path / "run") == number


def test_fast_points_are_synced_once_a_second(clock: SimpleNamespace, result: SweepResult, tmp_path: Path) -> None:
    with folder_of(tmp_path / "run") as folder:
        folder.prepared(result.setup)
        clock.syncs.clear()
        for point in points(result, 0):
            clock.now += 0.15
            folder.measured(point)
        assert [round(later - former, 6) for former, later in zip(clock.syncs, clock.syncs[1:], strict=False)] == [
            1.05
        ] * (len(clock.syncs) - 1)
        assert len(clock.syncs) == 3


def test_what_a_disk_refused_is_written_by_the_next_write(
    clock: SimpleNamespace, result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "run", os.write
    folder = folder_of(out)
    folder.prepared(result.setup)
    for point in points(result, 0)[:10]:
        folder.measured(point)

    def refuses(handle: int, data: bytes) -> int:
        write(handle, bytes(data)[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    clock.now += 1
    with monkeypatch.context() as full:
        full.setattr(os, "write", refuses)
        with pytest.raises(EnvironmentFailure, match=r"curve\.csv: No space left"):
            folder.measured(points(result, 0)[10])
    assert (out / "curve.csv").read_text().endswith("\n")
    assert on_disk(out) == 2  # the first point, and of the others the one that is whole in 50 bytes
    folder.__exit__()
    assert load_run(out).traces[0].losses == result.traces[0].losses[:11]


@pytest.mark.parametrize("room", range(12))
def test_of_lines_that_a_disk_has_no_room_for_the_whole_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    lines, write, left = AppendFile(tmp_path / "file"), os.write, [room]
    lines.add(["one", "two"])

    def limited(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "full")
        taken = write(handle, bytes(data)[: min(4, left[0])])
        left[0] -= taken
        return taken

    wanted = ["three", "four", "5"]  # 6, 5 and 2 bytes
    with monkeypatch.context() as full:
        full.setattr(os, "write", limited)
        with pytest.raises(OSError, match="full"):
            lines.add(wanted)
    fitted = 0 if room < 6 else 1 if room < 11 else 2
    assert wanted == ["three", "four", "5"][fitted:]
    lines.add(wanted)
    assert wanted == []
    lines.close()
    assert (tmp_path / "file").read_text() == "one\ntwo\nthree\nfour\n5\n"
