from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from lrfinder.records import Status
from lrfinder.report.picks import picks_table


def rendered(table: object, *, width: int = 80, **options: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **options).print(table)
    return file.getvalue()


def words(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize("width", [80, 120])
def test_every_word_of_every_pick_is_readable(digits: Any, width: int) -> None:
    text = rendered(picks_table(digits.picks, chosen="steepest"), width=width)
    assert max(map(len, text.splitlines())) <= width
    shown = words(text)
    for pick in digits.picks:
        assert pick.rule in shown
        assert pick.status.value in shown
        for word in words(pick.why):
            assert word in shown
    assert "0.00262 to 0.00672" in text


def test_the_recommended_pick_alone_is_marked(digits: Any) -> None:
    lines = rendered(picks_table(digits.picks, chosen="valley"), width=120).splitlines()
    marked = [line for line in lines if line.startswith(">")]
    assert [line.split()[1] for line in marked] == ["valley", "recommended"]


def test_nothing_is_marked_where_nothing_is_recommended(digits: Any) -> None:
    assert ">" not in rendered(picks_table(digits.picks, chosen=None))
    refused = rendered(picks_table(digits.picks, chosen="ignite"))
    assert "recommended" not in refused


def test_a_refusal_shows_why_and_no_numbers(digits: Any) -> None:
    line = next(
        line
        for line in rendered(picks_table(digits.picks, chosen=None), width=120).splitlines()
        if line.split()[:1] == ["ignite"]
    )
    assert line.split()[1:4] == ["-", "-", "refused"]
    assert "no minimum inside the range" in line


def test_statuses_have_colors_and_no_color_takes_them_away(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = picks_table(digits.picks, chosen="steepest")
    colored = rendered(table, force_terminal=True, color_system="standard")
    codes = {Status.CONFIDENT: "32", Status.UNCERTAIN: "33", Status.REFUSED: "31"}
    for status, code in codes.items():
        assert re.search(rf"\x1b\[(1;)?{code}m{status.value} *\x1b", colored)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = rendered(table, force_terminal=True, color_system="standard")
    assert not any(f"{code}m" in plain for code in codes.values())


def test_markup_in_a_reason_is_shown_as_it_is(digits: Any) -> None:
    pick = replace(digits.picks[0], why="see [bold]losses[3][/bold]", rule="[red]rule")
    text = rendered(picks_table([pick], chosen=None), width=120)
    assert "see [bold]losses[3][/bold]" in text
    assert "[red]rule" in text


def test_an_ascii_terminal_gets_ascii(digits: Any) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    Console(file=file, width=80).print(picks_table(digits.picks, chosen="steepest"))
    file.flush()
    assert b"steepest" in raw.getvalue()


def test_a_rule_without_a_pick_is_refused(digits: Any) -> None:
    with pytest.raises(ValueError, match="chosen must be the rule of one of the picks"):
        picks_table(digits.picks, chosen="knee")
