"""Whatever a config's texts hold, an export has no code in it that isn't the exporter's own."""

from __future__ import annotations

import ast
import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrfinder.config import ScheduleConfig, parse_schedule
from lrfinder.errors import ConfigError, UsageError
from lrfinder.export import TARGETS, export_schedule

TEXTS = [
    "__import__('os').system('x')",
    "__import__('os').system('x') or AdamW",
    "a=f(), b",
    "a, **f()",
    'x"); f(); ("',
    "x'); f(); ('",
    "x\n    f()",
    "x\u2028f()",
    "# x\rf()",
    '"""\nf()\n"""',
    "{f()}",
    "%(f)s",
    "!!python/object/apply:f []",
    "os.system",
    "AdamW",
    "Muon + AdamW",
    "momentum=0.9,lr=f()",
    "type",
    "_component_",
    "weight_decay",
    "betas",
    "\uff4c\uff52",  # lr, in wide letters
]
hostile = st.sampled_from(TEXTS) | st.text(max_size=20)
values = hostile | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.integers(-(2**62), 2**62)
schedules = st.sampled_from(
    [
        {"name": "linear", "warmup": 3, "steps": 12},
        {"name": "linear", "warmup": 3, "warmup_start": 0.0, "steps": 12},
        {"name": "cosine", "steps": 12},
        {"name": "rex", "steps": 12},
        {"name": "plateau", "steps": 12},
        {"name": "plateau", "steps": 12, "warmup": 3},
    ]
)
keys = st.sampled_from(["weight_decay", "betas", "momentum"]) | hostile
groups = st.sampled_from([None, [1.0], [1.0, 0.1]])


def made(optimizer: dict[str, object], schedule: dict[str, object], evidence: dict[str, str]) -> ScheduleConfig:
    data = {"version": 1, "optimizer": optimizer, "schedule": schedule, "evidence": evidence}
    return parse_schedule(json.dumps(data), suffix=".json", where="it")


def names_in(text: str) -> set[str]:
    """Return every name that the code reads, and everything that it calls or imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name | ast.Attribute | ast.Import | ast.ImportFrom):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
    return found


@pytest.mark.parametrize("target", TARGETS)
@given(
    name=st.sampled_from(["AdamW", "SGD", "Lion"]) | hostile,
    given_settings=st.dictionaries(keys, values, max_size=3),
    schedule=schedules,
    ratios=groups,
    why=hostile,
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_no_text_of_a_config_becomes_code(
    target: str,
    name: str,
    given_settings: dict[str, object],
    schedule: dict[str, object],
    ratios: list[float] | None,
    why: str,
) -> None:
    kept = {"groups": ratios} if ratios else {}
    try:
        config = made({"name": name, "lr": 0.1, **kept, "settings": given_settings}, schedule, {"why": why})
        export = export_schedule(config, target)
    except (ConfigError, UsageError):
        return
    plain = export_schedule(made({"name": "Plain", "lr": 0.1, **kept}, schedule, {}), target)
    if export.suffix == ".py":
        parts = name.split(".")
        own = {".".join(parts[: i + 1]) for i in range(len(parts))} | {
            f"torch.optim.{name}",
            "torch.optim",
            "torch",
            "ARGUMENTS",
        }
        assert names_in(export.text) <= names_in(plain.text) | own
    elif export.suffix == ".json":
        assert json.loads(export.text).keys() == json.loads(plain.text).keys()
    elif export.suffix == ".yaml":
        found, expected = yaml.safe_load(export.text), yaml.safe_load(plain.text)
        assert found.keys() == expected.keys()
        if target == "torchtune":
            assert found["optimizer"]["_component_"] in {name, f"torch.optim.{name}"}
    else:
        assert export.text == plain.text
