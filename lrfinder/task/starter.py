"""The commented starters that `lrfinder init` writes: a model file, or a script of a trainer."""

from __future__ import annotations

from importlib.resources import files

from lrfinder.errors import unknown_choice

MODEL = "model"
STARTERS = (MODEL, "loop", "trainer", "lightning", "peft")


def starter_text(name: str = MODEL) -> str:
    """Return the text of a starter, which runs unchanged.

    `model` is a model file, needs only torch, and shows every name of one. The others are scripts that find the rate
    and train: a `loop` of one's own, and Hugging Face's `trainer`, `lightning` and `peft` with what these need.

    Raises UsageError for another name.
    """
    if name not in STARTERS:
        raise unknown_choice("starter", name, STARTERS)
    return files("lrfinder.task").joinpath("starters", f"{name}.py.txt").read_text(encoding="utf-8")
