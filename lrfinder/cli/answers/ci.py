"""The answer of a check where continuous integration looks for it: GitHub's annotations and summary, JUnit XML."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Protocol


class Verdict(Protocol):
    """What a check answers: `sane` is None if it can't tell."""

    @property
    def sane(self) -> bool | None: ...
    @property
    def why(self) -> str: ...
    @property
    def hint(self) -> str: ...


def word_for(sane: bool | None) -> str:
    """Return the answer in a word or two."""
    return {True: "sane", False: "not sane", None: "inconclusive"}[sane]


def report_to_ci(verdict: Verdict, config: Path, *, junit: Path | None) -> None:
    """Write the answer as JUnit XML to `junit`, and as an annotation and a summary if this is a GitHub workflow."""
    if junit is not None:
        from lrfinder.files import write_named

        write_named(junit, junit_xml(verdict, config))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.write(annotation(verdict, config) + "\n")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with contextlib.suppress(OSError), Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"### lrfinder check: {word_for(verdict.sane)}\n\n`{config}`: {_text(verdict)}\n")


def annotation(verdict: Verdict, config: Path) -> str:
    """Return GitHub's workflow command: an error if the rate is out of the band, a warning if nothing can be told.

    Source: "Workflow commands for GitHub Actions" in GitHub's documentation; `%`, line ends, `:` and `,` are escaped.
    """
    level = {True: "notice", False: "error", None: "warning"}[verdict.sane]
    file = _escaped(str(config)).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} file={file},title=lrfinder check%3A {word_for(verdict.sane)}::{_escaped(_text(verdict))}"


def junit_xml(verdict: Verdict, config: Path) -> bytes:
    """Return a test suite of one test: passed, failed, or skipped if nothing can be told."""
    from xml.etree import ElementTree as ET

    suite = ET.Element("testsuite", name="lrfinder check", tests="1")
    suite.set("failures", str(int(verdict.sane is False)))
    suite.set("skipped", str(int(verdict.sane is None)))
    case = ET.SubElement(suite, "testcase", classname="lrfinder.check", name=str(config))
    if verdict.sane is False:
        ET.SubElement(case, "failure", message=verdict.why).text = _text(verdict)
    elif verdict.sane is None:
        ET.SubElement(case, "skipped", message=verdict.why)
    ET.SubElement(case, "system-out").text = _text(verdict)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))


def _text(verdict: Verdict) -> str:
    return f"{verdict.why}. {verdict.hint}".strip()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
