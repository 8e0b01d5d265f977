"""Which files `--upload` sends: what git tracks, as it is in the working tree; all else is refused, or said."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lrfinder
from helpers.models import GOOD_WITH_VAL
from lrfinder.api.training import executors, upload
from lrfinder.api.training.failure import Failure
from lrfinder.api.training.home import Home
from lrfinder.api.training.upload import Upload
from lrfinder.errors import EnvironmentFailure, UsageError
from lrfinder.store import Source


def git(*arguments: str, folder: Path) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout whose model file is in a folder, beside what isn't tracked; the command is given in that folder."""
    root = tmp_path / "repository"
    write(root, {"exp/model.py": GOOD_WITH_VAL, "exp/gone.txt": "gone", "exp/forced.txt": "tracked"})
    write(root, {"data.txt": "as committed", ".gitignore": "forced.txt\nprivate.txt\n"})
    git("init", "-q", folder=root)
    git("add", "-f", ".", folder=root)
    git("commit", "-qm", "all", folder=root)
    write(root, {"data.txt": "changed", "private.txt": "ignored", "exp/new.txt": "not tracked"})
    (root / "exp" / "gone.txt").unlink()
    monkeypatch.chdir(root / "exp")
    monkeypatch.setattr(executors, "find_spec", lambda name: True)
    return root


def packed(sent: Upload, place: Path) -> dict[str, str]:
    sent.write(place)
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_it_sends_what_git_tracks_as_it_is_in_the_working_tree(repository, tmp_path):
    sent = Upload.of(Source(reference="model.py"))
    files = packed(sent, tmp_path / "a.zip")
    assert sorted(files) == [".gitignore", "data.txt", "exp/", "exp/forced.txt", "exp/model.py"]
    assert files["data.txt"] == "changed"
    assert sent.size == sum(len(text) for text in files.values())
    assert str(sent).startswith(
        f"uploading 4 files, {sent.size} bytes: those that git tracks in {repository}, as they "
    )
    assert "left out" not in str(sent)


