"""Help: complete, in the order of use, and without the libraries that take seconds to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "lightning")
# What --help can do without: each costs a tenth to twice of what `import typer` does, and help is to take at most half
# as long again as that.
NEEDLESS = (*HEAVY, "numpy", "pydantic", "rich", "plotext", "ruamel", "tomlkit", "json", "lrfinder.records")
COMMANDS = (
    "init",
    "find",
    "sweep",
    "recommend",
    "verify",
    "report",
    "compare",
    "runs",
    "export-study",
    "check",
    "schedule",
)


def loaded_after(*args: str, cwd: Path, of: tuple[str, ...] = HEAVY) -> tuple[set[str], str]:
    """Return the modules `of` this list that `lrfinder ARGS` loaded, and what it printed."""
    program = (
        "import sys\n"
        f"sys.argv = {['lrfinder', *args]!r}\n"
        "from lrfinder.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {of!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    )
    text, _, modules = done.stdout.rpartition("LOADED")
    return set(modules.split()), text


@pytest.mark.parametrize("args", [["schedule", "list"], ["--version"], ["-V"]])
def test_what_trains_nothing_loads_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    modules, text = loaded_after(*args, cwd=tmp_path)
    assert modules == set()
    assert text


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["init"],
        ["sweep"],
        ["recommend"],
        ["verify"],
        ["report"],
        ["compare"],
        ["check"],
        ["schedule"],
        ["schedule", "show"],
    ],
)
def test_help_loads_what_it_needs(args: list[str], tmp_path: Path) -> None:
    modules, text = loaded_after(*args, "--help", cwd=tmp_path, of=NEEDLESS)
    assert modules == set()
    assert text.startswith(f"Usage: lrfinder {' '.join(args)}")


def test_the_list_of_commands_loads_none_of_them(tmp_path: Path) -> None:
    homes = tuple(f"lrfinder.cli.{command.replace('-', '_')}" for command in COMMANDS)
    assert loaded_after("--help", cwd=tmp_path, of=homes)[0] == set()
    assert loaded_after("check", "--help", cwd=tmp_path, of=homes)[0] == {"lrfinder.cli.check"}


def test_the_shell_completes_commands_and_their_options(tmp_path: Path) -> None:
    def completed(*words: str) -> list[str]:
        line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": f"{len(words) - 1}"}
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv = ['lrfinder']; from lrfinder.cli import main; main()"],
            cwd=tmp_path,
            env={**environment(), "_LRFINDER_COMPLETE": "complete_bash", **line},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert completed("lrfinder", "sw") == ["sweep"]
    assert completed("lrfinder", "sweep", "--mo") == ["--module", "--mode", "--momentum"]
    assert completed("lrfinder", "schedule", "ex") == ["export", "explain"]
    # Values, from the tables.
    assert completed("lrfinder", "recommend", "--schedule", "cos") == ["cosine", "cosine-restarts"]
    assert completed("lrfinder", "recommend", "--rule", "t") == ["trials", "torch-lr-finder"]
    assert completed("lrfinder", "sweep", "m.py", "--optimizer", "AdamW") == ["AdamW"]
    assert completed("lrfinder", "schedule", "export", "c.yaml", "--to", "tim") == ["timm"]
    assert completed("lrfinder", "verify", "--schedules", "rex,cos") == ["rex,cosine", "rex,cosine-restarts"]


def test_commands_stand_in_the_order_of_use_with_examples(tmp_path: Path) -> None:
    _, text = loaded_after("--help", cwd=tmp_path)
    listing = text[text.index("Commands:") : text.index("Examples:")]
    places = [listing.index(f"  {command} ") for command in COMMANDS]
    assert places == sorted(places)
    assert "..." not in listing  # no summary is cut off
    examples = text[text.index("Examples:") :]
    assert all(f"lrfinder {command}" in examples for command in COMMANDS)


def test_every_command_shows_an_example(tmp_path: Path) -> None:
    for command in COMMANDS[:-1]:
        _, text = loaded_after(command, "--help", cwd=tmp_path)
        assert f"lrfinder {command}" in text[text.index("Examples:") :]


def test_what_reads_run_folders_works_without_torch(cli, model_file: Path, tmp_path: Path) -> None:
    assert cli("sweep", model_file, "--steps", "60", "--repeats", "1", "--out", "run", "--quiet").returncode == 0
    modules, _ = loaded_after("recommend", "run", "--steps", "100", "--write", "s.yaml", "--quiet", cwd=tmp_path)
    assert modules == set()
    modules, text = loaded_after("schedule", "show", "s.yaml", cwd=tmp_path)
    assert modules == set()
    assert "update" in text
    for words in (["report", "run"], ["compare", "run", "run"]):
        modules, text = loaded_after(*words, cwd=tmp_path)
        assert modules == set()
        assert "run" in text


@pytest.mark.parametrize(
    "modules",
    [
        "lrfinder",
        # Trials of a script, and those of `--jobs`: their processes import torch, the command itself needs none.
        "lrfinder.api.verify, lrfinder.api.training.trials, lrfinder.scripts.runs, lrfinder.api.training.run_pool",
    ],
)
def test_importing_it_is_light(modules: str) -> None:
    program = f"import sys, {modules}; print([m for m in {HEAVY!r} if m in sys.modules], len(lrfinder.__version__) > 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


@pytest.mark.parametrize("command", [["sweep", "no.py"], ["check", "no.py", "--config", "no.yaml"]])
@pytest.mark.parametrize("given", [["--sweep", "head"], ["--sweep=head"]])
def test_an_old_name_of_an_option_is_one_warning(command: list[str], given: list[str], tmp_path: Path) -> None:
    program = "import sys; from lrfinder.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *command, *given],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    first, *rest = done.stderr.splitlines()
    assert first == "lrfinder: warning: --sweep is called --sweep-optimizer now"
    assert "--sweep" not in "".join(rest)
    assert done.returncode == 2
    assert "no." in rest[0]
    _, text = loaded_after(command[0], "--help", cwd=tmp_path)
    assert "--sweep-optimizer" in text
    assert "--sweep " not in text


@pytest.mark.parametrize("command", [["init"], ["schedule", "list"], ["schedule", "export"]])
def test_a_seed_that_changes_nothing_is_not_listed(command: list[str], tmp_path: Path) -> None:
    assert "--seed" not in loaded_after(*command, "--help", cwd=tmp_path)[1]


@pytest.mark.parametrize("command", [[], ["sweep"], ["schedule", "show"]])
def test_help_may_stand_in_front(cli, command: list[str]) -> None:
    asked = cli("help", *command)
    assert (asked.returncode, asked.stdout) == (0, cli(*command, "--help").stdout)
    assert asked.stdout.startswith("Usage: lrfinder")


def test_help_for_no_command_names_it(cli) -> None:
    asked = cli("help", "swep")
    assert asked.returncode == 2
    assert "No such command 'swep'" in asked.stderr
