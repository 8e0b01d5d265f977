"""Run folders: written as the sweep goes, read back whole, cut short, torn, damaged and from the future."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.curves import sweep_of, traces_of
from helpers.run_folders import EXACT
from lrfinder.errors import EnvironmentFailure, RunError
from lrfinder.files import write_atomic
from lrfinder.records import Mode, Point, Precision, Stop, SweepResult, SweepSettings, Trace, UpdateOptions
from lrfinder.store import RunFolder, Source, config_path, latest_run, load_run, load_source, load_unfinished
from lrfinder.store.layout import VERSION

SWEEP = SweepSettings(min_lr=1e-5, max_lr=1.0, steps=20, repeats=2, mode=Mode.CONTINUOUS)
SOURCE = Source(reference="model.py", optimizer="SGD", optimizer_options={"momentum": 0.9}, batch_size=32)


def create(out: Path | None) -> RunFolder:
    return RunFolder.create(out, model="made_up", source=SOURCE, settings=SWEEP, created_by="lrfinder test")


def write(result: SweepResult, out: Path, *, ended: int | None = None) -> Path:
    """Write a run as a sweep would, ending only the first `ended` repeats (all, where None)."""
    with create(out) as folder:
        folder.prepared(result.setup)
        for index, trace in enumerate(result.traces):
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
                folder.measured(Point(repeat=trace.repeat, step=step, lr=lr, loss=loss))
            if ended is None or index < ended:
                folder.repeat_ended(trace)
        return folder.path


@pytest.fixture
def result() -> SweepResult:
    return sweep_of(traces_of(SWEEP, noise=0.1), SWEEP)


def test_a_run_reads_back_exactly(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run")
    read = load_run(run)
    assert read.run == str(run)
    assert (read.settings, read.setup, read.traces) == (result.settings, result.setup, result.traces)


def test_a_run_of_format_version_1_is_read_for_ever() -> None:
    folder = Path(__file__).parent / "data" / "run-v1-lstm"
    read = load_run(folder)
    frame = pd.read_csv(folder / "curve.csv", converters=EXACT)
    assert [len(trace.lrs) for trace in read.traces] == frame.groupby("repeat").size().to_list()
    assert read.updates == 238
    assert read.setup.optimizer.name == "Adam"


def test_a_run_of_format_version_2_is_read_for_ever() -> None:
    folder = Path(__file__).parent / "data" / "run-v2-tiny"
    read = load_run(folder)
    assert [len(trace.lrs) for trace in read.traces] == [30, 30]
    assert (len(read.runs), read.updates) == (5, 110)
    assert {part.skipped for part in (*read.traces, *read.runs)} == {0}
    source = load_source(folder)
    assert (source.optimizer, source.optimizer_options, source.batch_size) == ("sgd", {"momentum": 0.9}, 12)
    assert source.training == UpdateOptions()


def test_how_it_trained_reads_back(result: SweepResult, tmp_path: Path) -> None:
    training = UpdateOptions(
        precision=Precision.FP16, accumulate=4, clip_norm=1.5, swept_optimizer="generator", scale_others=True
    )
    source = dataclasses.replace(SOURCE, training=training)
    with RunFolder.create(
        tmp_path / "run", model="m", source=source, settings=result.settings, created_by="test"
    ) as folder:
        folder.prepared(result.setup)
    assert load_source(tmp_path / "run") == source
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["source"]["training"]
    assert stored["sweep"] == "generator"  # as in every run.json since format version 3
    assert "swept_optimizer" not in stored


def test_a_run_tells_where_its_model_came_from(result: SweepResult, tmp_path: Path) -> None:
    assert load_source(write(result, tmp_path / "run")) == SOURCE
    assert load_source(Path(__file__).parent / "data" / "run-v1-lstm").optimizer is None


@pytest.mark.parametrize("version", [1, 3, 5])
def test_where_the_model_came_from_must_be_there(result: SweepResult, tmp_path: Path, version: int) -> None:
    run = write(result, tmp_path / "run")
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, "version": version, "source": 3, "reference": 3}))
    with pytest.raises(RunError) as caught:
        load_source(run)
    assert str(caught.value).startswith(
        f"{run}/run.json: source{'.reference' if version == 1 else ''}: Input should be"
    )
    assert caught.value.hint == AGAIN


def test_the_curve_is_plain_csv(result: SweepResult, tmp_path: Path) -> None:
    frame = pd.read_csv(write(result, tmp_path / "run") / "curve.csv", converters=EXACT)
    assert list(frame.columns) == ["repeat", "step", "lr", "loss"]
    assert tuple(frame.loc[frame["repeat"] == 1, "loss"]) == pytest.approx(result.traces[1].losses, rel=1e-14)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_float_survives(
    result: SweepResult, tmp_path_factory: pytest.TempPathFactory, losses: list[float]
) -> None:
    trace = Trace(
        repeat=0,
        seed=1,
        initial_loss=None,
        lrs=SWEEP.lrs()[: len(losses)],
        losses=tuple(losses),
        stop=Stop.NON_FINITE,
        updates=len(losses),
    )
    read = load_run(write(sweep_of([trace], SWEEP), tmp_path_factory.mktemp("run") / "r")).traces[0]
    assert [x.hex() for x in read.losses] == [x.hex() for x in losses]
    assert read.lrs == trace.lrs


def test_a_non_finite_initial_loss_is_kept_as_unknown(result: SweepResult, tmp_path: Path) -> None:
    trace = Trace(repeat=0, seed=0, initial_loss=math.nan, lrs=(), losses=(), stop=Stop.NON_FINITE, updates=0)
    assert load_run(write(sweep_of([trace], SWEEP), tmp_path / "run")).traces[0].initial_loss is None


def test_a_killed_run_reads_as_far_as_it_came(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run", ended=1)
    with (run / "curve.csv").open("a") as file:
        file.write("1,20,0.5")  # torn: no newline
    traces = load_run(run).traces
    assert traces[0] == result.traces[0]
    assert traces[1].losses == result.traces[1].losses
    assert traces[1].stop is Stop.INTERRUPTED


def test_cut_at_every_byte_the_curve_is_still_read(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run", ended=0)
    whole = (run / "curve.csv").read_bytes()
    for length in range(len("repeat,step,lr,loss\n"), len(whole), 7):
        (run / "curve.csv").write_bytes(whole[:length])
        points = sum(len(trace.losses) for trace in load_run(run).traces)
        assert points == whole[:length].count(b"\n") - 1


def test_the_points_of_a_repeat_that_begins_anew_are_taken_back(result: SweepResult, tmp_path: Path) -> None:
    """As where memory ran out; those of the repeats before it stay."""
    first, second = result.traces
    with create(tmp_path / "run") as folder:
        for repeat, trace in enumerate((first, second)):
            for attempt in range(3):
                folder.repeat_started(repeat)
                folder.prepared(result.setup) if (repeat, attempt) == (0, 0) else None
                for step, (lr, loss) in enumerate(zip(trace.lrs[:5], trace.losses[:5], strict=True)):
                    folder.measured(Point(repeat=repeat, step=step, lr=lr, loss=loss if attempt == 2 else 0.5))
            folder.repeat_ended(dataclasses.replace(trace, lrs=trace.lrs[:5], losses=trace.losses[:5], updates=5))
    read = load_run(tmp_path / "run").traces
    assert [trace.losses for trace in read] == [first.losses[:5], second.losses[:5]]


def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=f"^{tmp_path}: the folder is not empty$") as caught:
        create(tmp_path)
    assert caught.value.hint == "name a new one with --out"
    assert create(tmp_path / "one" / "two").path.is_dir()


@pytest.mark.parametrize("left", [False, True], ids=["a new folder", "one that a killed sweep left"])
def test_of_two_sweeps_of_one_process_the_first_keeps_the_folder(tmp_path: Path, left: bool) -> None:
    """To its own locks a process is blind, and the one that is refused must leave the other's file where it is."""
    if left:
        (tmp_path / "curve.csv").touch()
    first = create(tmp_path)
    with pytest.raises(RunError, match="the folder is not empty"):
        create(tmp_path)
    script = f"""
import fcntl, sys
try:
    fcntl.lockf(open({str(tmp_path / "curve.csv")!r}, "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(3)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 3  # it is locked still
    with first:
        pass
    assert not list(tmp_path.iterdir())  # nothing was measured


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert create(tmp_path).path == tmp_path


@pytest.mark.parametrize("out", ["run", "new/deep/run", "there/new/run", None])
def test_a_run_that_measured_nothing_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()  # the user's own, though it is empty
    with create(None if out is None else Path(out)) as folder:
        assert folder.place.is_dir()
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    with create(Path("new/one")), create(Path("new/two")):
        pass
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_runs_started_together_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda pattern: {"%Y%m%d-%H%M%S": "20261125-031500"}[pattern])
    folders = [create(None).path.as_posix() for _ in range(32)]
    first = "lrfinder-runs/made_up-20261125-031500"
    assert folders == [first, *(f"{first}-{number}" for number in range(2, 33))]


def test_the_latest_run_is_found(result: SweepResult, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"^{tmp_path}: no run found$") as caught:
        latest_run(tmp_path)
    assert caught.value.hint == "run `lrfinder sweep MODEL` first, or name a run folder"
    for name, age in (("a", 100), ("b", 50), ("c", 200)):
        run = write(result, tmp_path / name)
        os.utime(run / "run.json", (1e9 - age, 1e9 - age))
    assert latest_run(tmp_path) == tmp_path / "b"


NOW = f'"version": {VERSION}'
DAMAGE = [
    ("run.json", lambda text: "", "not valid JSON"),
    ("run.json", lambda text: text[: len(text) // 2], "not valid JSON"),
    ("run.json", lambda text: "[1]", "expected an object, got list"),
    ("run.json", lambda text: "[" * 100_000, "not valid JSON"),
    (
        "run.json",
        lambda text: text.replace('"lrfinder.run"', '"other"'),
        "format: expected 'lrfinder.run', got 'other'",
    ),
    ("run.json", lambda text: text.replace(NOW, f'"version": {VERSION + 1}'), "newer lrfinder"),
    ("run.json", lambda text: text.replace(NOW, '"version": true'), "version: expected a whole number"),
    ("run.json", lambda text: text.replace(NOW, '"version": "1"'), "version: expected a whole number"),
    ("run.json", lambda text: text.replace('"steps": 20', '"steps": 1'), "settings: .*steps must be at least 2"),
    ("run.json", lambda text: text.replace('"steps": 20', '"steps": "many"'), "settings.steps"),
    ("run.json", lambda text: text.replace('"steps": 20', '"steps": "20"'), "settings.steps"),
    ("run.json", lambda text: text.replace('"steps": 20', '"steps": true'), "settings.steps"),
    ("run.json", lambda text: text.replace('"repeat": 0', '"repeat": [0]'), "repeats.0.repeat"),
    ("run.json", lambda text: text.replace('"steps": 20', '"stepz": 20'), "settings.stepz"),
    ("run.json", lambda text: text.replace('"min_lr": 1e-05', '"min_lr": NaN'), "NaN is not a JSON number"),
    ("run.json", lambda text: text.replace('"device": "cpu"', '"device": 3'), "setup.device"),
    ("run.json", lambda text: text.replace('"repeats": [', '"repeats": [7, '), "repeats: expected a list of objects"),
    ("run.json", lambda text: text.replace('"stop": "completed"', '"stop": "bored"'), "repeats.0.stop"),
    ("curve.csv", lambda text: text.replace("repeat,", "rep,"), "curve.csv:1: expected the header"),
    ("curve.csv", lambda text: text.replace("\n0,3,", "\n0,4,"), "curve.csv:5: repeat 0, step 4 is out of order"),
    ("curve.csv", lambda text: text.replace("\n0,3,", "\n9,0,"), "curve.csv:5: repeat 9, step 0 is out of order"),
    ("curve.csv", lambda text: text.replace("\n0,3,", "\n0,3,x"), "curve.csv:5: expected four numbers"),
    ("curve.csv", lambda text: text.replace("\n0,3,", "\n0,3,-"), "curve.csv:5: lr: expected a finite number above 0"),
    ("curve.csv", lambda text: text.replace("\n0,3,", "\n0,3,1,"), "curve.csv:5: expected four numbers"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE)
def test_damage_is_named(result: SweepResult, tmp_path: Path, name: str, damage: object, message: str) -> None:
    run = write(result, tmp_path / "run")
    text = (run / name).read_text()
    changed = damage(text)  # type: ignore[operator]
    assert changed != text
    (run / name).write_text(changed)
    with pytest.raises(RunError, match=message) as caught:
        load_run(run)
    assert str(caught.value).startswith(str(run / name))
    newer = "upgrade: pip install --upgrade lrfinder"
    assert caught.value.hint == (newer if "newer" in message else "the file is damaged or was edited; sweep again")


def refused(run: Path) -> tuple[str, str]:
    """Return the message, after the file's name, and the hint with which a run folder is refused."""
    with pytest.raises(RunError) as caught:
        load_run(run)
    return str(caught.value).removeprefix(str(run)), caught.value.hint


