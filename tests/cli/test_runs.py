"""`lrfinder runs`: every run folder in a line, and a damaged one named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def test_newest_first_with_what_was_recommended_and_nothing_changed(cli, tmp_path: Path) -> None:
    for age, name in enumerate(("run-v5-tiny", "run-v3-auto", "run-v4-tiny")):
        shutil.copytree(DATA / name, tmp_path / "lrfinder-runs" / name)
        os.utime(tmp_path / "lrfinder-runs" / name / "run.json", (1e9 - age, 1e9 - age))
    assert cli("recommend", "lrfinder-runs/run-v3-auto", "--steps", 100).returncode == 0
    (tmp_path / "lrfinder-runs" / "run-v4-tiny" / "run.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cli("runs", "--json")
    newest, other = json.loads(done.stdout)["runs"]
    assert (newest["run"], newest["pick"]) == ("lrfinder-runs/run-v5-tiny", None)
    assert (other["run"], other["model"], other["ended"]) == ("lrfinder-runs/run-v3-auto", "model", "done")
    kept = json.loads((tmp_path / other["run"] / "recommendation.json").read_text())
    assert other["pick"] == kept["picks"][0]
    assert "run-v4-tiny/run.json: not valid JSON" in done.stderr
    assert cli("runs", "--quiet").stdout.split() == [newest["run"], other["run"]]
    assert f"{other['pick']['lr']:.3g}" in cli("runs").stdout
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_where_there_is_none_it_says_how_to_make_one(cli) -> None:
    done = cli("runs", "nowhere")
    assert (done.returncode, done.stdout) == (0, "No run in nowhere: `lrfinder sweep MODEL` makes one.\n")
