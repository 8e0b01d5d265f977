"""The JSON Schema of a config, judged by the jsonschema package: it takes what load_schedule takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lrfinder.config import OptimizerConfig, ScheduleConfig, dump, format_schedule, load_schedule, parse_schedule
from lrfinder.config.files import read_document
from lrfinder.config.schema import schema_text
from lrfinder.errors import ConfigError
from lrfinder.schedules import SCHEDULES

CONFIGS = Path(__file__).parents[1] / "configs"
GOOD: dict[str, Any] = {
    "version": 1,
    "optimizer": {"name": "AdamW", "lr": 0.01, "settings": {"betas": [0.9, 0.999], "amsgrad": False}},
    "schedule": {"name": "linear", "warmup": 5, "steps": 100},
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def changed(**sections: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **sections}.items() if value is not None}


def test_the_committed_schema_is_that_of_the_models() -> None:
    stored = json.loads((CONFIGS / "schedule.schema.json").read_text(encoding="utf-8"))
    assert stored == json.loads(schema_text()), "stale: `lrfinder schedule schema --write configs/schedule.schema.json`"


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_shape_that_is_written_is_valid(validator: Any, name: str) -> None:
    shape = SCHEDULES[name].for_run(steps=100, warmup=0 if SCHEDULES[name].rises_itself else 10)
    made = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1, groups=(1.0, 0.1)), schedule=shape)
    validator.validate(json.loads(format_schedule(made, suffix=".json")))


@pytest.mark.parametrize("path", sorted((CONFIGS / "schedules").iterdir()), ids=lambda path: path.name)
def test_the_examples_are_valid(validator: Any, path: Path) -> None:
    validator.validate(read_document(path, what="schedule config", hint="").data)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".yaml", "# yaml-language-server: $schema=schedule.schema.json"),
        (".yml", "# yaml-language-server: $schema=schedule.schema.json"),
        (".toml", "#:schema ./schedule.schema.json"),
        (".json", None),  # it has no comments, and the schema knows no other key
    ],
)
def test_a_config_names_the_schema_that_lies_beside_it(tmp_path: Path, suffix: str, line: str | None) -> None:
    made, path = parse_schedule(json.dumps(GOOD), suffix=".json", where="GOOD"), tmp_path / f"config{suffix}"
    dump(made, path)
    alone = path.read_text()
    assert "$schema" not in alone
    assert "#:schema" not in alone
    (tmp_path / "schedule.schema.json").write_text(schema_text())
    dump(made, path)
    assert path.read_text() == (alone if line is None else f"{line}\n{alone}")
    assert load_schedule(path) == made


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "step", "epoch": 10, "steps": "30 epochs", "every": "10 epochs", "factor": 0.1},
        {"name": "table", "epoch": 10, "steps": "30 epochs", "points": [[0, 1.0], ["5 epochs", 0.5]]},
    ],
    ids=lambda schedule: schedule["name"],
)
def test_epochs_are_valid(validator: Any, schedule: dict[str, Any]) -> None:
    validator.validate(changed(schedule=schedule))
    parse_schedule(json.dumps(changed(schedule=schedule)), suffix=".json", where="it")


WRONG = {
    "no optimizer": changed(optimizer=None),
    "another version": changed(version=2),
    "an unknown key": changed(extra=1),
    "a rate of 0": changed(optimizer={"name": "SGD", "lr": 0}),
    "a rate in text": changed(optimizer={"name": "SGD", "lr": "1e-3"}),
    "no group": changed(optimizer={"name": "SGD", "lr": 1.0, "groups": []}),
    "a setting that is a table": changed(optimizer={"name": "SGD", "lr": 1.0, "settings": {"a": {"b": 1}}}),
    "an unknown shape": changed(schedule={"name": "liner", "steps": 10}),
    "no shape": changed(schedule={"steps": 10}),
    "no length": changed(schedule={"name": "linear"}),
    "a length of 0": changed(schedule={"name": "linear", "steps": 0}),
    "half an update": changed(schedule={"name": "linear", "steps": 10.5}),
    "a parameter of another shape": changed(schedule={"name": "linear", "steps": 10, "milestones": [3]}),
    "evaluations in epochs": changed(schedule={"name": "plateau", "epoch": 9, "steps": 99, "patience": "5 epochs"}),
    "a factor in epochs": changed(
        schedule={"name": "multi-step", "epoch": 1, "steps": 99, "factor": "1 epochs", "milestones": [3]}
    ),
    "words for a length": changed(schedule={"name": "linear", "steps": "long"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_it_refuses_the_reader_refuses(validator: Any, case: str) -> None:
    assert not validator.is_valid(WRONG[case])
    with pytest.raises(ConfigError):
        parse_schedule(json.dumps(WRONG[case]), suffix=".json", where="it")
