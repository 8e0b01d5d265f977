"""The function that is exported, run as the user runs it: against the schedule, update by update."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.shapes import schedules
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export import export_schedule
from lrfinder.export.source import factor_source
from lrfinder.schedules import SCHEDULES, Schedule


def run(schedule: Schedule) -> Any:
    names: dict[str, Any] = {"math": math}
    exec(factor_source(schedule, said="a test"), names)  # noqa: S102 - our own text
    return names["factor"]


OF_UPDATES = [name for name, shape in SCHEDULES.items() if not shape.reads_losses]


@given(schedules().filter(lambda it: not it.reads_losses), st.integers(0, 10**6))
def test_it_is_the_schedule_at_every_update(schedule: Schedule, further: int) -> None:
    factor = run(schedule)
    updates = [*range(schedule.steps + 2), schedule.steps + further]
    assert [factor(t) for t in updates] == [schedule.factor(t) for t in updates]


@pytest.mark.parametrize("name", OF_UPDATES)
@pytest.mark.parametrize("steps", [1, 2, 12, 1000])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_usual_parameters(name: str, steps: int, share: float) -> None:
    schedule = SCHEDULES[name].for_run(steps=steps, warmup=int(share * steps))
    factor = run(schedule)
    assert [factor(t) for t in range(steps + 3)] == [schedule.factor(t) for t in range(steps + 3)]


PLUG_IN = """\
from typing import ClassVar, Literal

from lrfinder.schedules import Schedule

{above}


def decay(u: int, length: int) -> float:
    return 1 - {helper}(u / (length or 1))


class Own(Schedule):
    advice: ClassVar[str] = "tests"
    formula = staticmethod(decay)
    name: Literal["own"] = "own"
"""
SQUARE = "def {name}(x): return x * x"


def plugged(folder: Path, *, above: str, helper: str, warmup: int) -> ScheduleConfig:
    """Return a config of a schedule whose formula calls a helper of its own file."""
    file = folder / "plug_in.py"
    file.write_text(PLUG_IN.format(above=above, helper=helper))
    spec: Any = importlib.util.spec_from_file_location("plug_in", file)
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Own(steps=10, warmup=warmup)
    return ScheduleConfig.model_construct(optimizer=OptimizerConfig(name="AdamW", lr=0.1), schedule=made, batch=None)


@pytest.mark.parametrize(("name", "warmup"), [("square", 3), ("rise", 0)])
def test_a_helper_of_a_plug_in_comes_along(tmp_path: Path, name: str, warmup: int) -> None:
    config = plugged(tmp_path, above=SQUARE.format(name=name), helper=name, warmup=warmup)
    factor = run(config.schedule)
    updates = range(warmup, 12)
    assert [factor(t) for t in updates] == [1 - ((min(t, 10) - warmup) / (10 - warmup)) ** 2 for t in updates]


@pytest.mark.parametrize(
    ("target", "name", "above", "warmup"),
    [
        ("torch", "factor", SQUARE, 0),
        ("torch", "rise", SQUARE, 3),
        ("torch", "min", SQUARE, 0),
        ("torch", "_set_peaks", SQUARE, 0),
        ("torch", "lr_scheduler", SQUARE, 0),
        ("lightning", "configure_optimizers", SQUARE, 0),
        ("keras", "twice", "PEAK = 2.0\ndef {name}(x): return PEAK * x", 0),
    ],
)
def test_a_name_that_the_exported_file_has_too_is_refused(
    tmp_path: Path, target: str, name: str, above: str, warmup: int
) -> None:
    config = plugged(tmp_path, above=above.format(name=name), helper=name, warmup=warmup)
    with pytest.raises(UsageError, match="has a name that the exported file needs for something else") as caught:
        export_schedule(config, target)
    assert "--to csv" in caught.value.hint
