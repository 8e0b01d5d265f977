"""Two processes and one run folder: the first one has it, the other is refused, and nothing of the first is changed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.run_folders import MODEL, SWEEP, contents, intact
from helpers.zygote import Zygote
from lrfinder.store import load_run, load_source

WAITS = "import os, time\nopen('importing', 'w').close()\nwhile not os.path.exists('go'):\n    time.sleep(0.005)\n"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("first", ["slow", "quick"])
def test_the_second_of_two_sweeps_into_one_folder_is_refused(folder: Path, zygote: Zygote, first: str) -> None:
    """Whether the first one is still importing its model or has ended."""
    (folder / "model.py").write_text(WAITS + MODEL)
    (folder / "other.py").write_text(MODEL)
    begun = zygote.start(*SWEEP, "--out", "run", "--seed", "1", cwd=folder)
    wait_for(folder / "importing")
    if first == "quick":
        (folder / "go").touch()
        assert begun.wait() in {0, 5}, begun.stderr
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    status, child = zygote.run(SWEEP[0], "other.py", *SWEEP[2:], "--out", "run", "--seed", "2", cwd=folder)
    assert status == 2, child.stderr
    assert "run: the folder is not empty" in child.stderr
    assert {path.name: path.read_bytes() for path in (folder / "run").iterdir()} == before
    (folder / "go").touch()
    assert begun.wait() in {0, 5}, begun.stderr
    assert load_run(folder / "run").settings.seed == 1
    assert load_source(folder / "run").reference == "model.py"


RACE = """
import os, sys
from pathlib import Path
from lrfinder.errors import RunError
from lrfinder.records import SweepSettings
from lrfinder.store import RunFolder, Source

for round in range(100):
    if {left}:
        Path(str(round)).mkdir()
        Path(str(round), "curve.csv").touch()
    beginning, begin = os.pipe()  # closing it lets all of them go at once
    ending, end = os.pipe()
    outcomes, tell = os.pipe()
    for number in range(4):
        if os.fork() == 0:
            os.close(begin), os.close(end)
            os.read(beginning, 1)
            try:
                RunFolder.create(Path(str(round)), model="m", source=Source(reference=str(number)),
                                 settings=SweepSettings(), created_by="a race")
                os.write(tell, b"0")
            except RunError as error:
                os.write(tell, b"2" if "not empty" in str(error) else b"?")
            except BaseException:
                os.write(tell, b"!")
            os.read(ending, 1)
            os._exit(0)  # as a killed process: nothing is tidied up
    os.close(begin)
    told = [os.read(outcomes, 1).decode() for _ in range(4)]
    os.close(end)
    for _ in range(4):
        os.wait()
    for handle in (beginning, ending, outcomes, tell):
        os.close(handle)
    print(*sorted(told))
"""


@pytest.mark.parametrize("left", [False, True], ids=["a new one", "one that a killed sweep left"])
def test_of_four_that_race_for_a_folder_one_has_it(tmp_path: Path, left: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RACE.replace("{left}", str(left))],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["0 2 2 2"] * 100, done.stderr


def test_a_sweep_that_was_killed_while_it_imported_leaves_nothing_in_the_way(folder: Path, zygote: Zygote) -> None:
    (folder / "model.py").write_text(WAITS + MODEL)
    begun = zygote.start(*SWEEP, "--out", "run", cwd=folder)
    wait_for(folder / "importing")
    begun.send_signal(signal.SIGKILL)
    assert begun.wait() == -signal.SIGKILL
    assert [path.name for path in (folder / "run").iterdir()] == ["curve.csv"]
    (folder / "go").touch()
    status, child = zygote.run(*SWEEP, "--out", "run", cwd=folder)
    assert status in {0, 5}, child.stderr
    assert len(load_run(folder / "run").traces) == 2


@pytest.mark.parametrize("what", ["a curve of theirs", "another file beside it", "a link"])
def test_what_no_killed_sweep_left_is_in_the_way(folder: Path, zygote: Zygote, what: str) -> None:
    (folder / "model.py").write_text(MODEL)
    run = folder / "run"
    run.mkdir()
    if what == "a link":
        (folder / "elsewhere").touch()
        (run / "curve.csv").symlink_to(folder / "elsewhere")
    else:
        (run / "curve.csv").write_text("mine\n" if what == "a curve of theirs" else "")
    if what == "another file beside it":
        (run / "notes.txt").write_text("mine\n")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    status, child = zygote.run(*SWEEP, "--out", "run", cwd=folder)
    assert status == 2, child.stderr
    assert "run: the folder is not empty" in child.stderr
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


FORK = (
    "pid = os.fork()\nif pid:\n    open('status', 'a').write(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))\n"
)
FORKING = {
    "an import": f"\n{FORK}",
    "an update": "\ncalls = []\ndef loss_fn(output, target):\n    calls.append(1)\n    if len(calls) == 4:\n"
    f"        exec({FORK!r})\n    return nn.functional.cross_entropy(output, target)\n",
}


@pytest.mark.parametrize("where", FORKING)
def test_a_child_that_the_model_file_forked_writes_nothing(folder: Path, zygote: Zygote, where: str) -> None:
    """It comes back and would sweep into the folder of its parent, which waits for it."""
    (folder / "model.py").write_text(MODEL)
    assert zygote.run(*SWEEP, "--out", "alone", cwd=folder)[0] in {0, 5}
    (folder / "model.py").write_text(MODEL + FORKING[where])
    status, child = zygote.run(*SWEEP, "--out", "run", cwd=folder)
    assert status in {0, 5}, child.stderr
    assert (folder / "status").read_text() == "3"
    assert "a process that your code forked came back" in child.stderr
    assert contents(folder / "run").keys() == contents(folder / "alone").keys()
    assert (folder / "run" / "curve.csv").read_bytes() == (folder / "alone" / "curve.csv").read_bytes()
    alone = load_run(folder / "alone").runs
    if all(run.constant is None for run in load_run(folder / "run").runs):  # it isn't known of a loss of one's own
        alone = tuple(dataclasses.replace(run, constant=None) for run in alone)
    assert load_run(folder / "run").runs == alone


CLOSING = {
    "closed": "\nos.closerange(3, 256)\n",
    "closed, and others opened": "\nos.closerange(3, 256)\nmine = [open(f'mine{i}', 'w') for i in range(20)]\n",
}


@pytest.mark.parametrize("what", CLOSING)
def test_a_model_file_that_closes_the_files_of_its_process_loses_no_point(
    folder: Path, zygote: Zygote, what: str
) -> None:
    (folder / "model.py").write_text(MODEL + CLOSING[what])
    status, child = zygote.run(*SWEEP, "--out", "run", "--json", cwd=folder)
    assert (status, child.stdout) == (3, "")
    assert "your code closed standard output" in child.stderr
    for path in folder.glob("mine*"):
        assert path.read_bytes() == b""
        path.unlink()
    result = intact(folder / "run")
    assert result is not None
    assert len(result.traces) == 2
