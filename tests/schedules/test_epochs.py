"""Lengths in epochs: the same schedule as in updates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lrfinder.config import format_schedule, parse_schedule
from lrfinder.errors import ConfigError
from lrfinder.schedules import Linear, MultiStep, Step


@given(st.integers(1, 500), st.integers(0, 5), st.integers(6, 90))
def test_epochs_are_their_updates(epoch: int, warmup: int, epochs: int) -> None:
    told = Step(epoch=epoch, warmup=f"{warmup} epochs", steps=f"{epochs} epochs", every="3 epochs", factor=0.5)
    counted = Step(epoch=epoch, warmup=warmup * epoch, steps=epochs * epoch, every=3 * epoch, factor=0.5)
    assert told == counted


def test_in_lists_and_in_parts() -> None:
    schedule = MultiStep(epoch=391, steps="160 epochs", milestones=("80 epochs", "120 epochs"), factor=0.1)
    assert schedule.milestones == (31_280, 46_920)
    assert Linear(epoch=390, warmup="0.5 epochs", steps="1 epoch").warmup == 195


def test_a_file_says_it_and_keeps_updates() -> None:
    text = (
        "version: 1\noptimizer: {name: SGD, lr: 0.1}\n"
        "schedule: {name: step, epoch: 391, steps: 90 epochs, every: 30 epochs, factor: 0.1}\n"
    )
    config = parse_schedule(text, suffix=".yaml", where="it.yaml")
    assert (config.schedule.steps, config.schedule.every) == (35_190, 11_730)
    assert parse_schedule(format_schedule(config, suffix=".toml"), suffix=".toml", where="it.toml") == config


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("steps: 90 epochs", "steps: '90 epochs' needs to know the updates of an epoch"),
        ("epoch: 391, warmup: 0.5 epochs, steps: 1000", "195.5 updates, not a whole number"),
        ("epoch: 391, steps: 90 epoches", "steps: expected a whole number"),
        ("epoch: 0, steps: 10", "epoch: expected a number of at least 1"),
        ("epoch: 391, steps: -1 epochs", "steps: expected a whole number"),
    ],
)
def test_what_cannot_be_counted(given: str, complaint: str) -> None:
    text = f"version: 1\noptimizer: {{name: SGD, lr: 0.1}}\nschedule: {{name: linear, {given}}}\n"
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=".yaml", where="it.yaml")
    assert "it.yaml:3:" in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "epoch: 391|warmup: 2.5 epochs|steps: 90 epochs",
            ["6:11: schedule.warmup: '2.5 epochs' of 391 updates are 977.5"],
        ),
        (
            "epoch: 391.0|warmup: 2.5 epochs|steps: 90 epochs",
            ["5:10: schedule.epoch: expected a whole number, got 391.0; write 391"],
        ),
        (
            "warmup: 2 Epochs|steps: 90epochs|final: 0.1",
            [
                "5:11: schedule.warmup: expected a whole number of updates, or 2 epochs, got '2 Epochs'",
                "6:10: schedule.steps: expected a whole number of updates, or 90 epochs, got '90epochs'",
            ],
        ),
        (
            "warmup: 2 epochs|steps: 90 epochs",
            [
                "5:11: schedule.warmup: '2 epochs' needs to know the updates of an epoch",
                "6:10: schedule.steps: '90 epochs' needs",
            ],
        ),
    ],
)
def test_each_is_told_at_its_own_place(lines: str, told: list[str]) -> None:
    text = "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule:\n  name: linear\n"
    text += "".join(f"  {line}\n" for line in lines.split("|"))
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=".yaml", where="it")
    found = str(caught.value).split("\n")
    assert len(found) == len(told)
    assert all(line.startswith(f"it:{start}") for line, start in zip(found, told, strict=True)), found


def test_an_epoch_that_is_no_number_says_so() -> None:
    with pytest.raises(ValidationError, match="valid integer"):
        Linear(epoch="391", steps=10)
