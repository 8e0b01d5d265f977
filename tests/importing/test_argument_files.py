"""Files of arguments, axolotl's too: what its builder makes of the warm-up, what isn't read."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.errors import ConfigError, UsageError
from lrfinder.importing import import_schedule

BUILDER = Path(sys.prefix) / "frameworks" / "axolotl" / "core" / "builders" / "base.py"


def builders_warmup(config: dict[str, Any], steps: int) -> Any:
    """Run the method of axolotl's builder: what is around it needs a GPU's packages."""
    found = [
        node
        for node in ast.walk(ast.parse(BUILDER.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "_configure_warmup_and_logging"
    ]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(found, []), str(BUILDER), "exec"), names)  # noqa: S102 - the framework's own
    known = {"warmup_steps": None, "warmup_ratio": None, "logging_steps": 1, **config}
    arguments: dict[str, Any] = {}
    names["_configure_warmup_and_logging"](SimpleNamespace(cfg=SimpleNamespace(**known)), steps, arguments)
    return arguments["warmup_steps"]


@given(
    st.fixed_dictionaries({}, optional={"warmup_steps": st.integers(0, 50)})
    | st.fixed_dictionaries({"warmup_ratio": st.floats(0, 1)}, optional={"warmup_steps": st.just(0)}),
    st.integers(60, 400) | st.just(4000),
)
def test_the_warm_up_is_that_of_its_builder(warmup: dict[str, Any], steps: int) -> None:
    config = {"learning_rate": 1e-3, "lr_scheduler": "cosine", "max_steps": steps, "base_model": "x", **warmup}
    made = import_schedule(config)
    as_arguments = {"warmup_steps": float(builders_warmup(warmup, steps)), "lr_scheduler_type": "cosine"}
    assert made.lrs() == import_schedule({"learning_rate": 1e-3, "max_steps": steps, **as_arguments}).lrs()


def test_its_schedule_is_a_cosine_unless_it_says_otherwise() -> None:
    config = {"learning_rate": 1e-3, "micro_batch_size": 2, "warmup_steps": 0, "max_steps": 100, "optimizer": "sgd"}
    made = import_schedule(config)
    assert (made.schedule.name, made.optimizer.name) == ("cosine", "SGD")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr_scheduler", "rex"),
        ("lr_scheduler", "one_cycle"),
        ("cosine_min_lr_ratio", 0.1),
        ("jagged_restart_steps", 10),
        ("plugins", ["lrfinder_schedule.SchedulePlugin"]),
    ],
)
def test_what_is_its_own_is_refused(key: str, value: Any) -> None:
    config = {"learning_rate": 1e-3, "lr_scheduler": "cosine", "max_steps": 100, key: value}
    with pytest.raises(UsageError, match=f"{key}: .* is a schedule of axolotl's own"):
        import_schedule(config)


@pytest.mark.parametrize("value", ["momentum=x", "momentum=inf", "lr=0.1"])
def test_optim_args_that_are_no_numbers_or_a_rate_are_told_with_their_place(tmp_path: Path, value: str) -> None:
    (tmp_path / "args.yaml").write_text(f"learning_rate: 0.001\nmax_steps: 9\noptim: sgd\noptim_args: {value}\n")
    with pytest.raises(ConfigError, match=r"args\.yaml:4:13: optim_args: "):
        import_schedule(tmp_path / "args.yaml")


@pytest.mark.parametrize("name", ["f() or SGD", ""])
def test_an_optimizer_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="optimizer: expected the name of a class"):
        import_schedule({"learning_rate": 0.1, "max_steps": 5}, optimizer=name)


def test_a_run_that_is_too_long_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("learning_rate: 0.001\nmax_steps: 1000000000\n")
    with pytest.raises(ConfigError, match=r"args\.yaml:2:12: max_steps: at most [0-9,]+, got 1000000000"):
        import_schedule(tmp_path / "args.yaml")
