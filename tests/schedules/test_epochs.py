"""Lengths in epochs: the same schedule as in updates."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, ValidationError
from pydantic_core import PydanticCustomError

from lrfinder.config import format_schedule, parse_schedule
from lrfinder.errors import ConfigError
from lrfinder.schedules import Cyclical, Linear, MultiStep, Step


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


HEAD = {"version": 1, "optimizer": {"name": "SGD", "lr": 0.1}}


def written(schedule: dict[str, Any], suffix: str) -> str:
    """Return the config as people write it, with each item of a list on its own line."""
    if suffix == ".json":
        return json.dumps({**HEAD, "schedule": schedule}, indent=2)
    if suffix == ".yaml":
        return yaml.safe_dump({**HEAD, "schedule": schedule}, sort_keys=False)
    lists = {key: value for key, value in schedule.items() if isinstance(value, list)}
    plain = "".join(f"{key} = {json.dumps(value)}\n" for key, value in schedule.items() if key not in lists)
    items = {key: "".join(f"  {json.dumps(item)},\n" for item in value) for key, value in lists.items()}
    return (
        'version = 1\noptimizer = {name = "SGD", lr = 0.1}\n[schedule]\n'
        + plain
        + "".join(f"{key} = [\n{text}]\n" for key, text in items.items())
    )


def place(text: str, item: str) -> str:
    """Return the line and the column at which an item stands in the text, with its quotes."""
    at = text.index(item)
    at -= text[at - 1] in "\"'"
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


MILESTONES = {"name": "multi-step", "epoch": 391, "steps": "90 epochs", "factor": 0.1}
HALF = "'60.5 epochs' of 391 updates are 23655.5 updates, not a whole number"
LIKE = "expected a whole number of updates, or 70 epochs, got '70 Epochs'"
POINTS = {"name": "table", "epoch": 391, "steps": "90 epochs"}


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
def test_each_item_of_a_list_is_told_at_its_own_place(suffix: str) -> None:
    text = written({**MILESTONES, "milestones": ["30 epochs", "60.5 epochs", -7, "70 Epochs", "later"]}, suffix)
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=suffix, where="it")
    assert str(caught.value).split("\n") == [
        f"it:{place(text, '60.5 epochs')}: schedule.milestones[1]: {HALF}",
        f"it:{place(text, '-7')}: schedule.milestones[2]: expected a number of at least 1, got -7",
        f"it:{place(text, '70 Epochs')}: schedule.milestones[3]: {LIKE}",
        f'it:{place(text, "later")}: schedule.milestones[4]: expected a whole number, got "later"',
    ]


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
def test_so_are_the_points_of_a_table(suffix: str) -> None:
    text = written({**POINTS, "points": [[0, 1.0], ["60.5 epochs", 0.5], ["70epochs", 1.5]]}, suffix)
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=suffix, where="it")
    told = [line.split(": ", 2)[:2] for line in str(caught.value).split("\n")]
    assert told == [
        [f"it:{place(text, '60.5 epochs')}", "schedule.points[1][0]"],
        [f"it:{place(text, '70epochs')}", "schedule.points[2][0]"],
        [f"it:{place(text, '1.5')}", "schedule.points[2][1]"],
    ]


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
def test_the_item_that_is_out_of_order_is_told(suffix: str) -> None:
    text = written({**MILESTONES, "milestones": ["30 epochs", "60 epochs", "50 epochs"]}, suffix)
    where = (
        rf"^it:{place(text, '50 epochs')}: schedule.milestones\[2\]: expected updates in ascending order, got 19550 "
    )
    with pytest.raises(ConfigError, match=where):
        parse_schedule(text, suffix=suffix, where="it")
    text = written({**POINTS, "points": [[0, 1.0], [2345, 0.5], [2344, 0.4]]}, suffix)
    where = rf"^it:{place(text, '2344')}: schedule.points\[2\]\[0\]: expected updates in ascending order, got 2344 "
    with pytest.raises(ConfigError, match=where):
        parse_schedule(text, suffix=suffix, where="it")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("1e1 epochs", "10 epochs"),
        ("2,5 epochs", "2.5 epochs"),
        ("2.50 Epoch", "2.5 epochs"),
        ("-1 epochs", "a text such as '2.5 epochs'"),
        ("two epochs", "a text such as '2.5 epochs'"),
        ("1,000 epochs", "a text such as '2.5 epochs'"),
        ("inf epochs", "a text such as '2.5 epochs'"),
        ("epochs", "a text such as '2.5 epochs'"),
        ("0.00000000001 epochs", "a text such as '2.5 epochs', of at most 9 decimals"),
        ("99999999999999 epochs", "at most 999999999 epochs"),
        ("1e99 epochs", "at most 999999999 epochs"),
    ],
)
def test_the_right_form_is_named(given: str, right: str) -> None:
    text = f'version: 1\noptimizer: {{name: SGD, lr: 0.1}}\nschedule: {{name: linear, epoch: 2, steps: "{given}"}}\n'
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=".yaml", where="it")
    assert str(caught.value) == (
        f"it:3:43: schedule.steps: expected a whole number of updates, or {right}, got {given!r}"
    )
    if right[0].isdigit():
        assert parse_schedule(text.replace(given, right), suffix=".yaml", where="it").schedule.epoch == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "name: plateau, patience: 5 epochs",
            "patience: counts evaluations, not updates: write 5, if there is one",
        ),
        ("name: plateau, cooldown: 2.5 Epochs", "cooldown: counts evaluations, not updates: write a whole number, if"),
        ("name: plateau, factor: 1 epochs", 'factor: expected a number, got "1 epochs"'),
        ("name: multi-step, milestones: [3], factor: 1 epochs", 'factor: expected a number, got "1 epochs"'),
        ("name: table, points: [[0, 1.0], [5, 0.1 epochs]]", r"points\[1\]\[1\]: expected a number, got"),
        ("name: linear, warmup: 1 epochs, warmup_start: 0 epochs", 'warmup_start: expected a number, got "0 epochs"'),
    ],
)
def test_what_counts_no_updates_takes_no_epochs(given: str, told: str) -> None:
    text = f"version: 1\noptimizer: {{name: SGD, lr: 0.1}}\nschedule: {{epoch: 10, steps: 9 epochs, {given}}}\n"
    with pytest.raises(ConfigError, match=rf"^it:3:\d+: schedule\.{told}"):
        parse_schedule(text, suffix=".yaml", where="it")


def test_words_that_are_no_lengths_are_judged_as_they_are() -> None:
    with pytest.raises(ValidationError, match="'triangular'"):
        Cyclical(steps=10, up=2, mode="epochs")
    with pytest.raises(ValidationError, match="valid number"):
        Linear(steps=10, final="epochs")


def test_an_error_of_another_distributions_kind_keeps_its_words() -> None:
    def odd(value: int) -> int:
        raise PydanticCustomError("odd", "{value} is odd", {"value": value})

    class Odd(Linear):
        at: tuple[Annotated[int, AfterValidator(odd)], int]

    with pytest.raises(ValidationError) as caught:
        Odd(steps=10, at=(3, "2 epochs"))
    told = [(each["loc"], each["msg"]) for each in caught.value.errors()]
    assert told[0] == (("at", 0), "3 is odd")
    assert "needs to know the updates of an epoch" in told[1][1]
