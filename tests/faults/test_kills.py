"""Six sweeps killed at random moments; `make kills` does two hundred, from real command lines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kills import Campaign
from helpers.zygote import Zygote

KINDS = (("auto", 0), ("continuous", 2))  # two of the six: each has an undisturbed sweep to compare with


def test_killed_sweeps_survive(zygote: Zygote, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, lambda folder, args: zygote.start(*args, cwd=folder), KINDS)
    for number in range(6):
        campaign.kill(number, seed=1)
    assert campaign.tally.survived == 6, campaign.tally.lines()
    assert campaign.tally.resumed > 1  # not all of them were killed before anything was measured
    assert max(campaign.tally.seconds) < 5  # the promise is 2 s; a loaded machine gets some more
