"""However a process of the script is started, it measures the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrfinder.scripts import process
from lrfinder.scripts.process import ForkServer, NewPython

Swept = Callable[..., Any]

BAD_FORK = """
import runpy, sys
import torch
torch.cuda._is_in_bad_fork = lambda: True
sys.argv[0] = {start!r}
sys.path.insert(0, "")  # start.py takes the folder of its own file off
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
    monkeypatch.setattr("lrfinder.scripts.runs.starter", lambda told: NewPython({**told, "OMP_NUM_THREADS": "1"}))
    assert trace() == forked
    start = tmp_path / "wrapped.py"
    start.write_text(BAD_FORK.format(start=str(process.START)))
    monkeypatch.setattr(process, "START", start)
    monkeypatch.setattr("lrfinder.scripts.runs.starter", lambda told: ForkServer({**told, "OMP_NUM_THREADS": "1"}))
    assert trace() == forked
