"""Where a sweep runs: closed streams, a closed terminal, no home, folders that can't be written, many at once."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.run_folders import SWEEP, intact
from helpers.zygote import Zygote
from lrfinder.store import load_run

LONG = ("sweep", "model.py", "--steps", "2000", "--mode", "continuous", "--out", "run", "--max-lr", "1e-4")
# Whoever is root may write anywhere: a child that gives that up stands for everybody else.
NOBODY = 65534


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (path.exists() and len(path.read_bytes().splitlines()) > lines):
        time.sleep(0.01)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_gets_nothing_into_the_files(folder: Path, closed: str) -> None:
    """With standard output closed the next file that is opened becomes number 1, and a print would go into it."""
    printing = "\nprint('PRINTED')\nos.write(1, b'WRITTEN')\nos.write(2, b'WRITTEN')\n"
    (folder / "model.py").write_text((folder / "model.py").read_text() + printing)
    command = " ".join([sys.executable, "-m", "lrfinder", *SWEEP, "--out", "run", "--mode", "continuous", closed])
    assert subprocess.run(command, shell=True, cwd=folder, env=environment(), check=False).returncode in {0, 5}
    assert intact(folder / "run") is not None
    assert b"PRINTED" not in (folder / "run" / "curve.csv").read_bytes()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_left_changes_no_status(folder: Path, zygote: Zygote, stream: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "lrfinder", *SWEEP[:2], *SWEEP[3:], "--out", "run", "--mode", "continuous"]
    done = subprocess.run(
        command, cwd=folder, env=environment(), check=False, **{"capture_output": False, stream: writing}
    )
    os.close(writing)
    assert done.returncode in {0, 5}
    result = intact(folder / "run")
    assert result is not None
    assert len(result.traces) == 2


def test_a_full_disk_behind_standard_output_is_4(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lrfinder", "schedule", "list"],
            cwd=folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert "standard output: No space left on device" in done.stderr


def test_a_terminal_that_is_closed_ends_the_sweep_like_sigterm(folder: Path) -> None:
    leader, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lrfinder", *LONG],
        cwd=folder,
        env=environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: _own(terminal),  # noqa: PLW1509 - there are no threads here
    )
    os.close(terminal)
    wait_for(folder / "run" / "curve.csv", 20)
    began = time.monotonic()
    os.close(leader)  # the kernel sends SIGHUP, and whatever is written now fails
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - began < 5
    assert load_run(folder / "run").traces[0].stop == "terminated"
    intact(folder / "run")


def _own(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_nohup_is_respected(folder: Path) -> None:
    short = [*LONG[:3], "200", *LONG[4:]]
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "lrfinder", *short, "--quiet"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(folder / "run" / "curve.csv", 5)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) in {0, 5}
    assert len(load_run(folder / "run").traces[0].lrs) == 200


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_impatience_changes_nothing(folder: Path, zygote: Zygote, sent: signal.Signals) -> None:
    child = zygote.start(*LONG, cwd=folder)
    wait_for(folder / "run" / "curve.csv", 20)
    for _ in range(5):
        child.send_signal(sent)
        time.sleep(0.01)
    assert child.wait() == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent], child.stderr
    assert "Traceback" not in child.stderr
    result = intact(folder / "run")
    assert result is not None
    assert result.traces[0].stop == {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[sent]


BUSY = """
class Stuck(TensorDataset):
    def __getitem__(self, index):
        if len(os.listdir("run")) > 1 and os.path.getsize("run/curve.csv") > 400:
            time.sleep(60)
        return super().__getitem__(index)

def train_loader():
    return DataLoader(Stuck(X, Y), batch_size=4, num_workers=2)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_workers_that_are_stuck_are_not_waited_for_and_not_left_behind(
    folder: Path, zygote: Zygote, sent: signal.Signals
) -> None:
    (folder / "model.py").write_text((folder / "model.py").read_text() + BUSY)
    child = zygote.start(*LONG, cwd=folder)
    wait_for(folder / "run" / "curve.csv", 8)  # 400 bytes, or nearly; what comes before the workers stick is unwritten
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(sent)  # to the main process alone
    assert child.wait() == {signal.SIGINT: 130, signal.SIGKILL: -9}.get(sent, 143), child.stderr
    while _alive(child.pid):
        assert time.monotonic() - began < 5  # the promise is 2 s; a loaded machine gets some more
        time.sleep(0.01)
    intact(folder / "run")


