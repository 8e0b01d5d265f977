"""The JSON Schema of a schedule config, for editors: from the same models that read one."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from lrfinder.config.model import ScheduleConfig
from lrfinder.schedules import SCHEDULES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EPOCHS = r"^[0-9]{1,9}(\.[0-9]{1,9})? epochs?$"
_SECTION = "schedule"
# What the models take by validators of their own, which pydantic can't put into a schema.
_SETTING = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "number"},
        {"type": "string"},
        {"type": "array", "items": {"type": "number"}},
    ]
}


def config_schema() -> dict[str, Any]:
    """Return the schema of a config, with a branch for each schedule there is, those of plug-ins among them.

    What it refuses `load_schedule` refuses, too; not the other way round: that `steps` is at least `warmup`, say, no
    schema can tell.
    """
    schema = ScheduleConfig.model_json_schema(ref_template="#/$defs/{model}")
    shapes: dict[str, Any] = {}
    for name, shape in SCHEDULES.items():
        own = TypeAdapter(shape).json_schema(ref_template="#/$defs/{model}")
        schema["$defs"].update(own.pop("$defs", {}))
        shapes[name] = _shape(name, own)
    schema["$defs"].update({f"{_SECTION} {name}": shape for name, shape in shapes.items()})
    schema["properties"][_SECTION] = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": list(shapes)}},
        "allOf": [
            {
                "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
                "then": {"$ref": f"#/$defs/{_SECTION} {name}"},
            }
            for name in shapes
        ],
    }
    schema["$defs"]["OptimizerConfig"]["properties"]["settings"]["additionalProperties"] = _SETTING
    groups = schema["$defs"]["OptimizerConfig"]["properties"]["groups"]["anyOf"][0]
    groups["minItems"] = groups.pop("minLength")  # pydantic's word for a tuple that a validator makes
    return {"$schema": DIALECT, **schema, "title": "lrfinder schedule config"}


def schema_text() -> str:
    """Return the schema as the text of a file."""
    return json.dumps(config_schema(), indent=2) + "\n"


def _shape(name: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return a shape's schema: its name is fixed, and lengths may be written in epochs."""
    fields = SCHEDULES[name].model_fields
    no_lengths = {"epoch", *(fields[key].alias or key for key in SCHEDULES[name].in_evaluations)}
    properties = {
        key: value if key in no_lengths else _or_epochs(value)
        for key, value in own["properties"].items()
        if key != "name"
    }
    required = ["name", *(key for key in own.get("required", []) if key != "name")]
    return {
        "type": "object",
        "description": SCHEDULES[name].advice,
        "additionalProperties": False,
        "required": required,
        "properties": {"name": {"const": name}, **properties},
    }


def _or_epochs(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that also takes a text such as "30 epochs" where it takes a whole number."""
    if value.get("type") == "integer":
        kept: dict[str, Any] = {key: value[key] for key in ("title", "default") if key in value}
        number = {key: item for key, item in value.items() if key not in kept}
        return {**kept, "anyOf": [number, {"type": "string", "pattern": _EPOCHS}]}
    if "anyOf" in value:
        return {**value, "anyOf": [_or_epochs(each) for each in value["anyOf"]]}
    if "items" in value:
        return {**value, "items": _or_epochs(value["items"])}
    if "prefixItems" in value:
        return {**value, "prefixItems": [_or_epochs(each) for each in value["prefixItems"]]}
    return value
