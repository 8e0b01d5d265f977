"""What runs the suite where packages are missing: only with an option, and only for want of the known ones."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.absent import PACKAGES

WHOLE = "import nowhere\ndef test_of_a_module(): pass\n"
ONES = """
import pytest

def test_in_its_body(): import nowhere.inner
def test_below_another_error():
    try:
        import nowhere
    except ImportError as error:
        raise RuntimeError("needs nowhere") from error
@pytest.fixture
def made(): import nowhere
def test_of_a_fixture(made): pass
@pytest.mark.needs("sys", "nowhere")
def test_of_other_processes(): raise AssertionError("it began")

@pytest.mark.needs("sys")
def test_that_has_it(): pass

def test_of_an_unknown_package(): import elsewhere
def test_of_an_unknown_part(): import known.part
def test_that_fails(): raise RuntimeError("nowhere")
"""


def outcomes(folder: Path, *options: str) -> set[str]:
    (folder / "conftest.py").write_text("from helpers import absent\nabsent.PACKAGES = {'nowhere', 'known'}\n")
    (folder / "known").mkdir(exist_ok=True)
    (folder / "known" / "__init__.py").touch()
    (folder / "test_whole.py").write_text(WHOLE)
    (folder / "test_ones.py").write_text(ONES)
    pytest_here = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--no-fold-skipped"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "COLUMNS": "200"}
    command = [*pytest_here, "--continue-on-collection-errors", "--rootdir", folder, *options, folder]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    summary = done.stdout.partition("short test summary info")[2].splitlines()[1:-1]
    return {line.replace("test_ones.py::test_", "").strip() for line in summary}


FAILED = {
    "FAILED of_an_unknown_package - ModuleNotFoundError: No module named 'elsewhere'",
    "FAILED of_an_unknown_part - ModuleNotFoundError: No module named 'known.part'",
    "FAILED that_fails - RuntimeError: nowhere",
}


def test_what_needs_an_absent_package_is_skipped_and_names_it(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "-p", "helpers.absent")
    skipped = {line for line in found if line.startswith("SKIPPED")}
    assert found - skipped == {"PASSED that_has_it", *FAILED}
    assert len(skipped) == 5
    assert all(line.endswith(": nowhere isn't installed") for line in skipped)


def test_without_the_option_it_fails(tmp_path: Path) -> None:
    found = outcomes(tmp_path)
    assert found >= {"PASSED that_has_it", "ERROR test_whole.py", *FAILED}
    assert not any(line.startswith("SKIPPED") for line in found)


def test_all_that_may_be_absent_is_installed_where_nothing_may(request: pytest.FixtureRequest) -> None:
    if not request.config.option.skip_absent:
        assert [package for package in sorted(PACKAGES) if find_spec(package) is None] == []
