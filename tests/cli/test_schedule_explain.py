"""`lrfinder schedule explain` of an optimizer without a config."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lrfinder.advice.bare_optimizer import TORCH_DEFAULTS, bare_config
from lrfinder.cli.schedule import app
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump
from lrfinder.errors import UsageError
from lrfinder.schedules import Linear

NEEDS_A_CLOSURE = {"LBFGS"}  # which no schedule of this project can drive
BINDING = ("momentum", "betas", "weight_decay", "rho")  # and RMSprop's alpha: ASGD's is something else


@pytest.mark.as_pinned("torch")
def test_the_defaults_are_torchs() -> None:
    kinds = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    assert set(TORCH_DEFAULTS) == set(kinds) - NEEDS_A_CLOSURE
    for name, defaults in TORCH_DEFAULTS.items():
        signature = inspect.signature(kinds[name]).parameters
        for key, value in defaults.items():
            assert signature[key].default == value, (name, key)
        assert {key for key in BINDING if key in signature} <= set(defaults), name


def told(cli, *words: object) -> dict[str, dict]:
    done = cli("schedule", "explain", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {fact["name"]: fact for fact in json.loads(done.stdout)["facts"]}


def test_an_optimizer_without_a_length(cli) -> None:
    facts = told(cli, "--optimizer", "sgd", "--lr", "0.1", "--momentum", "0.9")
    assert facts["effective rate"]["value"] == pytest.approx(1.0)
    facts = told(cli, "--optimizer", "AdamW", "--lr", "3e-4")
    assert facts["weight decay's timescale"]["value"] == pytest.approx(1 / (3e-4 * 0.01))  # torch's default decay
    assert facts["warm-up need"]["value"] == pytest.approx(2000)
    assert "a warm-up of as many" in facts["warm-up need"]["text"]
    assert "weights left by decay" not in facts


def test_with_a_length_it_is_the_same_as_a_config(cli, tmp_path: Path) -> None:
    settings = {"betas": (0.9, 0.95), "weight_decay": 0.1}
    config = ScheduleConfig(
        optimizer=OptimizerConfig(name="AdamW", lr=3e-4, settings=settings), schedule=Linear(steps=10_000, warmup=500)
    )
    dump(config, tmp_path / "schedule.yaml")
    words = ["--optimizer", "AdamW", "--lr", "3e-4", "--betas", "0.9,0.95", "--weight-decay", "0.1"]
    facts = told(cli, *words, "--steps", "10k", "--warmup", "5e2")
    assert facts == told(cli, "schedule.yaml")
    assert "weights left by decay" in facts
    assert "500 updates of warm-up are enough" in facts["warm-up need"]["text"]


def test_a_warmup_without_a_length(cli) -> None:
    facts = told(cli, "--optimizer", "Adam", "--warmup", "100")
    assert "there are 100 of warm-up: a compromise" in facts["warm-up need"]["text"]
    assert facts["effective rate"]["value"] == 0.001  # torch's default rate


def test_the_table_is_shown(cli) -> None:
    done = cli("schedule", "explain", "--optimizer", "RMSprop", "--lr", "0.01")
    assert done.returncode == 0
    assert "warm-up need" in done.stdout


@pytest.mark.parametrize("name", TORCH_DEFAULTS)
def test_every_optimizer_is_explained(name: str) -> None:
    from lrfinder.advice.explain import explain

    bare = bare_config(name.upper(), lr=None, steps=None, warmup=0, given={})
    assert bare.optimizer.lr == TORCH_DEFAULTS[name]["lr"]
    assert explain(bare, of_a_run=False)


@pytest.mark.parametrize(
    ("words", "complaint", "hint"),
    [
        (["s.yaml", "--optimizer", "SGD"], "--optimizer was given besides the config s.yaml", "one of the two"),
        (["s.yaml", "--weight-decay", "0.1"], "--weight-decay was given besides the config s.yaml", "one of the two"),
        ([], "nothing to explain", "--optimizer AdamW --lr 1e-3"),
        (["--lr", "0.1"], "--lr needs --optimizer", "--optimizer AdamW"),
        (["--optimizer", "AdmaW"], "nothing is known of an optimizer 'AdmaW'", "did you mean AdamW?"),
        (["--optimizer", "Adam", "--momentum", "0.9"], "Adam takes no momentum", "Muon, RMSprop, SGD"),
        (["--optimizer", "Adam", "--betas", "0.9"], "betas must be two numbers, got '0.9'", "--betas 0.9,0.999"),
        (["--optimizer", "Adam", "--betas", "0.9,1"], "betas must be at least 0 and below 1, got 0.9, 1", ""),
        (["--optimizer", "Adam", "--weight-decay", "-1"], "weight decay must be at least 0, got -1", ""),
        (["--optimizer", "Adam", "--lr", "0"], "lr must be a number above 0, got 0", ""),
        (["--optimizer", "Adam", "--lr", "nan"], "lr must be a number above 0, got nan", ""),
        (
            ["--optimizer", "Adam", "--steps", "5", "--warmup", "6"],
            "steps must be at least 1 and warmup (6)",
            "",
        ),
        (["--optimizer", "Adam", "--warmup", "-6"], "warmup must be from 0 to", ""),
    ],
)
def test_bad_usage(words: list[str], complaint: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["explain", *words], catch_exceptions=False)
    assert complaint in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_config_and_an_optimizer_are_bad_usage_as_a_process(cli) -> None:
    done = cli("schedule", "explain", "s.yaml", "--optimizer", "SGD")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "lrfinder: --optimizer was given besides the config s.yaml\n  give one of the two: a config holds everything\n"
    )


def test_the_help_has_examples(cli) -> None:
    text = " ".join(cli("schedule", "explain", "--help").stdout.split())
    assert "lrfinder schedule explain schedule.yaml" in text
    assert "lrfinder schedule explain --optimizer SGD --lr 0.1 --momentum 0.9" in text
