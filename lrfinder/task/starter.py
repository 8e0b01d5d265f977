"""The commented model file that `lrfinder init` writes."""

from __future__ import annotations

from importlib.resources import files


def starter_text() -> str:
    """Return a model file that runs as it is with nothing but torch, and shows every name that lrfinder looks for."""
    return files("lrfinder.task").joinpath("starter_model.py.txt").read_text(encoding="utf-8")
