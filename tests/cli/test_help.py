"""Help: complete, in the order of use, and without the libraries that take seconds to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from processes import environment

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "lightning")
COMMANDS = ("init", "sweep", "recommend", "check", "schedule")


def loaded_after(*args: str, cwd: Path) -> tuple[set[str], str]:
    """Return the heavy modules that `lrfinder ARGS` loaded, and what it printed."""
    program = (
        "import sys\n"
        f"sys.argv = {['lrfinder', *args]!r}\n"
        "from lrfinder.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    )
    text, _, modules = done.stdout.rpartition("LOADED")
    return set(modules.split()), text


@pytest.mark.parametrize("args", [["--help"], *([command, "--help"] for command in COMMANDS), ["schedule", "list"]])
def test_help_loads_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    modules, text = loaded_after(*args, cwd=tmp_path)
    assert modules == set()
    assert text


def test_commands_stand_in_the_order_of_use_with_examples(tmp_path: Path) -> None:
    _, text = loaded_after("--help", cwd=tmp_path)
    listing = text[text.index("Commands:") : text.index("Examples:")]
    places = [listing.index(f"  {command} ") for command in COMMANDS]
    assert places == sorted(places)
    assert "..." not in listing  # no summary is cut off
    examples = text[text.index("Examples:") :]
    assert all(f"lrfinder {command}" in examples for command in COMMANDS)


def test_every_command_shows_an_example(tmp_path: Path) -> None:
    for command in ("init", "sweep", "recommend", "check"):
        _, text = loaded_after(command, "--help", cwd=tmp_path)
        assert f"lrfinder {command}" in text[text.index("Examples:") :]


def test_recommend_and_show_work_without_torch(cli, model_file: Path, tmp_path: Path) -> None:
    assert cli("sweep", model_file, "--steps", "60", "--repeats", "1", "--out", "run", "--quiet").returncode == 0
    modules, _ = loaded_after("recommend", "run", "--steps", "100", "--write", "s.yaml", "--quiet", cwd=tmp_path)
    assert modules == set()
    modules, text = loaded_after("schedule", "show", "s.yaml", cwd=tmp_path)
    assert modules == set()
    assert "update" in text


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    program = f"import sys, lrfinder; print([m for m in {HEAVY!r} if m in sys.modules], len(lrfinder.__version__) > 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
