"""`lrfinder report` and `lrfinder compare` through the real command line, on run folders that are stored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from helpers.answers import stored_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "lrfinder-runs"
    folder.mkdir()
    return stored_run(folder / "one", "run-v4-tiny", None), stored_run(folder / "two")


def test_a_report_is_one_page_in_the_run_folder(cli, runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = cli("report")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Report: lrfinder-runs/two/report.html\n"  # the newest run
    assert "0.188" in (runs[1] / "report.html").read_text()
    done = cli("report", *runs, "--out", "both.html", "--json", "--quiet", "--seed", "3")
    document = json.loads(done.stdout)
    assert document["report"] == "both.html"
    assert document["runs"] == [str(run) for run in runs]
    page = (tmp_path / "both.html").read_text()
    assert page.index('<h2 id="comparison"') < page.index('<h2 id="run-1"') < page.index('<h2 id="run-2"')


def test_a_comparison_is_a_plot_a_table_and_a_verdict(cli, runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = cli("compare", "lrfinder-runs/one", "lrfinder-runs/two", "--png", "both.png", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for text in (
        "lrfinder-runs/two: use 0.188 (confident)",
        "what is not the same",
        "The runs differ in sweep",
        "apart",
    ):
        assert text in done.stdout
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert "└" not in cli("compare", *runs, "--quiet").stdout
    document = json.loads(cli("compare", *runs, "--json").stdout)
    assert document["pairs"][0]["clear"] is False
    assert not document["losses_comparable"]
    assert document["rates_comparable"]


def test_no_name_of_a_file_tells_the_terminal_anything(cli, runs: tuple[Path, Path], tmp_path: Path) -> None:
    """On a terminal with colors, too: those are all that is left."""
    odd = "e\x1b[2J\x1b]0;title\x07\u202ex"
    config = tmp_path / f"{odd}.yaml"
    config.write_text("version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 3}\n")
    (tmp_path / "plain.yaml").write_text(config.read_text())
    runs[0].rename(runs[0].with_name(odd))
    for color in ({}, {"FORCE_COLOR": "1"}):
        for args in (
            ("schedule", "show", config.name),
            ("schedule", "show", config.name, "plain.yaml"),
            ("schedule", "lint", config.name),
            ("compare", f"lrfinder-runs/{odd}", "lrfinder-runs/two"),
            ("runs",),
        ):
            done = cli(*args, **color)
            assert done.returncode == 0, done.stderr
            said = re.sub("\x1b\\[[0-9;]*m", "", done.stdout + done.stderr)
            assert not {"\x1b", "\x07", "\u202e"} & set(said), args
            assert "lint" in args or "e?[2J" in said


BAD = {
    "one run": (("compare", "{run}"), "a comparison needs two run folders"),
    "no folder": (("compare", "{run}", "nowhere"), "nowhere: not a run folder"),
    "no run": (("report", "nowhere"), "nowhere: not a run folder"),
    "no page": (("report", "{run}", "--out", "page.txt"), "page.txt: expected a name that ends in .html"),
    "no place": (("report", "{run}", "--out", "nowhere/page.html"), "nowhere/page.html: its folder is not there"),
    "no picture": (("compare", "{run}", "{run}", "--png", "a.svg"), "a.svg: expected a name that ends in .png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_is_2(cli, runs: tuple[Path, Path], case: str) -> None:
    args, message = BAD[case]
    done = cli(*(arg.format(run=runs[0]) for arg in args))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


DAMAGE = {
    "not JSON": ("{", "not valid JSON"),
    "a rate below 0": ('"lr": -1.0', "rates must be finite numbers above 0"),
    "no rate, and confident": ('"lr": null', "only a pick that is refused has no rate"),
    "a text for a rate": ('"lr": "0.1"', "document.picks.0.lr: Input should be a valid number"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_answer_is_refused_with_its_place(cli, runs: tuple[Path, Path], case: str) -> None:
    text, message = DAMAGE[case]
    file = runs[1] / "recommendation.json"
    pick = f'{{"rule": "trials", {text}, "low": null, "high": null, "status": "confident", "why": ""}}'
    whole = f'{{"config": null, "picks": [{pick}], "updates": 1, "why": "", "hint": ""}}'
    file.write_text(text if text == "{" else whole)
    done = cli("report", runs[1])
    assert done.returncode == 2
    assert message in done.stderr
    assert f"make it again (`lrfinder recommend {runs[1]}`), or remove the file" in done.stderr
