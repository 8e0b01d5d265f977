"""What `lrfinder check` tells continuous integration: annotations, a summary, JUnit XML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lrfinder.advice import CheckResult
from lrfinder.cli.answers.ci import annotation, junit_xml

ROOT = Path(__file__).parents[2]
RESULT = CheckResult(
    sane=False, lr=3.0, band=None, suggested=0.1, why="3 is above the band", hint="Try 0.1", warnings=()
)


@pytest.mark.parametrize(("sane", "failures", "skipped"), [(True, 0, 0), (False, 1, 0), (None, 0, 1)])
def test_junit_has_one_case_that_passed_failed_or_was_skipped(sane: bool | None, failures: int, skipped: int) -> None:
    suite = ET.fromstring(junit_xml(replace(RESULT, sane=sane), Path("s.yaml")))  # noqa: S314 - our own document
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", str(failures), str(skipped))
    (case,) = suite
    assert case.get("name") == "s.yaml"
    assert [part.tag for part in case] == ["failure"] * failures + ["skipped"] * skipped + ["system-out"]
    assert "3 is above the band. Try 0.1" in case.findtext("system-out")


@given(st.text(), st.text())
def test_no_text_breaks_out_of_an_annotation(why: str, name: str) -> None:
    told = annotation(replace(RESULT, why=why), Path(f"x{name}"))
    assert "\n" not in told
    assert "\r" not in told
    command, properties, text = told.split("::", 2)[0], *told.split("::", 2)[1].split(" ", 1)
    assert (command, properties) == ("", "error")
    assert text.startswith("file=x")
    assert text.count("title=lrfinder check%3A not sane") >= 1


def test_the_command_tells_github_and_junit(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 50.0}\nschedule: {name: constant, steps: 100}\n"
    )
    summary = tmp_path / "summary.md"
    done = cli(
        "check", model_file, "--config", "s.yaml", "--json", "--junit", "junit.xml",
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("{")
    assert "::error file=s.yaml,title=lrfinder check%3A not sane::" in done.stderr
    assert summary.read_text().startswith("### lrfinder check: not sane")
    assert b'failures="1"' in (tmp_path / "junit.xml").read_bytes()


IMPOSSIBLE = {
    ".": "is a folder",
    "no/junit.xml": "its folder is not there",
    "j" * 256: "File name too long",
    "s.yaml": "it is read here",
}


@pytest.mark.parametrize("junit", IMPOSSIBLE)
def test_a_place_that_junit_cannot_have_is_told_before_training(cli, tmp_path: Path, junit: str) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 50.0}\nschedule: {name: constant, steps: 100}\n"
    )
    (tmp_path / "model.py").write_text("print('imported')\n")
    done = cli("check", "model.py", "--config", "s.yaml", "--junit", junit)
    assert done.returncode == 2
    assert IMPOSSIBLE[junit] in done.stderr
    assert "imported" not in done.stdout + done.stderr


def test_the_files_to_copy_name_options_that_there_are() -> None:
    yaml = YAML(typ="safe")
    action = yaml.load(ROOT / ".github" / "actions" / "check" / "action.yml")
    (step,) = action["runs"]["steps"]
    assert {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]} == set(step["env"].values())
    job = yaml.load(ROOT / "configs" / "ci" / "gitlab.yml")["learning-rate"]
    assert job["script"][-1].endswith(f"--junit {job['artifacts']['reports']['junit']}")
