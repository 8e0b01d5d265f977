"""`lrfinder check` beside its sweep: the rates that a run logged."""

from __future__ import annotations

import json
from pathlib import Path

from lrfinder.config import load_schedule

CONFIG = "version: 1\noptimizer: {name: SGD, lr: 0.01}\nschedule: {name: linear, steps: 50}\n"


def test_logged_rates_and_their_statuses(cli, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG)
    lrs = load_schedule(tmp_path / "schedule.yaml").lrs()
    (tmp_path / "good.csv").write_text("\n".join(["step,lr", *(f"{t},{lr}" for t, lr in enumerate(lrs))]))
    (tmp_path / "bad.csv").write_text("\n".join(["step,lr", *(f"{t},0.01" for t in range(50))]))
    good = cli("check", "--config", "schedule.yaml", "--log", "good.csv")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == "good.csv: sane: the 50 logged rates, of steps 0 to 49, are the config's.\n"
    bad = cli("check", "--config", "schedule.yaml", "--log", "bad.csv", "--json", "--junit", "junit.xml")
    answer = json.loads(bad.stdout)
    assert (bad.returncode, answer["sane"], answer["logged"], answer["log"]) == (1, False, 0.01, "bad.csv")
    assert "bad.csv" in (tmp_path / "junit.xml").read_text()
    assert cli("check", "--config", "schedule.yaml", "--log", "none.csv").returncode == 2
    both = cli("check", "model.py", "--config", "schedule.yaml", "--log", "good.csv")
    assert (both.returncode, "MODEL can't be given with --log" in both.stderr) == (2, True)
    option = cli("check", "--config", "schedule.yaml", "--log", "good.csv", "--clip-norm", "3")
    assert (option.returncode, "--clip-norm can't be given with --log" in option.stderr) == (2, True)
    neither = cli("check", "--config", "schedule.yaml")
    assert (neither.returncode, "MODEL is missing" in neither.stderr) == (2, True)
