"""What the tests of faults share."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.run_folders import MODEL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds a model file and nothing else."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.py").write_text(MODEL)
    return tmp_path / "work"
