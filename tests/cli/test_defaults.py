"""Defaults of options from pyproject.toml and the environment: the command line wins, and nothing is ignored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILE = """
[tool.lrfinder.sweep]
steps = 7
max-lr = 1.5
repeats = 1
mode = "continuous"
"""


def test_file_environment_command_line(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FILE)
    done = cli("sweep", model_file, "--steps", 9, "--out", "run", "--json", LRFINDER_SWEEP_MAX_LR="0.5")
    assert done.returncode in {0, 5}, done.stderr
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (kept["steps"], kept["max_lr"], kept["repeats"], kept["mode"]) == (9, 0.5, 1, "continuous")
    assert cli("sweep", "--resume", "run").returncode in {0, 5}  # what the file says is no option that was given


def test_config_says_what_holds_and_where_it_stands(cli, tmp_path: Path) -> None:
    assert "lrfinder's own default" in cli("config").stdout
    (tmp_path / "pyproject.toml").write_text(FILE)
    told = json.loads(cli("config", "--json", LRFINDER_SWEEP_STEPS="8", LRFINDER_CHECK_SEED="3").stdout)["defaults"]
    found = {(one["command"], one["option"]): (one["value"], Path(one["source"]).name) for one in told}
    assert found == {
        ("sweep", "--steps"): ("8", "LRFINDER_SWEEP_STEPS"),
        ("sweep", "--max-lr"): (1.5, "pyproject.toml"),
        ("sweep", "--repeats"): (1, "pyproject.toml"),
        ("sweep", "--mode"): ("continuous", "pyproject.toml"),
        ("check", "--seed"): ("3", "LRFINDER_CHECK_SEED"),
    }


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("LRFINDER_SWEEP_FROM", "--from"),
        ("LRFINDER_SWEEP_SINK", "--sink"),
        ("LRFINDER_SWEEP_SWEEP_OPTIMIZER", "--sweep-optimizer"),
        ("LRFINDER_EXPORT_STUDY_STEPS", "--steps"),
        ("LRFINDER_RUNS_KEEP", "--keep"),
    ],
)
def test_a_variable_is_called_as_its_option_is_and_acts_where_it_is_told(
    cli, model_file: Path, name: str, flag: str
) -> None:
    (told,) = json.loads(cli("config", "--json", **{name: "odd"}).stdout)["defaults"]
    assert (told["option"], told["value"], told["source"]) == (flag, "odd", name)
    command = told["command"]
    done = cli(command, *([model_file] if command == "sweep" else []), **{name: "odd"})
    assert done.returncode == 2
    assert "odd" in done.stderr


@pytest.mark.parametrize("place", ["file", "environment"])
def test_json_as_a_default_is_kept_by_a_failure(cli, tmp_path: Path, place: str) -> None:
    if place == "file":
        (tmp_path / "pyproject.toml").write_text("[tool.lrfinder.recommend]\njson = true\n")
    done = cli("recommend", "nowhere", **({} if place == "file" else {"LRFINDER_RECOMMEND_JSON": "1"}))
    assert json.loads(done.stdout)["error"]["exit_status"] == done.returncode == 2


def test_a_variable_that_is_no_command_s_is_somebody_else_s(cli) -> None:
    done = cli("config", LRFINDER_VERSION="0.1.0", LRFINDER_SHOW_COMPLETION="yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "env var" not in cli("--help").stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.lrfinder.sweep]\nstepps = 1", "did you mean steps?"),
        ("[tool.lrfinder.swep]\nsteps = 1", "did you mean sweep?"),
        ("[tool.lrfinder]\nsteps = 1", "[tool.lrfinder]: 'steps'"),
        ("[tool.lrfinder.sweep]\nsteps = 'many'", "'many' is not a whole number"),
        ("[tool.lrfinder.sweep]\nrepeats = 'two'", "'two' is not a whole number, in "),
        ("[tool.lrfinder.sweep]\nrepeats = 'two'", "pyproject.toml"),
        ("[tool.lrfinder.sweep]\nsink = 'mlfloww'", "unknown sink 'mlfloww'"),
        ("[tool.lrfinder", "can't be read"),
        ("a = " + "[" * 5000 + "]" * 5000, "can't be read"),
        ("[tool]\nlrfinder = 3", "tool.lrfinder is no table"),
        ("[tool.lrfinder]\nsweep = 3", "tool.lrfinder.sweep is no table"),
        ("[tool.lrfinder.schedule]\nquiet = true", "[tool.lrfinder]: 'schedule'"),  # its own commands have the options
    ],
)
def test_what_is_no_default_is_2(cli, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "model.py").touch()
    done = cli("sweep", "model.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_tool_that_is_no_table_is_somebody_else_s(cli, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 3")
    assert (cli("config").returncode, cli("config").stderr) == (0, "")
