"""`lrfinder runs`: every run folder in a line, and a damaged one named."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment
from lrfinder.api.runs.run_list import remove_run
from lrfinder.errors import RunError
from lrfinder.files import AppendFile

DATA = Path(__file__).parents[1] / "data"


def test_newest_first_with_what_was_recommended_and_nothing_changed(cli, tmp_path: Path) -> None:
    for age, name in enumerate(("run-v5-tiny", "run-v3-auto", "run-v4-tiny")):
        shutil.copytree(DATA / name, tmp_path / "lrfinder-runs" / name)
        os.utime(tmp_path / "lrfinder-runs" / name / "run.json", (1e9 - age, 1e9 - age))
    assert cli("recommend", "lrfinder-runs/run-v3-auto", "--steps", 100).returncode == 0
    (tmp_path / "lrfinder-runs" / "run-v4-tiny" / "run.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cli("runs", "--json")
    newest, other = json.loads(done.stdout)["runs"]
    assert (newest["run"], newest["pick"]) == ("lrfinder-runs/run-v5-tiny", None)
    assert (other["run"], other["model"], other["ended"]) == ("lrfinder-runs/run-v3-auto", "model", "done")
    kept = json.loads((tmp_path / other["run"] / "recommendation.json").read_text())
    assert other["pick"] == kept["picks"][0]
    assert "run-v4-tiny/run.json: not valid JSON" in done.stderr
    assert cli("runs", "--quiet").stdout.split() == [newest["run"], other["run"]]
    assert f"{other['pick']['lr']:.3g}" in cli("runs").stdout
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_called_run_json_but_is_no_file_is_no_run(cli, tmp_path: Path) -> None:
    run = tmp_path / "lrfinder-runs" / "run-v5-tiny"
    shutil.copytree(DATA / "run-v5-tiny", run)
    os.utime(run / "run.json", (1e9, 1e9))
    for name in ("pipe", "folder"):
        (tmp_path / "lrfinder-runs" / name).mkdir()
    os.mkfifo(tmp_path / "lrfinder-runs" / "pipe" / "run.json")
    (tmp_path / "lrfinder-runs" / "folder" / "run.json").mkdir()
    assert [line["run"] for line in json.loads(cli("runs", "--json").stdout)["runs"]] == ["lrfinder-runs/run-v5-tiny"]
    assert "run-v5-tiny" in cli("recommend", "--json").stdout


def test_where_there_is_none_it_says_how_to_make_one(cli) -> None:
    done = cli("runs", "nowhere")
    assert (done.returncode, done.stdout) == (0, "No run in nowhere: `lrfinder sweep MODEL` makes one.\n")


def made_runs(tmp_path: Path) -> list[Path]:
    """Return three run folders, newest first, beside a damaged one and one that is no run."""
    folder, names = tmp_path / "lrfinder-runs", ("run-v5-tiny", "run-v4-tiny", "run-v3-auto")
    for age, name in enumerate(names):
        shutil.copytree(DATA / name, folder / name)
        os.utime(folder / name / "run.json", (1e9 - age, 1e9 - age))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.txt").write_text("mine")
    return [folder / name for name in names]


def test_clean_keeps_the_newest_and_whatever_is_no_run(cli, tmp_path: Path) -> None:
    newest, *others = made_runs(tmp_path)
    refused = cli("runs", "--clean")
    assert (refused.returncode, "add --yes" in refused.stderr) == (2, True)
    assert all(path.exists() for path in others)
    done = cli("runs", "--clean", "--yes", "--json")
    assert set(json.loads(done.stdout)["removed"]) == {f"lrfinder-runs/{path.name}" for path in others}
    left = {path.name for path in (tmp_path / "lrfinder-runs").iterdir()}
    assert left == {newest.name, "damaged", "thesis"}
    assert cli("runs", "--clean", "--yes").stdout == "Removed: 0 run folders, 0 bytes.\n"
    assert cli("runs", "--clean", "--yes", "--keep", "0").returncode == 0
    assert not newest.exists()


def test_clean_neither_counts_nor_removes_links_and_goes_on_after_what_it_cannot_remove(cli, tmp_path: Path) -> None:
    newest, in_use, old = made_runs(tmp_path)
    (newest.parent / "latest").symlink_to(newest.name)
    shutil.copytree(DATA / "run-v5-tiny", tmp_path / "away")
    (newest.parent / "away").symlink_to(tmp_path / "away")
    log = AppendFile(in_use / "trials.jsonl")
    assert log.lock()
    try:
        done = cli("runs", "--clean", "--yes", "--json")
    finally:
        log.close()
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert (said["removed"], said["left"]) == ([f"lrfinder-runs/{old.name}"], [f"lrfinder-runs/{in_use.name}"])
    assert f"lrfinder-runs/{in_use.name}: another process is making trials of it; wait for its end" in done.stderr
    left = {path.name for path in newest.parent.iterdir()}
    assert left == {newest.name, in_use.name, "latest", "away", "damaged", "thesis"}
    assert (tmp_path / "away" / "run.json").exists()


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"y\n", 1)])
def test_clean_asks_on_a_terminal(tmp_path: Path, answer: bytes, left: int) -> None:
    runs = made_runs(tmp_path)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "lrfinder", "runs", "--clean"], cwd=tmp_path, env=environment(), stdin=theirs,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Remove 2 run folders, " in done.stderr
    assert sum(path.exists() for path in runs) == left


def test_clean_leaves_a_link_a_run_that_is_written_and_the_working_folder(tmp_path: Path, monkeypatch) -> None:
    run, other, _ = made_runs(tmp_path)
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(RunError, match="a link"):
        remove_run(tmp_path / "link")
    with pytest.raises(RunError, match="not a run folder"):
        remove_run(tmp_path / "lrfinder-runs" / "thesis")
    program = (
        "import sys; from lrfinder.files import AppendFile; from pathlib import Path\n"
        "f = AppendFile(Path(sys.argv[1])); print(f.lock(), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(run / "curve.csv")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(RunError, match="another process is writing it"):
            remove_run(run)
    finally:
        holder.communicate()
    monkeypatch.chdir(run)
    with pytest.raises(RunError, match="the working folder is in it"):
        remove_run(run)
    monkeypatch.chdir(tmp_path)
    remove_run(run)
    assert not run.exists()
    assert other.exists()