AGAIN = "the file is damaged or was edited; sweep again"


def test_not_a_run_folder(tmp_path: Path) -> None:
    hint = "name the folder that `lrfinder sweep` wrote"
    assert refused(tmp_path) == (": not a run folder: there is no run.json in it", hint)
    (tmp_path / "run.json").write_bytes(b"{}  \xff\xfe\x00")
    assert refused(tmp_path) == ("/run.json: not UTF-8 text (byte 4)", AGAIN)


def test_a_file_too_large_for_a_run_is_not_read(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run")
    whole = load_run(run)
    for name, limit in (("curve.csv", 256), ("run.json", 4)):
        text = (run / name).read_bytes()
        with (run / name).open("r+b") as file:
            file.truncate(limit * 2**20 + 1)  # a hole: it takes no room on the disk
        assert refused(run) == (f"/{name}: larger than {limit} MiB", "this is no file of lrfinder's")
        (run / name).write_bytes(text)
    assert load_run(run) == whole


def test_a_pipe_is_refused_and_not_waited_for(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run")
    for name in ("curve.csv", "runs.jsonl"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
        assert refused(run) == (f"/{name}: not a regular file", "this is no file of lrfinder's")
        (run / name).unlink()
        (run / "curve.csv").write_text("repeat,step,lr,loss\n")


def test_a_file_that_can_not_be_read(result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(result, tmp_path / "run")

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refused(run) == ("/run.json: Permission denied", "check the path and its permissions")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("created_by", "a\x1b[2Jb"),
        ("x\x07", 1),
        ("deep", [{"a": ["\x9b31m"]}]),
        ("deep", {"a": {"\x00": 1}}),
    ],
)
def test_what_a_terminal_would_obey_is_refused_wherever_it_is(
    result: SweepResult, tmp_path: Path, where: str, value: object
) -> None:
    run = write(result, tmp_path / "run")
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, where: value}))
    message, hint = refused(run)
    assert re.fullmatch(r"/run\.json: a control character in '[ -~]*'", message)
    assert hint == AGAIN


