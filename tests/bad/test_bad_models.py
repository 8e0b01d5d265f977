"""Every model file that can't be swept gives its status and a message that names the place, and leaves no folder."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path

import pytest

from bad.configs import configs
from bad.models import Bad, models
from lrfinder.cli import main

BAD = models()
SWEEP = ("--steps", "6", "--repeats", "2", "--run-steps", "10", "--max-lr", "1", "--mode", "auto", "--quiet")


@pytest.mark.parametrize("bad", BAD, ids=[bad.title for bad in BAD])
def test_it_ends_with_its_status_and_says_why(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "model.py").write_bytes(bad.text.encode("latin-1"))
    monkeypatch.setattr(sys, "argv", ["lrfinder", "sweep", "model.py", "--out", "run", *SWEEP])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as ended:
            main()
    told = capfd.readouterr()
    text = told.err + told.out
    assert ended.value.code == bad.status, text
    assert f"{os.sep}lrfinder{os.sep}engine" not in text  # none of our own frames
    assert "a fault of lrfinder's own" not in text
    assert re.search(bad.tells, text, flags=re.IGNORECASE), text
    assert {path.name for path in tmp_path.iterdir()} <= {"model.py", "run"}
    if (tmp_path / "run").exists():
        assert (tmp_path / "run" / "run.json").exists()


def test_there_are_enough_of_both_kinds() -> None:
    assert len(BAD) + len(configs()) >= 200