def _alive(group: int) -> bool:
    """Tell whether any process of a group is left; one that waits to be taken note of is not."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                return True
    return False


def test_a_folder_that_can_not_be_written_is_4_and_named(folder: Path, zygote: Zygote) -> None:
    for path in (folder, *folder.parents):
        if path != Path("/") and path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o001:
            path.chmod(0o755)  # whoever is nobody must come here
    folder.chmod(0o555)
    try:
        child = zygote.start(*SWEEP, "--out", "run", cwd=folder, user=NOBODY if os.getuid() == 0 else None)
        assert child.wait() == 4, child.stderr
    finally:
        folder.chmod(0o755)
    assert "run: Permission denied" in child.stderr
    assert "name another place" in child.stderr
    assert [path.name for path in folder.iterdir()] == ["model.py"]


def test_of_a_run_folder_that_can_not_be_written_the_rate_is_told_and_the_config_is_4(
    folder: Path, zygote: Zygote
) -> None:
    assert zygote.start(*SWEEP, "--out", "run", cwd=folder).wait() == 0
    for path in (folder / "run", *(folder / "run").parents):
        if path != Path("/") and path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o005)
    (folder / "run").chmod(0o555)
    try:
        somebody = NOBODY if os.getuid() == 0 else None
        child = zygote.start("recommend", "run", "--steps", "1000", cwd=folder, user=somebody)
        assert child.wait() == 4, child.stderr
        quiet = zygote.start("recommend", "run", "--steps", "1000", "--quiet", cwd=folder, user=somebody)
        assert quiet.wait() == 4, quiet.stderr
    finally:
        (folder / "run").chmod(0o755)
    assert "Suggested peak learning rate: " in child.stdout
    assert "schedule.yaml: Permission denied" in child.stderr
    assert float(quiet.stdout) > 0
    assert not (folder / "run" / "schedule.yaml").exists()


def test_without_a_home_nothing_is_written_but_the_run(folder: Path) -> None:
    homeless = {name: value for name, value in environment().items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "lrfinder", *SWEEP, "--out", "run", "--mode", "continuous", "--json"],
        cwd=folder,
        env=homeless,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 5}, done.stderr
    assert json.loads(done.stdout)["updates"] == 12
    assert {path.name for path in folder.iterdir()} == {"model.py", "run"}
    assert {path.name for path in (folder / "run").iterdir()} == {"run.json", "curve.csv", "curve.png", "cost.json"}


def test_32_sweeps_started_at_once_get_32_intact_folders(folder: Path, zygote: Zygote) -> None:
    args = ("sweep", "model.py", "--quiet", "--steps", "2", "--repeats", "1", "--mode", "continuous")
    children = [zygote.start(*args, cwd=folder) for _ in range(32)]
    statuses = [child.wait(timeout=240) for child in children]
    assert set(statuses) <= {0, 5}, [child.stderr for child in children]
    runs = list((folder / "lrfinder-runs").iterdir())
    assert len(runs) == 32
    for run in runs:
        assert {path.name for path in run.iterdir()} == {"run.json", "curve.csv", "curve.png", "cost.json"}
        assert len(load_run(run).traces[0].lrs) == 2


def test_a_folder_that_is_there_already_is_left_alone(folder: Path, zygote: Zygote) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "mine.txt").write_text("mine")
    status, child = zygote.run(*SWEEP, "--out", "run", cwd=folder)
    assert status == 2
    assert "run: the folder is not empty" in child.stderr
    assert [path.name for path in (folder / "run").iterdir()] == ["mine.txt"]
    shutil.rmtree(folder / "run")


@pytest.mark.parametrize("there", [True, False])
def test_only_a_folder_that_was_made_for_the_sweep_is_removed(folder: Path, zygote: Zygote, *, there: bool) -> None:
    (folder / "bad.py").write_text("raise ValueError('mine')\n")
    if there:
        (folder / "run").mkdir()
    status, child = zygote.run("sweep", "bad.py", "--out", "run", cwd=folder)
    assert status == 3, child.stderr
    assert (folder / "run").exists() == there
    assert not there or not any((folder / "run").iterdir())


@pytest.mark.parametrize("kind", ["a link to nowhere", "a file"])
def test_something_in_the_way_of_the_folder_of_runs_is_2(folder: Path, zygote: Zygote, kind: str) -> None:
    runs = folder / "lrfinder-runs"
    runs.symlink_to("nowhere") if kind == "a link to nowhere" else runs.write_text("mine")
    status, child = zygote.run("sweep", "model.py", "--quiet", cwd=folder)
    assert status == 2, child.stderr
    assert child.stderr.startswith("lrfinder: lrfinder-runs: there is a file in the way\n")


def test_a_model_file_that_leaves_the_working_directory_moves_no_result(folder: Path, zygote: Zygote) -> None:
    (folder.parent / "data").mkdir()
    chdir = "\nos.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data'))\n"
    (folder / "model.py").write_text((folder / "model.py").read_text() + chdir)
    sweep = zygote.start(*SWEEP, "--out", "run", cwd=folder)
    assert sweep.wait() in {0, 5}, sweep.stderr
    assert intact(folder / "run") is not None
    assert (folder / "run" / "curve.png").is_file()
    again = zygote.start("sweep", "--resume", "run", cwd=folder)
    assert again.wait() in {0, 5}, again.stderr
    verify = zygote.start(
        "verify", "run", "--steps", "40", "--lr", "0.01", "--budget", "60", "--write", "v.yaml", cwd=folder
    )
    verify.wait()
    assert (folder / "run" / "trials.jsonl").is_file(), verify.stderr
    assert list((folder.parent / "data").iterdir()) == []


def test_standard_output_is_one_json_document_whatever_the_users_code_writes(folder: Path) -> None:
    printing = (
        "\nimport atexit\nos.write(1, b'WRITTEN')\nos.system('echo SHELL')\natexit.register(print, 'LATER')\n"
        "sys.__stdout__.write('BUFFERED')\n"
    )
    (folder / "model.py").write_text("import sys\n" + (folder / "model.py").read_text() + printing)
    done = subprocess.run(
        [sys.executable, "-m", "lrfinder", *SWEEP, "--out", "run", "--mode", "continuous", "--json"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 5}, done.stderr
    assert json.loads(done.stdout)["updates"] == 12
    assert all(word in done.stderr for word in ("WRITTEN", "SHELL", "LATER", "BUFFERED"))


TAKEN = {
    "both streams closed": "sys.stdout.close()\nsys.stderr.close()",
    "no streams at all": "sys.stdout = sys.stderr = None",
    "a log without isatty()": "sys.stdout = sys.stderr = type('Log', (), {'write': MINE.append, 'flush': print})()",
    "a print() of its own": "import builtins\nbuiltins.print = lambda *words, **how: MINE.append(words)",
}


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("fails", [False, True])
def test_the_users_code_may_take_the_streams_for_itself(folder: Path, zygote: Zygote, case: str, fails: bool) -> None:
    """What lrfinder prints still arrives, and nothing of it in the user's log."""
    text = f"import sys\nMINE = []\n{TAKEN[case]}\n"
    if fails:
        text += "def loss_fn(output, target):\n    raise ValueError(f'words of the user, {len(MINE)} in the log')\n"
    (folder / "model.py").write_text((folder / "model.py").read_text() + text)
    status, child = zygote.run(*SWEEP[:2], *SWEEP[3:], "--out", "run", "--mode", "continuous", "--json", cwd=folder)
    assert status in ({3} if fails else {0, 5}), child.stderr
    assert "Traceback" not in child.stderr
    document = json.loads(child.stdout)
    if fails:
        assert "words of the user, 0 in the log" in child.stderr
        assert document["error"]["exit_status"] == 3
    else:
        assert document["updates"] == 12
        assert "repeat 2 of 2" in child.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
@pytest.mark.parametrize(("model", "out"), [(b"\xff.py", b"run"), (b"model.py", b"\xfe")])
def test_names_that_are_no_text_are_2_before_anything_is_measured(folder: Path, model: bytes, out: bytes) -> None:
    there = os.fsencode(folder) + b"/" + model
    Path(os.fsdecode(there)).write_text((folder / "model.py").read_text())
    before = sorted(folder.iterdir())
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"lrfinder", b"sweep", model, b"--out", out],
        cwd=folder,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert b"the name is not UTF-8 text" in done.stderr
    assert sorted(folder.iterdir()) == before
