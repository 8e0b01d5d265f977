"""Every schedule in every target, run in the framework itself: equal to f(t) at every update."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings

from export.matrix import FRAMEWORKS, NEEDS, VARIANTS, measure, schedules
from helpers import shapes
from helpers.zygote import Zygote
from lrfinder.export import EXPORTERS
from lrfinder.schedules import SCHEDULES, Schedule

# Whose own schedules, or those of transformers, can be told apart from f(t) where there is no warm-up, or one.
OWN = {"torch", "huggingface", "axolotl", "timm", "mmengine", "keras", "optax"}
OWN_WITH_WARMUP = {"timm", "mmengine", "optax"}
# Whose warm-up is t / W, from 0.
FROM_ZERO = {
    "huggingface": {"linear", "cosine", "constant", "wsd", "inverse-sqrt", "polynomial"},
    "axolotl": {"linear", "cosine", "constant", "wsd", "inverse-sqrt", "polynomial"},
    "timm": {"linear", "cosine", "constant", "wsd", "inverse-sqrt", "polynomial", "step", "cosine-restarts", "k-decay"},
    "optax": {"linear", "cosine", "constant", "wsd", "polynomial", "step", "cosine-restarts"},
    "deepspeed": {"linear"},
    "torchtune": {"cosine", "constant"},
    "keras": {"cosine"},
}
DRAWN = 30  # of any shape, length and parameters, beyond the matrix
LONGEST = 100  # updates; `make export-matrix` runs longer ones, too: they take as long as all others


@functools.cache
def drawn() -> list[Schedule]:
    """Return the same schedules every time: each target runs them in one process."""
    found: list[Schedule] = []

    @settings(max_examples=DRAWN, database=None, derandomize=True)
    @given(shapes.schedules())
    def draw(schedule: Schedule) -> None:
        if not schedule.reads_losses:
            found.append(schedule)

    draw()
    return found


def test_every_shape_is_in_the_matrix() -> None:
    assert set(VARIANTS) == {name for name, shape in SCHEDULES.items() if not shape.reads_losses}  # test_plateau.py


def marks(target: str) -> list[pytest.MarkDecorator]:
    """Return what a target's runs need; the `get_scheduler` of transformers 5.0 takes no timescale of inverse_sqrt."""
    packages = NEEDS.get(target, ())
    return [pytest.mark.needs(*packages), *(pytest.mark.as_pinned(it) for it in packages if it == "transformers")]


@pytest.mark.parametrize("target", [pytest.param(target, marks=marks(target)) for target in EXPORTERS])
def test_every_export_is_exact(zygote: Zygote, target: str) -> None:
    which = [*(schedule for schedule in schedules() if schedule.steps <= LONGEST), *drawn()]
    cells = measure(target, which, lambda jobs: zygote.python(FRAMEWORKS, given=jobs))
    assert [(cell.schedule, cell.difference) for cell in cells if not cell.exact] == []
    own = [cell.schedule for cell in cells if cell.export.preset is not None]
    if target in OWN:
        assert {schedule.name for schedule in own} >= {"linear", "cosine", "polynomial"}
    warmed = {schedule.name for schedule in own if schedule.warmup > 1 and schedule.warmup_start is None}
    if target in OWN_WITH_WARMUP:
        assert warmed >= {"linear", "cosine", "wsd", "constant", "step", "multi-step", "geometric"}
    else:
        assert not warmed
    from_zero = {schedule.name for schedule in own if schedule.warmup > 1 and schedule.warmup_start == 0}
    assert from_zero >= FROM_ZERO.get(target, set())
