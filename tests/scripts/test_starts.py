"""However a process of the script is started, it measures the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrfinder.scripts import process
from lrfinder.scripts.inside import start
from lrfinder.scripts.inside.program import run_program
from lrfinder.scripts.process import ForkServer, NewPython

Swept = Callable[..., Any]

BAD_FORK = """
import runpy, sys
import torch
torch.cuda._is_in_bad_fork = lambda: True
sys.argv[0] = {start!r}
runpy.run_path({start!r}, run_name="__main__")
"""


def test_a_new_python_and_a_fork_that_becomes_one_measure_what_a_fork_does(
    sweep: Swept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def trace() -> Any:
        done = sweep("classifier.py", steps=12)
        assert (done.folder / "script.log").read_text().count("---") == 1
        return done.sweep.traces[0]

    forked = trace()
    monkeypatch.setattr(
        "lrfinder.scripts.machines.machine.starter", lambda told: NewPython({**told, "OMP_NUM_THREADS": "1"})
    )
    assert trace() == forked
    start = tmp_path / "wrapped.py"
    start.write_text(BAD_FORK.format(start=str(process.START)))
    monkeypatch.setattr(process, "START", start)
    monkeypatch.setattr(
        "lrfinder.scripts.machines.machine.starter", lambda told: ForkServer({**told, "OMP_NUM_THREADS": "1"})
    )
    assert trace() == forked


LOOKS = """
import os, sys
os.chdir(os.path.dirname(__file__))
print(__file__, __name__, type(__builtins__), sys.path[0], sys.argv, sys._getframe().f_code.co_filename)
"""


def test_a_script_finds_what_python_itself_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "looks.py").write_text(LOOKS)
    monkeypatch.chdir(tmp_path)
    python = subprocess.run([sys.executable, "here/looks.py", "--lr"], capture_output=True, text=True, check=True)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    run_program("here/looks.py", ["--lr"], module=False)
    assert capsys.readouterr().out == python.stdout


@pytest.mark.parametrize("safe", [False, True])
def test_of_the_path_only_our_own_folder_is_taken_off(monkeypatch: pytest.MonkeyPatch, safe: bool) -> None:
    """PYTHONSAFEPATH has Python leave that folder out."""
    own = [] if safe else [str(process.START.parent)]
    monkeypatch.setattr(sys, "path", [*own, "the user's", *sys.path])
    monkeypatch.setitem(sys.modules, "lrfinder", sys.modules["lrfinder"])
    start._load_lrfinder()
    assert sys.path[0] == "the user's"
