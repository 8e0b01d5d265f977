"""Whatever the user's code raises is its own failure, status 3; and what a stream refuses is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.run_folders import MODEL, SWEEP
from lrfinder.cli.answers.failures import report

RUN = Path(__file__).parents[1] / "data" / "run-v10-tiny"
RAISED = {
    "a cancelled task": "asyncio.CancelledError()",
    "a closed generator": "GeneratorExit('mine')",
    "an exception of its own": "Mine('mine')",
    "the end of a file": "EOFError('mine')",
    "a broken pipe": "BrokenPipeError(32, 'mine')",
    "an exit": "SystemExit(0)",
    "one of Typer's": "typer.Exit(0)",
    "one of Typer's usage": "typer.BadParameter('mine')",
    "one that can't say what it is": "Mute()",
    "an escape": "ValueError('\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07 \\u202e')",
}
STEP = """
import asyncio, typer
class Mine(BaseException):
    pass
class Mute(BaseException):
    def __str__(self):
        raise Mute()
calls = []
def loss_fn(output, target):
    calls.append(1)
    if len(calls) == 4:
        raise {raised}
    return nn.functional.cross_entropy(output, target)
"""
# Batches that the loader itself fails to give; the model's own loader is what the others come from.
LOADER = """
given = train_loader
class Failing:
    def __iter__(self):
        for number, batch in enumerate(given()):
            if number == 3:
                raise {raised}
            yield batch
def train_loader():
    return Failing()
"""


@pytest.mark.parametrize("case", RAISED)
@pytest.mark.parametrize("where", ["import", "step", "loader"])
def test_any_exception_of_the_users_code_is_3(zygote, tmp_path: Path, case: str, where: str) -> None:
    raised = RAISED[case]
    classes = STEP.partition("calls")[0]
    code = {"import": "raise {raised}\n", "step": STEP, "loader": LOADER}[where]
    text = classes + code.format(raised=raised)
    (tmp_path / "model.py").write_text(MODEL + text)
    status, child = zygote.run(*SWEEP, "--out", "run", "--mode", "continuous", cwd=tmp_path)
    assert status == 3, child.stderr
    assert "/lrfinder/" not in child.stderr  # none of our frames
    assert child.stderr.startswith("lrfinder: ")
    assert not {"\x1b", "\x07", "\u202e"} & set(child.stderr + child.stdout)
    if where != "import":
        assert json.loads((tmp_path / "run" / "run.json").read_text())["repeats"][0]["stop"] == "failed"


STREAMS = {
    "help and no reader": ("--help | true", 0, ""),
    "version and no reader": ("--version | true", 0, ""),
    "a command's help and no reader": ("sweep --help | true", 0, ""),
    "help and a full disk": ("--help > /dev/full", 4, "standard output: No space left on device"),
    "version and a full disk": ("--version > /dev/full", 4, "standard output: No space left on device"),
    "a usage error and a full disk": ("sweep --stepz 3 2> /dev/full", 2, ""),
    "no arguments and a full disk": ("2> /dev/full", 2, ""),
    "no folder": ("recommend", 2, "no run found"),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_that_refuses_changes_no_other_status(tmp_path: Path, case: str) -> None:
    command, status, message = STREAMS[case]
    line = f"set -o pipefail; {sys.executable} -m lrfinder {command}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cpp_says_of_no_memory_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RuntimeError("std::bad_alloc")) == 4
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("kilobytes", [200_000, 650_000])
def test_too_little_memory_to_load_the_libraries_is_4(tmp_path: Path, kilobytes: int) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    line = f"ulimit -v {kilobytes}; exec {sys.executable} -m lrfinder sweep model.py --out run"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env={**environment(), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "out of memory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]


@pytest.mark.parametrize("kilobytes", [80_000, 100_000, 150_000, 200_000])
def test_too_little_memory_to_read_a_run_is_4(tmp_path: Path, kilobytes: int) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    commands = {"recommend run --steps 20 -q": 4, "schedule list": 0}  # the second one needs no NumPy
    for command, status in commands.items():
        line = f"ulimit -v {kilobytes}; exec {sys.executable} -m lrfinder {command}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert ("out of memory: numpy can't be loaded" in done.stderr) == (status == 4)
