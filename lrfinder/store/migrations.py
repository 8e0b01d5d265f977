"""Bring run.json of an older format to the current one: MIGRATIONS[n] makes a document of version n + 1 from one of n.

What changed in each version is written above `layout.VERSION`. tests/data has a run folder of every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrfinder.records import Mode

Document = dict[str, Any]


def migrate(document: Document) -> Document:
    """Return run.json as a document of the current version; one that is current already is returned as it is."""
    while (step := MIGRATIONS.get(document["version"])) is not None:
        document = {**step(document), "version": document["version"] + 1}
    return document


def _from_1(document: Document) -> Document:
    """Version 1 had the model's `reference` alone, and only continuous sweeps."""
    settings = document.get("settings")
    if isinstance(settings, dict):  # what isn't one is refused later, with its place
        settings = {"mode": Mode.CONTINUOUS.value, **settings}
    return {**document, "source": {"reference": document.get("reference")}, "settings": settings}


def _only_additions(document: Document) -> Document:
    """The defaults of what the next version added describe what was done before."""
    return document


MIGRATIONS: Mapping[int, Callable[[Document], Document]] = {
    1: _from_1,
    2: _only_additions,
    3: _only_additions,
    4: _only_additions,
    5: _only_additions,
    6: _only_additions,
    7: _only_additions,
    8: _only_additions,
    9: _only_additions,
    10: _only_additions,
    11: _only_additions,
}
