"""`lrfinder sweep --resume` as people run it: after a real kill, with options, beside a sweep that still runs."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from helpers.run_folders import MODEL
from helpers.run_folders import SWEEP as SMALL_SWEEP

SLOW = "x = torch.randn(32, 8); __import__('time').sleep(0.02)"
SWEEP = ("sweep", "model.py", "--steps", "60", "--repeats", "2", "--mode", "continuous", "--quiet")


def wait_for_lines(curve: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (curve.exists() and len(curve.read_text().splitlines()) > count):
        time.sleep(0.02)


def test_a_killed_sweep_carries_on_and_ends_like_any_other(cli, zygote, model_file: Path, tmp_path: Path) -> None:
    model_file.write_text(model_file.read_text().replace("x = torch.randn(32, 8)", SLOW))
    process = zygote.start(*SWEEP, "--out", "run", cwd=tmp_path)
    wait_for_lines(tmp_path / "run" / "curve.csv", 70)  # in the second repeat
    process.send_signal(signal.SIGSTOP)  # so that it doesn't end while the other one is tried
    beside = cli("sweep", "--resume", "run")
    assert beside.returncode == 2
    assert "another process is writing this run" in beside.stderr
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = cli("sweep", "--resume", "run", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert "repeat 1 of 2" not in resumed.stderr
    assert "repeat 2 of 2" in resumed.stderr
    assert json.loads(resumed.stdout)["updates"] == 120
    cli(*SWEEP, "--out", "whole")
    for name in ("run.json", "curve.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "run" / "curve.png").exists()


def test_an_interrupted_sweep_says_how_it_carries_on(zygote, model_file: Path, tmp_path: Path) -> None:
    model_file.write_text(model_file.read_text().replace("x = torch.randn(32, 8)", SLOW))
    process = zygote.start(*SWEEP, "--out", "my run", cwd=tmp_path)
    wait_for_lines(tmp_path / "my run" / "curve.csv", 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130, process.stderr
    assert "lrfinder sweep --resume 'my run'" in process.stdout


@pytest.fixture(scope="module")
def run(zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    (folder / "model.py").write_text(MODEL)
    zygote.run(*SMALL_SWEEP, "--out", "run", "--mode", "continuous", cwd=folder)
    return folder / "run"


CONFLICTS = {
    "steps": (("--steps", "7"), "--steps 7 can't be given with --resume: run was begun with 6"),
    "swept optimizer": (("--sweep-optimizer", "x"), "--sweep-optimizer x can't be given with --resume"),
    "seed": (("--seed", "3"), "--seed 3 can't be given with --resume"),
    "mode": (("--mode", "auto"), "--mode auto can't be given with --resume: run was begun with continuous"),
    "momentum": (("--momentum", "0.5"), "--momentum 0.5 can't be given with --resume"),
    "device": (("--device", "cpu"), "--device cpu can't be given with --resume: run was begun with auto"),
    "out": (("--out", "other"), "--out other can't be given with --resume"),
    "model": (("other.py",), "MODEL other.py can't be given with --resume: run was begun with model.py"),
}


FIND = ("find", "--steps", "1000", "--seed", "3")  # of the coming run and of its trials


@pytest.mark.parametrize(
    ("command", "case"),
    [(("sweep",), case) for case in CONFLICTS] + [(FIND, case) for case in ("momentum", "device", "out")],
)
def test_an_option_that_says_otherwise_is_2(zygote, run: Path, command: tuple[str, ...], case: str) -> None:
    args, message = CONFLICTS[case]
    status, child = zygote.run(*command, "--resume", "run", *args, cwd=run.parent)
    assert status == 2
    assert message in child.stderr
    assert "leave the option out" in child.stderr


def test_an_option_that_says_the_same_is_taken(zygote, run: Path) -> None:
    same = ("model.py", "--steps", "6", "--seed", "0", "--mode", "continuous", "--out", "run")
    status, child = zygote.run("sweep", "--resume", "run", *same, "--json", cwd=run.parent)
    assert status in {0, 5}, child.stderr
    assert json.loads(child.stdout)["updates"] == 12


def test_without_a_model_and_a_run_it_is_2(zygote, tmp_path: Path) -> None:
    status, child = zygote.run("sweep", cwd=tmp_path)
    assert status == 2
    assert "MODEL is missing" in child.stderr
