"""Whatever a script does to files before it trains and after, those that were there are as they were."""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrfinder.scripts.footprints import Footprints
from lrfinder.scripts.inside import kept
from lrfinder.scripts.inside.file_guard import FileGuard
from lrfinder.scripts.inside.messages import Messages

LARGE = 1000  # bytes, in these tests

Trains = Callable[[], None]  # what is called where the script's training begins


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_COPIED", LARGE - 1)


def write(path: str, text: str = "new") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def as_it_is(folder: Path) -> dict[str, tuple[int, object]]:
    """Return the mode and the content of everything: of a link where it leads to, of a folder nothing."""
    found: dict[str, tuple[int, object]] = {}
    for path in (Path(place, name) for place, folders, files in os.walk(folder) for name in folders + files):
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found


def run_of(script: Callable[[Trains], None], scratch: Path, made_before: list[str]) -> list[dict[str, object]]:
    """Run a script in a process of its own, and return the messages of its file guard."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            guard = FileGuard(Messages(writing), str(scratch), made_before)
            script(guard.close)
            status = 0
        except BaseException:  # noqa: BLE001 - the process must end here
            traceback.print_exc(file=sys.__stderr__)
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as messages:
        told = [json.loads(line) for line in messages]
    assert os.waitpid(child, 0)[1] == 0
    return told


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def runs(scratch: Path) -> Callable[..., Footprints]:
    def of(script: Callable[[Trains], None], times: int = 1) -> Footprints:
        footprints = Footprints()
        for _ in range(times):
            footprints.run_started()
            for message in run_of(script, scratch, footprints.made_before):
                footprints.take(message)
            footprints.run_ended()
        footprints.sweep_ended()
        return footprints

    return of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the user has."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.log", "old.log", "out/old.pt", "out/sub/x.txt", "store/linked.log", "run1/x", "settings.json"):
        write(name, f"the user's {name}")
    for name in ("last.ckpt", "big/model.bin", "big/index.json"):
        write(name, f"the user's {name}" * LARGE)
    Path("empty").mkdir()
    Path("linked.log").symlink_to("store/linked.log")
    Path("latest").symlink_to("run1")
    Path("nowhere").symlink_to("store/not-there")
    Path("read-only.txt").write_text("the user's")
    Path("read-only.txt").chmod(0o444)
    return tmp_path


def removes_and_makes_folders(trains: Trains) -> None:
    for name in ("out", "empty"):
        shutil.rmtree(name)
        Path(name).mkdir()
    write("out/log.txt")
    write("out/old.pt")
    trains()
    write("out/late.txt")


def removes_and_makes_files(trains: Trains) -> None:
    Path("train.log").unlink()
    write("train.log")
    Path("read-only.txt").unlink()
    shutil.copy(__file__, "read-only.txt")
    Path("read-only.txt").chmod(0o400)
    trains()
    write("train.log", "later")


def removes_and_makes_links(trains: Trains) -> None:
    Path("latest").unlink()
    Path("run2").mkdir(exist_ok=True)
    Path("latest").symlink_to("run2")
    write("latest/y")
    trains()
    write("latest/z")


def empties_a_folder(trains: Trains) -> None:
    for path in sorted(Path("out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path("out").rmdir()
    write("out")  # a file where a folder was
    Path("train.log").unlink()
    write("train.log/inside")  # and a folder where a file was
    trains()


def puts_a_link_where_a_folder_was(trains: Trains) -> None:
    shutil.rmtree("out")
    Path("out").symlink_to("run1")
    write("out/x")
    write("out/new")
    trains()


def renames(trains: Trains) -> None:
    Path("out").rename("out.old")
    write("out/new.pt")
    Path("train.log").replace("old.log")  # over another one of the user's
    write("train.log")
    write("settings.json.tmp")
    Path("settings.json.tmp").replace("settings.json")
    trains()
    shutil.rmtree("out.old")


def writes_through_links(trains: Trains) -> None:
    write("linked.log")
    write("latest/x")
    write("nowhere")
    trains()
    write("linked.log", "later")
    assert Path("linked.log").read_text() == "later"
    Path("new").symlink_to("settings.json")
    Path("new").chmod(0o600)
    Path("new").unlink()


def renames_what_is_large(trains: Trains) -> None:
    Path("last.ckpt").replace("previous.ckpt")
    write("last.ckpt", "new")
    Path("big").rename("big.old")
    write("big.old/more")
    write("big/new")
    write("archive/new")
    shutil.move("previous.ckpt", "archive/previous.ckpt")
    trains()


def removes_what_is_large(trains: Trains) -> None:
    shutil.rmtree("big")
    write("big/index.json")
    write("big/new")
    Path("last.ckpt").unlink()
    write("last.ckpt")
    trains()


def overwrites_what_is_large(trains: Trains) -> None:
    write("last.ckpt")
    Path("big/model.bin").rename("moved.bin")
    Path("big/index.json").replace("big/model.bin")
    write("moved.bin")
    Path("moved.bin").unlink()
    trains()
    write("last.ckpt", "later")
    assert Path("last.ckpt").read_text() == "later"


def makes_folders_anew_in_training(trains: Trains) -> None:
    trains()
    shutil.rmtree("out")
    os.makedirs("out")  # noqa: PTH103 - as most scripts do
    write("out/new.pt")
    with Path("out/old.pt").open("a") as file:  # it was removed
        file.write("new")
    assert Path("out/old.pt").read_text() == "new"
    Path("train.log").unlink()
    with Path("train.log").open("x") as file:
        file.write("new")
    assert Path("train.log").read_text() == "new"
    Path("big").rename("big.old")
    Path("big").mkdir()
    Path("latest").unlink()
    Path("latest").symlink_to("out")


SCRIPTS = (
    removes_and_makes_folders,
    removes_and_makes_files,
    removes_and_makes_links,
    empties_a_folder,
    puts_a_link_where_a_folder_was,
    renames,
    writes_through_links,
    renames_what_is_large,
    removes_what_is_large,
    overwrites_what_is_large,
    makes_folders_anew_in_training,
)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("script", SCRIPTS)
def test_what_was_there_is_as_it_was_and_nothing_else_is_there(
    runs: Callable[..., Footprints], folder: Path, script: Callable[[Trains], None], times: int
) -> None:
    before = as_it_is(folder)
    footprints = runs(script, times)
    assert as_it_is(folder) == before
    assert not footprints.not_kept
    assert not footprints.not_put_back


@pytest.mark.parametrize("script", [removes_what_is_large, overwrites_what_is_large])
def test_where_no_hard_links_can_be_made_it_is_said(
    runs: Callable[..., Footprints],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: Callable[[Trains], None],
) -> None:
    def refused(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refused)
    assert str(folder / "last.ckpt") in runs(script).not_kept


def test_a_pipe_in_a_folder_that_is_removed_stops_nothing(runs: Callable[..., Footprints], folder: Path) -> None:
    before = as_it_is(folder)
    os.mkfifo("out/pipe")

    def script(trains: Trains) -> None:
        shutil.rmtree("out")
        trains()

    assert not runs(script).not_kept
    assert as_it_is(folder) == before


@pytest.mark.parametrize("trained", [False, True])
def test_a_large_file_that_is_opened_to_be_changed_is_named_once_and_not_copied(
    runs: Callable[..., Footprints], folder: Path, scratch: Path, trained: bool
) -> None:
    before = as_it_is(folder)

    def script(trains: Trains) -> None:
        if trained:
            trains()
        for _ in range(3):  # by its default mode the file may be written to
            assert len(np.memmap("last.ckpt", dtype=np.uint8)) > LARGE
        Path("last.ckpt").unlink()
        trains()

    footprints = runs(script, 3)
    assert [*footprints.not_kept] == [str(folder / "last.ckpt")]
    assert as_it_is(folder) == before
    assert not [*scratch.rglob("last.ckpt")]


def test_what_one_process_of_a_run_made_is_no_user_s_for_another_one(tmp_path: Path, scratch: Path) -> None:
    """Of two processes in one training the second finds a folder that the first has made, and makes it anew."""
    made, copy = tmp_path / "out", scratch / "out"
    for folder in (made, copy):
        folder.mkdir()
    footprints = Footprints()
    footprints.run_started()
    footprints.take({"kind": "made", "path": str(made), "late": False, "at": 1.0})
    footprints.take({"kind": "kept", "path": str(made), "copy": str(copy), "moves": False, "at": 2.0})
    footprints.take({"kind": "made", "path": str(made), "late": False, "at": 3.0})
    footprints.run_ended()
    footprints.sweep_ended()
    assert not made.exists()


def test_of_machines_that_share_a_folder_the_first_one_s_copy_is_put_back_last(tmp_path: Path, scratch: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("of the script")
    first, second = Footprints(), Footprints()
    for footprints, at, content in ((first, 1.0, "mine"), (second, 2.0, "of the script")):
        copy = scratch / f"{at}"
        copy.write_text(content)
        footprints.run_started()
        footprints.take({"kind": "kept", "path": str(place), "copy": str(copy), "moves": False, "at": at})
    second.put_back_later(first.kept)
    first.put_back_later(second.kept)
    first.run_ended({str(place): 2.0})
    second.run_ended({str(place): 1.0})
    assert place.read_text() == "mine"


@pytest.mark.parametrize(
    ("elsewhere", "stays"), [({"out": 1.0}, True), ({"out": 3.0}, False), ({"other": 1.0}, False), (None, True)]
)
def test_what_another_machine_has_kept_before_is_no_one_s_to_remove(
    tmp_path: Path, elsewhere: dict[str, float] | None, stays: bool
) -> None:
    """It has removed the user's folder, this one has made it anew at 2.0, and it may have put it back since."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "late").touch()
    footprints = Footprints()
    footprints.run_started()
    footprints.take({"kind": "made", "path": str(folder), "late": False, "at": 2.0})
    footprints.take({"kind": "made", "path": str(folder / "late"), "late": True, "at": 2.5})
    footprints.run_ended(elsewhere and {str(tmp_path / name): at for name, at in elsewhere.items()})
    footprints.sweep_ended()
    assert [path.exists() for path in (folder, folder / "late")] == [stays, stays]