def test_version_1_without_a_mode_is_continuous(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "data" / "run-v1-lstm", folder)
    document = json.loads((folder / "run.json").read_text())
    document["settings"].pop("mode", None)
    (folder / "run.json").write_text(json.dumps(document))
    assert load_run(folder).settings.mode is Mode.CONTINUOUS
    (folder / "run.json").write_text(json.dumps({**document, "settings": {**document["settings"], "mode": "restart"}}))
    assert load_run(folder).settings.mode is Mode.RESTART
    (folder / "run.json").write_text(json.dumps({**document, "settings": 3}))
    message, hint = refused(folder)
    assert message.startswith("/run.json: settings: ")
    assert hint == AGAIN


def test_what_was_cut_short_says_so(result: SweepResult, tmp_path: Path) -> None:
    trace = load_run(write(result, tmp_path / "run", ended=0)).traces[1]
    assert trace == dataclasses.replace(
        result.traces[1],
        seed=SWEEP.seed,
        initial_loss=None,
        stop=Stop.INTERRUPTED,
        why="no end of this repeat is noted: the sweep was killed, or is still going",
    )


def test_a_config_is_not_written_through_a_link_in_a_run_folder(tmp_path: Path) -> None:
    assert config_path(tmp_path) == tmp_path / "schedule.yaml"
    (tmp_path / "schedule.yaml").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=r"schedule\.yaml: a symbolic link: nothing is written through it$") as caught:
        config_path(tmp_path)
    assert caught.value.hint == "name another file with --write"


