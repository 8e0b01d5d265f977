"""The benchmark's score by hand: a valley of five rates."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.scoring import Oracle, per_task, summary

TABLE = {
    "untrained": 2.0,
    "rates": [1e-3, 1e-2, 1e-1, 1.0],
    "losses": [[1.5, 1.7], [1.0, 1.0], [0.4, 0.6], [None, 9.0]],
}


@pytest.fixture
def oracles(tmp_path: Path) -> Path:
    (tmp_path / "valley.json").write_text(json.dumps(TABLE))
    return tmp_path


@pytest.mark.parametrize(
    ("rate", "regret"),
    [
        (1e-1, 0.0),
        (1e-2, 1 / 3),  # (1.0 - 0.5) / (2.0 - 0.5)
        (10**-1.5, 1 / 6),
        (1e-3, 1.1 / 1.5),
        (1e-9, 1.1 / 1.5),
        (1.0, 1.0),  # one run diverged, one ended above the start
        (1e3, 1.0),
        (None, 1.0),
        (math.nan, 1.0),
        (-1.0, 1.0),
    ],
)
def test_regret(oracles: Path, rate: float | None, regret: float) -> None:
    assert Oracle.read(oracles / "valley.json").regret(rate) == pytest.approx(regret)


def test_a_run_better_than_the_grid_is_below_zero(oracles: Path) -> None:
    assert Oracle.read(oracles / "valley.json").regret_of(0.35) == pytest.approx(-0.1)


def test_an_interval_meets_the_near_optimal_rates_or_not(oracles: Path) -> None:
    oracle = Oracle.read(oracles / "valley.json")
    assert oracle.holds_near_optimal(1e-2, 1.0)
    assert oracle.holds_near_optimal(0.099, 0.2)
    assert not oracle.holds_near_optimal(1e-3, 1e-2)


def test_the_table_counts_refusals_and_what_was_confidently_wrong(oracles: Path) -> None:
    rows = [
        {"task": "valley", "method": "good", "seed": 1, "lr": 0.1, "status": "confident", "low": 0.05, "high": 0.2},
        {"task": "valley", "method": "good", "seed": 2, "lr": 0.01, "status": "uncertain", "low": 0.005, "high": 0.02},
        {"task": "valley", "method": "bold", "seed": 1, "lr": 0.01},
        {"task": "valley", "method": "bold", "seed": 2, "lr": None, "status": "refused"},
        {"task": "valley", "method": "trained", "seed": 1, "lr": 0.01, "final": 0.5, "updates": 400},
    ]
    lines = summary(rows, oracles).splitlines()
    assert lines[2] == "| trained | 0.0000 | 0.000 | 100% | 0% |  |  | 400 |"
    assert lines[3] == "| good | 0.1667 | 0.333 | 50% | 0% | 50% | 0.500 |  |"
    assert lines[4] == "| bold | 0.6667 | 1.000 | 0% | 50% |  |  |  |"
    assert per_task(rows, oracles).splitlines()[2] == "| valley | 0.667 | 0.167 | 0.000 |"
