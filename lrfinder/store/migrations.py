"""Bring run.json of an older format to the current one: MIGRATIONS[n] makes a document of version n + 1 from one of n.

What changed in each version is written above `layout.VERSION`. tests/data has a run folder of every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrfinder.records import Mode

Document = dict[str, Any]


def migrate(document: Document) -> Document:
    """Return run.json as a document of the current version; what nothing reads any more is left out."""
    while (step := MIGRATIONS.get(document["version"])) is not None:
        document = {**step(document), "version": document["version"] + 1}
    return _without_default_lr(document)


def _without_default_lr(document: Document) -> Document:
    """Leave out what earlier releases of version 5, too, wrote of the optimizer and nothing ever read."""
    setup = document.get("setup")
    optimizer = setup.get("optimizer") if isinstance(setup, dict) else None
    if not isinstance(setup, dict) or not isinstance(optimizer, dict):
        return document
    kept = {key: value for key, value in optimizer.items() if key != "default_lr"}
    return {**document, "setup": {**setup, "optimizer": kept}}


def _from_1(document: Document) -> Document:
    """Version 1 had the model's `reference` alone, and only continuous sweeps."""
    settings = document.get("settings")
    if isinstance(settings, dict):  # what isn't one is refused later, with its place
        settings = {"mode": Mode.CONTINUOUS.value, **settings}
    return {**document, "source": {"reference": document.get("reference")}, "settings": settings}


def _only_additions(document: Document) -> Document:
    """What the next version added has defaults that say what was done before."""
    return document


MIGRATIONS: Mapping[int, Callable[[Document], Document]] = {
    1: _from_1,
    2: _only_additions,
    3: _only_additions,
    4: _only_additions,
}
