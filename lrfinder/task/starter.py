"""The commented model file that `lrfinder init` writes."""

from __future__ import annotations

from importlib.resources import files


def starter_text() -> str:
    """Return the text of a model file that runs unchanged, needs only torch, and shows every name of a model file."""
    return files("lrfinder.task").joinpath("starter_model.py.txt").read_text(encoding="utf-8")
