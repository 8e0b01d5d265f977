"""The page of `lrfinder report`: complete, self-contained, and safe whatever a run folder says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page import THEMES, find_browser, visit
from helpers.answers import answer_of, picked, stored_run, verified
from lrfinder.advice.answer import RunAnswer
from lrfinder.advice.comparison import compare_answers
from lrfinder.api.report import write_report
from lrfinder.api.runs.run_answer import read_run_answer
from lrfinder.records import Status, Stop, SweepResult, SweepSettings, Trace
from lrfinder.report.documents import sweep_document
from lrfinder.report.page import report_page

DATA = Path(__file__).parents[1] / "data"
LARGEST = 500_000  # bytes
VOID = {"meta", "rect", "path", "circle", "br", "img", "input", "line"}
EVIL = "</script><script>alert(1)</script></title><img src=x onerror=alert(1)>\"'&{{ 7*7 }}{% raw %}]]>"


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in self.inside:
            self.inside[tag].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]][-1] += data
        else:
            self.texts.append(data)

    def tags(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def with_class(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]


def numbers_in(document: Any) -> Iterator[float]:
    """Yield every number of a JSON document."""
    if isinstance(document, bool) or document is None or isinstance(document, str):
        return
    if isinstance(document, int | float):
        yield float(document)
        return
    for part in document.values() if isinstance(document, dict) else document:
        yield from numbers_in(part)


def check_sound(text: str) -> Page:
    """Assert what holds for every page, and return it."""
    page = Page(text)
    assert len(text.encode()) < LARGEST
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form", "image", "use"}
        for name in ("href", "src", "action", "data", "srcset", "xlink:href", "style"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
        if attributes.get("href", "#") != "#":
            assert attributes["href"][1:] in ids
    for svg in page.tags("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and len(svg["aria-labelledby"].split()) == 2)
    own = page.inside["style"] + [script for script in page.inside["script"] if script.startswith('"use strict"')]
    assert not re.search(r"https?:|@import|url\((?!#)|\bfetch\b|XMLHttpRequest|\beval\b", "".join(own))
    policy = next(meta["content"] for meta in page.tags("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    allowed = [f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in own]
    assert len(allowed) == 2
    assert policy.startswith(f"default-src 'none'; style-src {allowed[0]}; script-src {allowed[1]};")
    pictures = [script for script in page.inside["script"] if not script.startswith('"use strict"')]
    for points in map(json.loads, pictures):
        for x, y, said in points:
            assert 76 <= x <= 708
            assert -228 <= y <= 576
            assert isinstance(said, str)
    assert "nan" not in {
        part for _, attributes in page.elements for part in re.split(r"[ ML]", attributes.get("d", ""))
    }
    return page


def page_of(*answers: RunAnswer) -> Page:
    return check_sound(report_page(answers, compare_answers(answers) if len(answers) > 1 else None))


def test_every_curve_gives_a_sound_page(curve: Any) -> None:
    page = page_of(answer_of(curve))
    assert page.inside["title"][0].startswith("Learning rate of ")
    assert page.with_class(f"answer {curve.picks[0].status.value}".split()[0])


def test_what_a_script_is_judged_by_is_not_called_held_out(tmp_path: Path) -> None:
    shutil.copytree(DATA / "run-v12-script", tmp_path / "run")
    answer = read_run_answer(tmp_path / "run")
    page = page_of(answer)
    assert answer.result.runs[0].metric == "train"
    assert not [text for text in page.texts if "held-out" in text.replace(answer.result.setup.judged, "")]
    assert any("Its loss is the mean of the last training losses, so" in text for text in page.texts)
    judged_elsewhere = dataclasses.replace(answer.result.runs[0], metric="probe")
    page = page_of(dataclasses.replace(answer, result=dataclasses.replace(answer.result, runs=(judged_elsewhere,))))
    assert any("Its loss is measured on held-out data, so" in text for text in page.texts)


def test_all_numbers_of_the_json_documents_are_there(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    verified(run, confirmed=False, lr=0.155)
    write_report(run)
    text = (run / "report.html").read_text()
    page = check_sound(text)
    values = {float(attributes["value"]) for attributes in page.tags("data")}
    words = {float(word) for part in page.texts for word in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e[-+]?\d+)?", part)}
    answer = read_run_answer(run)
    documents = [json.loads((run / name).read_text()) for name in ("recommendation.json", "verification.json")]
    documents += [sweep_document(answer.result, answer.advice), json.loads((run / "run.json").read_text())["setup"]]
    documents[0].pop("config")  # the verified one is on the page
    documents[0].pop("updates")
    known = values | words
    missing = {number for document in documents for number in numbers_in(document)} - known
    assert missing == set()
    assert "corrected" in page.texts


def test_the_answer_comes_first_and_its_status_is_seen(named: Callable[[str], Any]) -> None:
    sure, doubted, none = (
        report_page([picked(answer_of(named("digits")), status=Status.CONFIDENT)]),
        report_page([picked(answer_of(named("digits")), status=Status.UNCERTAIN, why="the two estimates differ")]),
        report_page([answer_of(named("never_fell"))]),
    )
    for text, status, said in (
        (sure, "confident", "Suggested peak learning rate"),
        (doubted, "uncertain", "Why uncertain:"),
        (none, "refused", "No learning rate can be suggested"),
    ):
        page = check_sound(text)
        assert len(page.with_class("answer")) == 1
        assert status in page.with_class("answer")[0]["class"]
        assert said in text
        assert text.index('class="answer') < text.index('<svg class="plot"')
    assert "lr = 0.0042  # the peak rate of your optimizer\n" in sure
    assert "lr = 0.0042  # the peak rate of your optimizer, uncertain" in doubted
    assert "lr = " not in none.partition("<main>")[2]
    assert "The loss never fell below where it began" in none
    assert "What to do:" in none
    assert not Page(none).with_class("pick")


def test_hostile_text_of_a_run_folder_stays_text(named: Callable[[str], Any]) -> None:
    plain = answer_of(named("digits"))
    result = plain.result
    optimizer = dataclasses.replace(result.setup.optimizer, settings={"mode": EVIL}, chosen_by=EVIL)
    texts = dict.fromkeys(("model", "loss", "device", "torch", "python", "lrfinder", "graph"), EVIL)
    traces = tuple(dataclasses.replace(trace, why=EVIL, note=EVIL) for trace in result.traces)
    evil = dataclasses.replace(
        picked(plain, rule=EVIL, why=EVIL, status=Status.UNCERTAIN),
        name=EVIL,
        model_file=EVIL,
        model_sha256=EVIL,
        config=EVIL,
        result=dataclasses.replace(
            result, setup=dataclasses.replace(result.setup, **texts, optimizer=optimizer), traces=traces
        ),
    )
    page, before = page_of(evil, evil), page_of(plain, plain)
    assert len(page.tags("script")) == len(before.tags("script"))
    assert len(page.tags("svg")) == len(before.tags("svg"))
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in before.elements} | {"b"}
    assert page.texts.count(EVIL) > 10
    assert f"load_schedule({json.dumps(EVIL)})" in "".join(page.texts)


def test_a_long_sweep_and_many_runs_stay_small(named: Callable[[str], Any]) -> None:
    settings = SweepSettings(steps=100_000, repeats=1)
    lrs = settings.lrs()
    losses = tuple(2.3 - 2 * min(1.0, i / 50_000) for i in range(len(lrs)))
    trace = Trace(
        repeat=0, seed=0, initial_loss=2.3, lrs=lrs, losses=losses, stop=Stop.COMPLETED, updates=len(lrs)
    )  # fmt: skip
    digits = named("digits")
    long = SweepResult(settings=settings, setup=digits.result.setup, traces=(trace,))
    page = page_of(answer_of(dataclasses.replace(digits, result=long)))
    assert "One of 67 points is drawn." in page.texts
    many = [dataclasses.replace(answer_of(digits), name=f"run {i}") for i in range(8)]
    assert len(page_of(*many).with_class("run")) == 8


@pytest.mark.parametrize(
    ("confirmed", "lr", "steps", "by", "said"),
    [
        (True, 0.2, 400, "verify", "confirmed"),
        (False, 0.11, 400, "verify", "corrected"),
        (None, None, 400, "recommend", "could not tell"),
        (False, 0.11, 800, "recommend", "corrected"),  # of another length than was recommended last
    ],
)
def test_a_verification_counts_if_it_is_of_the_same_run(
    confirmed: bool | None, lr: float | None, steps: int, by: str, said: str, tmp_path: Path
) -> None:
    run = stored_run(tmp_path / "run")
    before = (run / "recommendation.json").read_bytes()
    recommended = read_run_answer(run)
    assert recommended.by == "recommend"
    assert recommended.advice.schedule is not None
    verified(run, confirmed=confirmed, lr=lr, steps=steps)
    (run / "recommendation.json").write_bytes(before)
    answer = read_run_answer(run)
    assert answer.by == by
    assert answer.advice.lr == (lr if by == "verify" else recommended.advice.lr)
    assert len(answer.trials) == 5
    page = page_of(answer)
    assert said in page.texts
    assert any("lrfinder " + by in text for text in page.texts)
    assert page.texts.count("lowest ") == 1 + 2  # of the sweep's runs, and of each length of the trials


def test_a_recommendation_that_the_sweep_has_outgrown_is_made_anew(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "run")
    document = json.loads((run / "recommendation.json").read_text())
    (run / "recommendation.json").write_text(json.dumps({**document, "updates": document["updates"] - 1}))
    answer = read_run_answer(run)
    assert answer.by == "sweep"
    assert answer.advice.schedule is None


def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no browser is installed")
    return found


@pytest.mark.parametrize("theme", THEMES)
def test_a_browser_shows_it_without_a_complaint(theme: str, named: Callable[[str], Any], tmp_path: Path) -> None:
    """With AXE=axe.min.js in the environment, axe-core judges the page, too."""
    path = browser()
    run = stored_run(tmp_path / "run")
    verified(run, confirmed=False, lr=0.155)
    answers = [read_run_answer(run), answer_of(named("never_fell")), answer_of(named("hostile_name"), name=EVIL)]
    axe = Path(os.environ["AXE"]).read_text() if "AXE" in os.environ else ""
    outcome = visit(report_page(answers, compare_answers(answers)), path, theme=theme, axe=axe)
    assert outcome["errors"] == []
    assert outcome["stuck"] == []
    assert outcome["silent"] == []
    assert outcome["layers"] > 10
    assert outcome["hovered"] > 20
    assert not outcome["axe"]
