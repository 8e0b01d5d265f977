"""The way of one update in the steady state stays short: a reader follows it through a few files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "trace_update.py"


def traced():
    spec = importlib.util.spec_from_file_location("trace_update", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_update_passes_few_files_and_calls():
    script = traced()
    path = script.path_of_an_update()
    assert "engine/update/fast_path.py:FastPath.make" in path  # what was traced is an update
    assert "engine/losses/log.py:StoppingRule.after" in path  # and its loss was judged
    assert len(script.files_of(path)) <= 10, path
    assert len(path) <= 20, path


def test_the_run_folder_and_the_progress_add_little():
    script = traced()
    path = script.path_with_folder_and_progress()
    assert "store/curve_file.py:CurveFile.add" in path
    assert "report/progress.py:SweepProgress.measured" in path
    assert len(script.files_of(path)) <= 13, path
    assert len(path) <= 26, path
