"""What `--write` does to what is there already: a file, a link, a pipe, a device, and what may not be written."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

import lrfinder
from lrfinder.advice import Request
from lrfinder.api.recommend import recommend_run
from lrfinder.api.runs.run_answer import read_run_answer
from lrfinder.errors import UsageError
from lrfinder.files import write_new

GOOD = "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 3}\n"
RATES = ["0,0.1", "1,0.1", "2,0.1"]
NOBODY = 65534
GOLDEN = Path(__file__).parents[1] / "data" / "run-v10-tiny"
EXPORT = ("schedule", "export", "c.yaml", "--to", "csv", "--write")
BATCHES = ("schedule", "batches", "c.yaml", "--samples", "8", "--batch-size", "4", "--write")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(GOOD)
    return tmp_path


def test_a_file_and_what_a_link_leads_to_keep_their_mode(zygote, folder: Path) -> None:
    for command, name in ((EXPORT, "rates.csv"), (BATCHES, "grown.yaml")):
        (folder / name).write_text("before")
        (folder / name).chmod(0o640)
        (folder / "link.yaml").symlink_to(name)
        assert zygote.run(*command, "link.yaml", cwd=folder)[0] == 0
        assert (folder / "link.yaml").readlink() == Path(name)
        assert (folder / name).read_text() != "before"
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o640
        (folder / "link.yaml").unlink()


@pytest.mark.parametrize("name", ["r" * 251 + ".csv", "\u00e4" * 125 + "r.csv"])
def test_a_name_may_be_as_long_as_the_system_takes(zygote, folder: Path, name: str) -> None:
    for _ in range(2):  # new, and replaced
        status, child = zygote.run(*EXPORT, name, cwd=folder)
        assert status == 0, child.stderr
    assert (folder / name).read_text().split()[-3:] == RATES
    assert sorted(path.name for path in folder.iterdir()) == sorted([name, "c.yaml"])
    status, child = zygote.run(*EXPORT, f"{name}x", cwd=folder)
    assert status == 2
    assert "File name too long" in child.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
def test_no_file_of_a_run_holds_a_name_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / os.fsdecode(b"d\xe9")
    shutil.copytree(GOLDEN, odd / "run")
    shutil.copytree(GOLDEN, tmp_path / "run")
    for run, write in ((odd / "run", None), (tmp_path / "run", odd / "s.yaml")):
        with pytest.raises(UsageError, match="the name is not UTF-8 text"):
            recommend_run(run, Request(steps=10_000), write=write, picture=False)
    monkeypatch.chdir(odd)
    done = recommend_run(Path("run"), Request(steps=10_000), write=Path("s.yaml"), picture=False)
    assert read_run_answer("run").by == "recommend"
    assert lrfinder.load_schedule("s.yaml") == done.recommendation.schedule


def test_a_character_that_standard_output_lacks_is_escaped(fresh_cli, tmp_path: Path) -> None:
    done = fresh_cli("init", "mod\u00e8le.py", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Wrote mod\\xe8le.py.")
    assert (tmp_path / "mod\u00e8le.py").is_file()


def test_a_link_to_nowhere_stays_one(zygote, folder: Path) -> None:
    (folder / "link").symlink_to("rates.csv")
    assert zygote.run(*EXPORT, "link", cwd=folder)[0] == 0
    assert (folder / "link").is_symlink()
    assert (folder / "rates.csv").read_text().split()[-3:] == RATES


def test_a_pipe_is_written_into(zygote, folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    for command, end in ((EXPORT, "2,0.1"), (BATCHES, "")):
        child = zygote.start(*command, "pipe.yaml", cwd=folder)
        assert end in (folder / "pipe.yaml").read_text()
        assert child.wait() == 0, child.stderr
        assert stat.S_ISFIFO((folder / "pipe.yaml").stat().st_mode)


def test_a_device_stays_one(zygote, folder: Path) -> None:
    (folder / "null").symlink_to("/dev/null")
    assert zygote.run(*EXPORT, "null", cwd=folder)[0] == 0
    assert stat.S_ISCHR((folder / "null").stat().st_mode)
    (folder / "full").symlink_to("/dev/full")
    status, child = zygote.run(*EXPORT, "full", cwd=folder)
    assert status == 4
    assert "full: No space left on device" in child.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can leave files of somebody else's")
def test_a_file_that_may_not_be_written_is_not_replaced(zygote, folder: Path) -> None:
    """Its folder may be: the file would be renamed over. So it is for a link of somebody else's in a shared folder."""
    (folder / "mine.yaml").write_text("mine")
    (folder / "link.yaml").symlink_to("mine.yaml")
    for name in ("mine.yaml", "link.yaml"):
        for path in (folder, *folder.parents):  # pytest closes them to others, also while this runs
            if path != Path("/"):
                path.chmod(path.stat().st_mode | 0o005)
        folder.chmod(0o777)
        child = zygote.start(*BATCHES, name, cwd=folder, user=NOBODY)
        assert child.wait() == 4, child.stderr
        assert f"{name}: Permission denied" in child.stderr
    assert (folder / "mine.yaml").read_text() == "mine"