def test_run_json_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFailure, match=r"run\.json: No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_nothing_is_written_through_a_link(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run", ended=1)
    (run / "curve.csv").rename(tmp_path / "mine.csv")
    (tmp_path / "mine.csv").write_text("mine")
    kept = dataclasses.replace(load_unfinished(run), traces=())
    (run / "curve.csv").symlink_to(tmp_path / "mine.csv")
    with pytest.raises(EnvironmentFailure, match=r"curve\.csv: a symbolic link"):
        RunFolder.resume(kept)
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_a_curve_that_was_killed_before_its_first_line_is_empty(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run", ended=0)
    for begun in ("", "repeat,", "repeat,step,lr,loss"):
        (run / "curve.csv").write_text(begun)
        assert load_run(run).traces == ()
    (run / "curve.csv").write_text("lr,loss")
    with pytest.raises(RunError, match=r"curve\.csv:1: expected the header"):
        load_run(run)


def test_two_processes_never_write_one_run(result: SweepResult, tmp_path: Path) -> None:
    run = write(result, tmp_path / "run", ended=1)
    kept = load_unfinished(run)
    locking = (
        "import sys, pathlib; from lrfinder.files import AppendFile\n"
        "lines = AppendFile(pathlib.Path(sys.argv[1])); print(lines.lock(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", locking, str(run / "curve.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(RunError, match=f"^{run}: another process is writing this run$") as caught:
            RunFolder.resume(kept)
        assert caught.value.hint == "let it end, or end it, before you resume"
        other.communicate("")
    RunFolder.resume(kept).__exit__()


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    for name, age in ((".run.json.0123abcd", 3600), (".run.json.4567abcd", 0), (".run.json.backup", 3600)):
        (tmp_path / name).write_text("left")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    write_atomic(tmp_path / "run.json", b"new")
    # One may be another writer's, and one is not ours.
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", ".run.json.4567abcd", ".run.json.backup"}


def test_run_json_is_strict_json(result: SweepResult, tmp_path: Path) -> None:
    document = json.loads((write(result, tmp_path / "run") / "run.json").read_text(), parse_constant=pytest.fail)
    assert document["created_by"] == "lrfinder test"
    assert document["source"]["reference"] == "model.py"
