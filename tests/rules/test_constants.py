"""A constant's pointer to its ablation leads to a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "lrfinder"


def anchors(readme: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings: lower case, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", readme.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_pointer_to_an_ablation_has_its_heading() -> None:
    pointers = [
        (path.name, *found)
        for path in PACKAGE.rglob("*.py")
        for found in re.findall(r"\b(rules|advice|engine)/README\.md#([\w-]+)", path.read_text(encoding="utf-8"))
    ]
    known = {room: anchors(PACKAGE / room / "README.md") for room in ("rules", "advice", "engine")}
    assert len(pointers) > 20
    assert not [pointer for pointer in pointers if pointer[2] not in known[pointer[1]]]
