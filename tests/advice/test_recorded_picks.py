"""Recorded sweeps give the picks that commit cf7e524 gave (`recommend --steps 400 --json`), digit for digit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.advice import advice_on
from lrfinder.advice import Request
from lrfinder.store import load_run

DATA = Path(__file__).parents[1] / "data"
RECORDED = json.loads((DATA / "picks.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RECORDED)
def test_the_picks_of_a_recorded_sweep_stay(name: str) -> None:
    picks = advice_on(load_run(DATA / name), Request(steps=400)).picks
    ours = [(pick.rule, pick.lr, pick.low, pick.high, pick.status.value) for pick in picks]
    # Another processor rounds the last digits of the fit's sums in another way.
    for mine, theirs in zip(ours, RECORDED[name], strict=True):
        assert (mine[0], mine[4]) == (theirs["rule"], theirs["status"])
        assert mine[1:4] == pytest.approx((theirs["lr"], theirs["low"], theirs["high"]), rel=1e-12)
