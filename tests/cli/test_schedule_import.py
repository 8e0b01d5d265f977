"""`lrfinder schedule import`, as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lrfinder.config import load_schedule, parse_schedule

ARGUMENTS = {
    "learning_rate": 3e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0,
    "num_train_epochs": 3,
    "optim": "sgd",
}


@pytest.fixture
def arguments(tmp_path: Path) -> Path:
    file = tmp_path / "args.json"
    file.write_text(json.dumps(ARGUMENTS))
    return file


def test_it_prints_a_config(cli, arguments: Path) -> None:
    done = cli("schedule", "import", arguments, "--steps", "1e2")
    assert (done.returncode, done.stderr) == (0, "")
    config = parse_schedule(done.stdout, suffix=".yaml", where="standard output")
    assert (config.schedule.name, config.steps, config.optimizer.lr) == ("cosine", 100, 3e-4)
    assert config.optimizer.name == "SGD"


@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
def test_it_writes_one_and_says_what_it_is(cli, arguments: Path, tmp_path: Path, suffix: str) -> None:
    arguments.write_text(json.dumps({**ARGUMENTS, "warmup_steps": 10}))
    words = ["schedule", "import", arguments, "--steps", "100", "--write", f"s.{suffix}", "--optimizer", "Lion"]
    done = cli(*words)
    assert done.returncode == 0
    assert f"Written: s.{suffix}, imported from transformers' cosine: equal at every update" in done.stdout
    config = load_schedule(tmp_path / f"s.{suffix}")
    assert config.lrs()[:11] == pytest.approx([3e-4 * t / 10 for t in range(11)])
    assert (config.schedule.name, config.schedule.warmup, config.schedule.warmup_start) == ("cosine", 10, 0.0)
    assert config.optimizer.name == "Lion"
    quiet = cli(*words, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    document = json.loads(cli(*words, "--json").stdout)
    assert document == {"config": config.as_data(), "written": f"s.{suffix}"}


def test_a_named_shape_where_a_difference_is_allowed(cli, arguments: Path) -> None:
    """One update ahead of the named cosine: a warm-up of 10 from 0 that reaches the peak in its last update."""
    kind = {"lr_scheduler_type": "cosine_warmup_with_min_lr", "warmup_steps": 10}
    keywords = {"min_lr_rate": 0.1, "warmup_lr_rate": 0.0}
    arguments.write_text(json.dumps({**ARGUMENTS, **kind, "lr_scheduler_kwargs": keywords}))
    words = ["schedule", "import", arguments, "--steps", "100", "--json"]
    assert json.loads(cli(*words).stdout)["config"]["schedule"]["name"] == "table"
    named = json.loads(cli(*words, "--tolerance", "0.11").stdout)["config"]
    assert (named["schedule"]["name"], named["schedule"]["warmup"]) == ("cosine", 10)
    assert named["schedule"]["warmup_start"] == 0
    assert "within 0.1 of the peak" in named["evidence"]["why"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "args.json:1:1: max_steps: missing"),
        (["--steps", "0"], "steps must be a whole number from 1"),
        (["--steps", "10", "--tolerance", "2"], "tolerance"),
        (["--steps", "10", "--write", "s.txt"], "a schedule config ends in .yaml"),
        (["--steps", "10", "--write", "nowhere/s.yaml"], "its folder is not there"),
    ],
)
def test_bad_usage(cli, arguments: Path, words: list[str], complaint: str) -> None:
    done = cli("schedule", "import", arguments, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_the_config_is_used_by_the_other_commands(cli, arguments: Path) -> None:
    cli("schedule", "import", arguments, "--steps", "50", "--write", "s.yaml")
    shown = json.loads(cli("schedule", "show", "s.yaml", "--json").stdout)["lrs"]
    assert len(shown) == 50
    exported = cli("schedule", "export", "s.yaml", "--to", "huggingface").stdout
    assert "'lr_scheduler_type': 'cosine'" in exported


def test_the_help_has_examples(cli) -> None:
    told = cli("schedule", "import", "--help").stdout
    assert "lrfinder schedule import args.json" in told
    assert "--tolerance" in told