def test_a_file_that_was_there_stays_if_a_signal_comes_before_another_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_new(folder / "c.yaml", b"new")
    monkeypatch.undo()
    assert (folder / "c.yaml").read_text() == GOOD


def test_a_starter_that_finds_no_room_is_not_left_behind(zygote, folder: Path) -> None:
    status, child = zygote.run("init", "model.py", cwd=folder, fault=f"full:2:{folder}")
    assert status == 4
    assert "free some space there" in child.stderr
    assert not (folder / "model.py").exists()
    assert zygote.run("init", "model.py", cwd=folder)[0] == 0


@pytest.mark.parametrize("name", [".", "", "there", "nowhere/file.yaml", "c.yaml/file.yaml", "link"])
@pytest.mark.parametrize("option", ["export", "batches", "show", "schema"])
def test_a_path_where_no_file_can_stand_is_2(zygote, folder: Path, name: str, option: str) -> None:
    (folder / "there").mkdir()
    (folder / "link").symlink_to("nowhere/else.yaml")
    command = {
        "export": EXPORT,
        "batches": BATCHES,
        "show": ("schedule", "show", "c.yaml", "--png"),
        "schema": ("schedule", "schema", "--write"),
    }[option]
    name = f"{name}.yaml" if option == "batches" and name in {"there", "link"} else name
    if name.endswith(".yaml") and "/" not in name:
        (folder / name.removesuffix(".yaml")).rename(folder / name)
    status, child = zygote.run(*command, name, cwd=folder)
    assert status == 2, child.stderr
    assert child.stderr.startswith("lrfinder: ")
    assert (folder / "c.yaml").read_text() == GOOD


@pytest.mark.parametrize("name", ["c.yaml", "./c.yaml", "link.yaml", "hard.yaml"])
@pytest.mark.parametrize("command", [EXPORT, ("schedule", "show", "c.yaml", "--png")])
def test_a_result_of_another_kind_does_not_replace_what_was_read(
    zygote, folder: Path, name: str, command: tuple[str, ...]
) -> None:
    (folder / "link.yaml").symlink_to("c.yaml")
    (folder / "hard.yaml").hardlink_to(folder / "c.yaml")
    status, child = zygote.run(*command, name, cwd=folder)
    assert status == 2
    assert "it is read here, and would be lost" in child.stderr
    assert (folder / "c.yaml").read_text() == GOOD


def test_training_arguments_are_not_replaced_by_their_schedule(zygote, tmp_path: Path) -> None:
    text = json.dumps({"lr_scheduler_type": "cosine", "learning_rate": 0.001, "max_steps": 100, "warmup_steps": 10})
    (tmp_path / "args.json").write_text(text)
    status, child = zygote.run("schedule", "import", "args.json", "--write", "args.json", cwd=tmp_path)
    assert status == 2
    assert "it is read here" in child.stderr
    assert (tmp_path / "args.json").read_text() == text


WRONG = {"nowhere/c.yaml": "its folder is not there", "rates.txt": "ends in .yaml", "there": "ends in .yaml"}


@pytest.mark.parametrize(
    "command", ["find model.py --steps 400", "verify run --steps 400", "recommend run --steps 400"]
)
@pytest.mark.parametrize("name", [*WRONG, "run/run.json"])
def test_a_config_that_can_not_be_written_is_said_before_anything_is_trained(
    zygote, folder: Path, command: str, name: str
) -> None:
    (folder / "there").mkdir()
    (folder / "model.py").write_text("raise SystemError('the model file was run')\n")
    shutil.copytree(GOLDEN, folder / "run")
    if command.startswith("find") and name not in WRONG:
        pytest.skip("it makes its run folder")
    before = {path: path.read_bytes() for path in (folder / "run").iterdir()}
    status, child = zygote.run(*command.split(), "--write", name, cwd=folder)
    assert status == 2, child.stderr
    assert WRONG.get(name, "the run folder keeps its own results there") in child.stderr
    assert {path: path.read_bytes() for path in (folder / "run").iterdir()} == before
