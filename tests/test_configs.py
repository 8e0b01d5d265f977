"""The example model files: each loads, trains and learns; the training script and the CI workflow do what they say."""

from __future__ import annotations

import ast
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from lrfinder.task.batches import to_device
from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem

CONFIGS = Path(__file__).parent.parent / "configs"
SCRIPT = CONFIGS / "train_digits.py"
GAN = CONFIGS / "gan.py"
MODEL_FILES = sorted(path for path in CONFIGS.glob("*.py") if path not in {SCRIPT, GAN})

# A rate at which each clearly learns within the updates given: (rate, updates).
LEARNS = {
    "char_transformer": (3e-3, 20),
    "digits": (3e-3, 40),
    "digits_conv": (0.1, 40),
    "hf_bert": (1e-3, 100),
    "lightning_module": (3e-3, 60),
    "regression": (0.3, 60),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    path, modules, threads = list(sys.path), set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == CONFIGS:
            del sys.modules[name]


def test_every_example_is_tested() -> None:
    assert {path.stem for path in MODEL_FILES} == set(LEARNS)


def test_the_gans_discriminator_learns_to_tell() -> None:
    """It begins at 2 ln 2, a coin's toss for both of its sums."""
    import lrfinder

    result = lrfinder.sweep(str(GAN), mode="continuous", repeats=1, steps=40, min_lr=1e-3, max_lr=3e-3)
    assert result.setup.optimizer.name == "Adam"
    assert result.traces[0].initial_loss == pytest.approx(2 * math.log(2), rel=0.1)
    assert min(result.losses[0]) < 1.0


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.stem)
def test_it_learns(path: Path) -> None:
    rate, updates = LEARNS[path.stem]
    problem = load_problem(str(path))
    torch.manual_seed(0)
    trial = build_trial(problem, place=lambda model: model)
    losses: list[float] = []
    while len(losses) < updates:
        for batch in trial.loader:
            for group, ratio in zip(trial.optimizer.param_groups, trial.group_ratios, strict=True):
                group["lr"] = rate * ratio
            loss = trial.loss(trial.model, to_device(batch, torch.device("cpu")))
            trial.optimizer.zero_grad()
            loss.backward()
            trial.optimizer.step()
            losses.append(loss.item())
            if len(losses) == updates:
                break
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) / 5 < 0.95 * losses[0]


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.stem)
def test_it_has_what_a_newcomer_copies(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("lrfinder") for name in imported)
    assert f"lrfinder sweep configs/{path.name}" in (ast.get_docstring(tree) or "")


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    # torch 2.6 leaves a folder of its own to be removed at the end.
    strict = ("-W", "error", "-W", "ignore:Implicitly cleaning up:ResourceWarning")
    command = [sys.executable, "-B", *strict, str(SCRIPT), "--epochs", "2", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_training_script_uses_the_schedule_it_is_given(tmp_path: Path) -> None:
    """A rate of almost 0 must leave the loss where a perceptron of ten classes starts: near log(10)."""
    config = tmp_path / "schedule.yaml"
    config.write_text(
        "version: 1\noptimizer: {name: AdamW, lr: 1e-12}\nschedule: {name: constant, warmup: 0, steps: 42}\n"
    )
    done = run_script("--json", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["config"] == str(config)
    assert said["validation_loss"] == pytest.approx(math.log(10), abs=0.1)
    assert 0 <= said["accuracy"] < 0.4


def test_the_training_script_trains_at_the_default_rate_without_a_config() -> None:
    done = run_script("--seed", "1")
    assert (done.returncode, done.stderr) == (0, "")
    said = re.fullmatch(r"validation loss (\S+), accuracy (\S+)% \(the default rate of AdamW\)\n", done.stdout)
    assert said is not None, done.stdout
    assert float(said[1]) < 1.7
    assert float(said[2]) > 60


def test_the_training_script_uses_the_two_lines() -> None:
    text = SCRIPT.read_text()
    assert "from lrfinder import load_schedule\n" in text
    assert ".scheduler(optimizer)" in text


def test_the_workflow_checks_this_projects_own_example() -> None:
    workflow = YAML(typ="safe").load((CONFIGS / "ci" / "lrfinder.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] <= 30
    commands = [step["run"] for step in job["steps"] if "run" in step]
    words = commands[-1].split()
    assert words[:2] == ["lrfinder", "check"]
    for word in words:
        if "/" in word:
            assert (CONFIGS.parent / word).exists(), word
