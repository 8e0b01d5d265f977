"""With --json a failure is a JSON document on standard output, for every command and every exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lrfinder.cli.app import COMMANDS

FAILURES = {
    "init": ("init", "no/such/folder/model.py"),
    "find": ("find", "nowhere.py", "--epochs", "3"),
    "sweep": ("sweep", "nowhere.py"),
    "recommend": ("recommend", "nowhere"),
    "verify": ("verify", "nowhere"),
    "report": ("report", "nowhere"),
    "compare": ("compare", "nowhere", "there"),
    "runs": ("runs", "--colour"),
    "export-study": ("export-study", "nowhere"),
    "check": ("check", "nowhere.py", "--config", "none.yaml"),
    "run": ("run", "--colour"),
    "config": ("config", "--colour"),
    "schedule": ("schedule", "show", "none.yaml"),
    "schedule export": ("schedule", "export", "none.yaml", "--to", "torch"),
    "schedule import": ("schedule", "import", "none.json"),
    "schedule explain": ("schedule", "explain", "none.yaml"),
    "schedule refine": ("schedule", "refine", "none.yaml", "--log", "none.csv"),
    "schedule batches": ("schedule", "batches", "none.yaml", "--samples", "many"),
    "a missing option": ("check", "model.py"),
    "no such command": ("swep",),
}


def test_every_command_is_tried() -> None:
    assert {words[0] for words in FAILURES.values()} - {"swep"} == set(COMMANDS)


@pytest.mark.parametrize("case", FAILURES)
def test_it_names_the_error_and_its_status(cli, case: str) -> None:
    plain, failed = cli(*FAILURES[case]), cli(*FAILURES[case], "--json")
    (error,) = json.loads(failed.stdout).values()
    assert set(error) == {"kind", "message", "hint", "exit_status"}
    assert plain.stdout == ""
    assert plain.returncode == failed.returncode == error["exit_status"] != 0
    assert error["message"] in failed.stderr
    assert failed.stderr == plain.stderr


def test_a_failure_of_the_user_s_code(cli, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("raise ValueError('my own')")
    failed = cli("sweep", "model.py", "--json")
    assert json.loads(failed.stdout)["error"] == {
        "kind": "ValueError", "message": "my own", "hint": None, "exit_status": 3
    }  # fmt: skip
    assert "line 1" in failed.stderr


def test_no_second_document_after_an_answer(cli, model_file: Path, tmp_path: Path) -> None:
    """A rate that isn't sane is an answer, and so is a refusal."""
    (tmp_path / "s.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 90.0}\nschedule: {name: constant, steps: 9}\n"
    )
    done = cli("check", model_file, "--config", "s.yaml", "--json")
    assert (done.returncode, json.loads(done.stdout)["sane"]) == (1, False)


def test_a_word_that_is_no_option_of_ours_asks_for_nothing(cli) -> None:
    assert cli("sweep", "--", "--json").stdout == ""
