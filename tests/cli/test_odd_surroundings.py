"""Surroundings that are odd: no docstrings, no home, no room for the picture, long names, timers, leak checks."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.run_folders import MODEL, SWEEP
from lrfinder.engine.runtime import gc_control
from lrfinder.store import load_run


def python(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env={**environment(), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["sweep", "schedule export", "init"])
def test_help_is_whole_without_docstrings(tmp_path: Path, command: str) -> None:
    plain, stripped = (
        python(*flags, "-m", "lrfinder", *command.split(), "--help", cwd=tmp_path) for flags in ((), ("-OO",))
    )
    assert plain.returncode == stripped.returncode == 0, stripped.stderr
    assert stripped.stdout.replace("python -OO", "python") == plain.stdout


def test_a_home_that_can_not_be_written_is_no_warning(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder, so that nothing can be made in it, by root either")
    (tmp_path / "model.py").write_text(MODEL)
    home = str(tmp_path / "home")
    unset = {name: value for name, value in environment().items() if name not in {"MPLCONFIGDIR", "XDG_CONFIG_HOME"}}
    args = [sys.executable, "-m", "lrfinder", *SWEEP, "--mode", "continuous", "--out", "run"]
    done = subprocess.run(args, cwd=tmp_path, env={**unset, "HOME": home}, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 5}, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "run" / "curve.png").is_file()


def test_without_room_for_the_picture_the_result_is_printed(zygote, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    args = (*SWEEP, "--mode", "continuous", "--out", "run")
    assert zygote.run(*args, cwd=tmp_path, fault=f"count:0:{tmp_path / 'run'}")[0] in {0, 5}
    calls = int((tmp_path / "calls").read_text())
    (tmp_path / "run").rename(tmp_path / "whole")
    status, child = zygote.run(*args, cwd=tmp_path, fault=f"full:{calls - 2}:{tmp_path / 'run'}")  # write, sync, rename
    assert status == 4, child.stderr
    assert "curve.png: No space left on device" in child.stderr
    assert child.stdout
    assert load_run(tmp_path / "run").traces == load_run(tmp_path / "whole").traces


def test_a_long_name_of_the_model_is_cut_in_that_of_its_folder(zygote, tmp_path: Path) -> None:
    name = "ü" * 120
    (tmp_path / f"{name}.py").write_text(MODEL)
    status, child = zygote.run("sweep", f"{name}.py", *SWEEP[2:], "--mode", "continuous", cwd=tmp_path)
    assert status in {0, 5}, child.stderr
    (run,) = (tmp_path / "lrfinder-runs").iterdir()
    assert run.name.startswith("ü" * 100 + "-2")
    assert load_run(run).setup.model == name


def test_a_timer_that_the_users_code_sets_is_its_own(tmp_path: Path) -> None:
    timer = """
import signal
rung = []
def loss_fn(output, target):
    if not rung:
        signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return nn.functional.cross_entropy(output, target)
"""
    (tmp_path / "model.py").write_text(MODEL + timer)
    done = python("-m", "lrfinder", *SWEEP, "--out", "run", cwd=tmp_path)  # to the end of Python itself
    assert done.returncode in {0, 5}, done.stderr


CHECKED = """
import gc, sys, types
from lrfinder.engine.runtime import gc_control
gc_control.disable_for_startup()
sys.modules["triton"] = types.ModuleType("triton")
{enable}
gc_control.prepare_for_exit()
assert gc.get_freeze_count() == 0
"""


@pytest.mark.parametrize("enable", ["", "gc_control.enable()"], ids=["no user code", "user code"])
def test_where_modules_check_for_leaks_everything_is_searched(tmp_path: Path, enable: str) -> None:
    done = python("-c", CHECKED.format(enable=enable), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "triton" in gc_control._NANOBIND


def test_notes_on_a_terminal_are_broken_between_words() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    text = "trials: at most 3000 updates, about 37 s, as in the sweep"
    script = f"from lrfinder.cli.answers.output import note; note({text!r})"
    subprocess.run([sys.executable, "-c", script], stderr=theirs, check=True, timeout=60)
    shown = os.read(ours, 1000).decode().split("\r\n")
    os.close(theirs)
    os.close(ours)
    assert shown == ["lrfinder: trials: at most 3000 updates,", "about 37 s, as in the sweep", ""]