def test_a_conflict_and_the_variables_of_a_hook_change_nothing(repository, tmp_path, monkeypatch):
    before = Upload.of(Source(reference="model.py"))
    blob = git("rev-parse", ":data.txt", folder=repository).strip()
    stages = "".join(f"100644 {blob} {stage}\tdata.txt\n" for stage in (1, 2, 3))
    command = ["git", "update-index", "--index-info"]
    subprocess.run(command, input=f"0 {'0' * 40}\tdata.txt\n{stages}", text=True, cwd=repository, check=True)
    assert git("ls-files", "-u", folder=repository).count("data.txt") == 3
    git("init", "-q", str(tmp_path / "other"), folder=tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert Upload.of(Source(reference="model.py")) == before


def test_links_are_sent_as_what_they_lead_to_if_that_is_tracked_and_else_left_out(repository, tmp_path):
    (repository / "own.txt").symlink_to("data.txt")
    (repository / "private-link.txt").symlink_to("private.txt")
    (repository / "outside").symlink_to(tmp_path)
    write(repository, {"moved/data.txt": "tracked"})
    git("add", "own.txt", "private-link.txt", "outside", "moved", folder=repository)
    (repository / "moved" / "data.txt").unlink()
    (repository / "moved").rmdir()
    write(tmp_path, {"elsewhere/data.txt": "not in the repository"})
    (repository / "moved").symlink_to(tmp_path / "elsewhere")
    sent = Upload.of(Source(reference="model.py"))
    files = packed(sent, tmp_path / "a.zip")
    assert files["own.txt"] == "changed"
    assert sent.left_out == ("moved/data.txt", "outside", "private-link.txt")
    assert not {"moved/data.txt", "outside", "private-link.txt", "private.txt"} & files.keys()
    assert "can't be sent: moved/data.txt, outside, private-link.txt" in str(sent)


def test_submodules_are_sent_too(repository, tmp_path):
    write(tmp_path / "library", {"part.py": "part = 1\n"})
    git("init", "-q", folder=tmp_path / "library")
    git("add", ".", folder=tmp_path / "library")
    git("commit", "-qm", "all", folder=tmp_path / "library")
    git("submodule", "--quiet", "add", str(tmp_path / "library"), "library", folder=repository)
    write(repository, {"library/new.txt": "not tracked"})
    assert packed(Upload.of(Source(reference="model.py")), tmp_path / "a.zip").keys() >= {"library/part.py"}
    assert "library/new.txt" not in Upload.of(Source(reference="model.py")).files


@pytest.mark.parametrize(
    ("reference", "start_from", "there"),
    [
        ("model.py", None, ("model.py", None)),
        ("../exp/model.py:model", "forced.txt", ("model.py:model", "forced.txt")),
        ("{root}/exp/model.py", "{root}/data.txt", ("model.py", "../data.txt")),
        ("{link}/model.py", "{root}/../far.pt", ("model.py", "{root}/../far.pt")),
        ("model", None, ("model", None)),
    ],
)
def test_what_the_command_names_is_named_as_in_the_copy(repository, tmp_path, reference, start_from, there):
    (tmp_path / "far.pt").touch()
    (tmp_path / "link").symlink_to(repository / "exp")
    names = {"root": repository, "link": tmp_path / "link"}
    source = Source(
        reference="model:model" if reference == "model" else reference.format(**names),
        start_from=None if start_from is None else start_from.format(**names),
    )
    sent = Upload.of(source).source
    expected = "model:model" if reference == "model" else there[0]
    start = None if there[1] is None else there[1].format(**names)
    assert (sent.reference, sent.start_from and os.path.normpath(sent.start_from)) == (
        expected,
        start and os.path.normpath(start),
    )


@pytest.mark.parametrize(
    ("given", "change", "said"),
    [
        ({"on": None}, None, "--upload says nothing without --on"),
        ({}, "no repository", "exp is no git checkout: fatal: not a git repository"),
        ({}, "not tracked", r"sends only what git tracks, and the model file .*/exp/model.py isn't"),
        ({"start_from": "new.txt"}, None, r"and the checkpoint .*/exp/new.txt isn't"),
        ({}, "outside", r"the folder of the command, and .* isn't in the repository"),
        ({}, "large", r"5 files that git tracks in .* have 500.0 MiB, and Ray takes at most 500.0 MiB; .* is large"),
        ({}, "no git", "git can't be run"),
        ({"model": "torch:nn"}, None, r"isn't in the repository|is no git checkout|git tracks, and the model file"),
    ],
)
def test_it_is_refused_before_anything_is_sent(repository, given, change, said, monkeypatch, capfd):
    if change == "no repository":
        (repository / ".git").rename(repository / "git")
    elif change == "not tracked":
        git("rm", "-q", "--cached", "model.py", folder=repository / "exp")
    elif change == "outside":
        monkeypatch.chdir(repository.parent)
    elif change == "large":
        with (repository / "large").open("wb") as file:
            file.truncate(upload.MOST_BYTES)
        git("add", "-N", "large", folder=repository)  # listed, and not hashed
    elif change == "no git":
        monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(UsageError, match=said):
        lrfinder.sweep(given.pop("model", repository / "exp" / "model.py"), **{"on": "ray", "upload": True, **given})
    assert capfd.readouterr().err == ""


@pytest.fixture
def copy(repository, tmp_path, monkeypatch):
    """What a trial of the repository finds: an unpacked copy, in which its process begins."""
    sent = Upload.of(Source(reference="model.py"))
    home = Home.here(sent.source, sent)
    sent.write(tmp_path / "sent.zip")
    with zipfile.ZipFile(tmp_path / "sent.zip") as archive:
        archive.extractall(tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return sent, home


def test_a_trial_is_in_the_same_folder_of_the_copy_and_leaves_it(copy, tmp_path):
    sent, home = copy
    for _ in range(2):
        with home.entered(sent.source):
            assert Path.cwd() == tmp_path / "copy" / "exp"
            os.chdir("/")  # as a model file may
        assert Path.cwd() == tmp_path / "copy"


def test_a_model_that_would_be_imported_from_elsewhere_is_refused(copy):
    sent, home = copy
    with pytest.raises(EnvironmentFailure, match=r"torch:nn is .*torch/__init__.py there, which wasn't uploaded"):
        home.enter(dataclasses.replace(sent.source, reference="torch:nn"))


def run(code: str, *, wrapped: bool) -> None:
    """Run code of a model file, which may raise another exception than what it met."""
    try:
        exec(code, {})  # noqa: S102 - the code of this test
    except Exception:
        if wrapped:
            raise ValueError("no data")  # noqa: B904 - as people write it
        raise


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("code", ["open('new.txt')", "import one_that_is_not_there"])
def test_what_is_missing_is_named_with_what_was_uploaded(copy, repository, code, wrapped):
    sent, home = copy
    with pytest.raises((OSError, ImportError, ValueError)) as raised, home.entered(sent.source):
        run(code, wrapped=wrapped)
    again = Failure.of(raised.value).error()  # on the way back it is plain data
    assert (type(again), str(again)) == (type(raised.value), str(raised.value))
    assert [f"only the files that git tracks in {repository}" in note for note in again.__notes__] == [True]
    if not wrapped:
        assert "new.txt" in str(again) or "one_that_is_not_there" in str(again)


def test_other_exceptions_get_no_note(copy):
    sent, home = copy
    with pytest.raises(ZeroDivisionError) as raised, home.entered(sent.source):
        run("1 / 0", wrapped=False)
    assert not hasattr(raised.value, "__notes__")
