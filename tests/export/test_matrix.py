"""Every schedule in every target, run in the framework itself: equal to f(t) at every update."""

from __future__ import annotations

import pytest

from export.matrix import VARIANTS, measure
from lrfinder.export import EXPORTERS
from lrfinder.schedules import SCHEDULES


def test_every_shape_is_in_the_matrix() -> None:
    assert set(VARIANTS) == {name for name, shape in SCHEDULES.items() if not shape.reads_losses}  # test_plateau.py


@pytest.mark.parametrize("target", EXPORTERS)
def test_every_export_is_exact(target: str) -> None:
    cells = measure(target)
    assert [(cell.schedule, cell.difference) for cell in cells if not cell.exact] == []
    if target in {"torch", "huggingface", "keras", "optax"}:
        assert {cell.schedule.name for cell in cells if cell.export.preset} >= {"linear", "cosine", "polynomial"}
        assert not [cell.schedule for cell in cells if cell.export.preset and cell.schedule.warmup]
