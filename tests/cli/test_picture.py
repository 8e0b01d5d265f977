"""The picture of a run folder: drawn where it doesn't show the advice yet, and only there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STORED = Path(__file__).parents[1] / "data" / "run-v1-lstm"

# Runs the command line in a process of its own, and tells which of the large packages it loaded.
COMMAND = """
import sys
from lrfinder.cli import main
try:
    main()
finally:
    print("loaded:", *sorted({"torch", "pandas", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "run"))


def recommend(run: Path, *options: str) -> set[str]:
    """Return the large packages that the command loaded."""
    words = [sys.executable, "-c", COMMAND, "recommend", str(run), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("loaded:")[2].split())


def test_a_picture_that_shows_the_same_is_left_and_nothing_large_is_loaded(run: Path) -> None:
    picture = run / "curve.png"
    assert recommend(run, "--steps", "400") == {"matplotlib"}
    first, made = picture.read_bytes(), picture.stat().st_mtime_ns
    assert recommend(run, "--steps", "500") == set()  # another schedule, the same picture
    assert picture.stat().st_mtime_ns == made
    assert recommend(run, "--steps", "400000") == {"matplotlib"}  # for so long a run the same rate is uncertain
    assert picture.read_bytes() != first
    assert recommend(run, "--rule", "lowest") == {"matplotlib"}
    assert picture.read_bytes() != first
    picture.write_bytes(first[:100])  # cut short within its mark
    assert recommend(run) == {"matplotlib"}
    assert picture.read_bytes() == first
