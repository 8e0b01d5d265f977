"""A sweep leaves no trace: files that were there are as they were, and new ones are gone."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lrfinder.errors import ModelFileError
from lrfinder.records import Stop

Swept = Callable[..., Any]


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file, and the names of all folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def before(tmp_path: Path, program: Callable[[str], str]) -> dict[str, str]:
    """What the user has in the folder: everything that the script would overwrite."""
    program("top_level.py")
    for name in ("last.pt", "best.pt"):
        torch.save({"weight": torch.ones(3)}, tmp_path / name)
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors")
    (tmp_path / "array.npy").write_bytes(b"an array")
    (tmp_path / "copied.npy").write_bytes(b"another")
    (tmp_path / "history.csv").write_text("step\n")
    (tmp_path / "train.log").write_text("of yesterday\n")
    (tmp_path / "settings.json").write_text('{"mine": true}')
    (tmp_path / "notes.txt").write_text("keep me")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "exp0").mkdir()
    (tmp_path / "runs" / "exp0" / "step0.pt").write_bytes(b"a checkpoint")
    (tmp_path / "stale").mkdir()
    (tmp_path / "stale" / "inside.txt").write_text("mine, too")
    return contents(tmp_path)


def test_what_was_there_is_as_it_was_and_what_is_new_is_gone(
    sweep: Swept, before: dict[str, str], tmp_path: Path
) -> None:
    done = sweep("top_level.py", repeats=2)
    assert [trace.stop for trace in done.sweep.traces] == [Stop.COMPLETED] * 2
    assert len(done.sweep.traces[0].losses) == 40
    after = contents(tmp_path)
    # What the first run made before its first step and the second one read is a cache, and stays.
    assert after.pop("cache.pt")
    assert after == before
    assert any("cache.pt" in remark for remark in done.remarks)
    assert not any("put back" in remark for remark in done.remarks)


def test_of_one_run_that_fails_only_data_that_it_has_read_stays(
    sweep: Swept, tmp_path: Path, program: Callable[[str], str]
) -> None:
    before = {"others.py"}
    with pytest.raises(ModelFileError, match="too late") as failure:
        sweep("others.py", "fails late")
    assert set(contents(tmp_path)) - before == {"data", "data/raw", "data/raw/train.txt", "data/raw/test.txt"}
    assert f"left for other runs of the script: {tmp_path / 'data'}" in str(failure.value.hint)


def test_a_checkpoint_that_was_there_is_never_opened_for_writing(
    sweep: Swept, tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("classifier.py")
    place = tmp_path / "model.pt"
    torch.save({"mine": torch.ones(3)}, place)
    place.chmod(0o444)
    stat = place.stat()
    before = contents(tmp_path)
    [trace] = sweep("classifier.py", "--save", place, "--workers", "1", steps=60).sweep.traces
    assert len(trace.losses) > 45  # beyond the first epoch, at whose end the checkpoint is written and read
    assert contents(tmp_path) == before  # neither `finally` nor atexit ran on
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


@pytest.mark.needs("tensorboard")
def test_a_sink_is_told_that_the_sweep_begins_and_ends(sweep: Swept, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator

    done = sweep("classifier.py", sinks=["tensorboard"])
    assert not (tmp_path / "lrfinder-tensorboard").exists()  # its place is the run folder
    events = event_accumulator.EventAccumulator(str(done.folder / "tensorboard"))
    events.Reload()
    (said,) = events.Tensors("pick/text_summary")
    assert str(done.advice.updates) in said.tensor_proto.string_val[0].decode()
    assert events.Tags()["images"] == ["curve"]


def test_a_script_that_wants_a_new_folder_gets_one_at_each_start(sweep: Swept, tmp_path: Path) -> None:
    done = sweep("others.py", "new folder", repeats=3)
    assert [trace.stop for trace in done.sweep.traces] == [Stop.COMPLETED] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["others.py"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("given", ["log.db", "file:log.db?cache=private"])
def test_a_database_is_as_it_was(
    sweep: Swept, program: Callable[[str], str], tmp_path: Path, there: bool, journal: str, given: str
) -> None:
    """The process ends in the middle of a transaction: a journal that it left would change the database later."""
    program("database.py")
    if there:
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as log, log:
            log.execute("create table losses (step integer, loss real, words text)")
            log.execute("insert into losses values (-1, 0.5, 'of yesterday')")
    before = contents(tmp_path)
    done = sweep("database.py", given, journal, repeats=2, max_lr=0.5)
    assert [trace.stop for trace in done.sweep.traces] == [Stop.COMPLETED] * 2
    assert contents(tmp_path) == before
    if there:
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as log:
            assert log.execute("select * from losses").fetchall() == [(-1, 0.5, "of yesterday")]
