from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from lrfinder.records import Chart
from lrfinder.report.html import result_html


class Document(HTMLParser):
    """What a browser would make of the fragment: its elements, and the text of each kind of element."""

    VOID = frozenset({"br", "img", "meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


def test_the_fragment_holds_picture_and_table(digits: Any) -> None:
    text = result_html(digits)
    document = Document(text)
    assert document.tags.count("svg") == 1
    assert document.tags.count("tr") == 1 + len(digits.picks)
    assert document.cells[:5] == [
        "steepest (recommended)",
        "0.0042",
        "0.00262 to 0.00672",
        "confident",
        digits.picks[0].why,
    ]
    assert "<?xml" not in text
    assert "<!DOCTYPE" not in text
    label = document.labels[0]
    assert "Recommended rate 0.0042 by steepest." in label
    assert "Trainable band 7e-04 to 0.11." in label


def test_every_curve_gives_a_well_formed_fragment(curve: Any) -> None:
    Document(result_html(curve))


def test_hostile_names_do_not_become_elements(named: Callable[[str], Any]) -> None:
    curve = named("hostile_name")
    evil = "<img src=x onerror=alert(1)>\"'&"
    picks = (replace(curve.picks[0], rule=evil, why=evil), *curve.picks[1:])
    text = result_html(replace(curve, picks=picks, chosen=evil))
    document = Document(text)
    assert "script" not in document.tags
    assert "img" not in document.tags
    assert evil in document.cells
    assert not re.search(r"<(script|img)", text)


def test_a_sweep_without_picks_has_no_table(digits: Any) -> None:
    assert "<table" not in result_html(Chart(result=digits.result))
