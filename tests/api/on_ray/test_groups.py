"""Trials of several processes each, as tasks on Ray; what such a trial is: `tests/api/test_group.py`."""

from __future__ import annotations

import os

import pytest

import lrfinder
from lrfinder.api.training.group import run_together
from lrfinder.api.training.trial import Repeat, TrialSpec
from lrfinder.records import SweepSettings
from lrfinder.store import Source


@pytest.mark.skipif(not os.environ.get("LRFINDER_EVERY_FAULT"), reason="`make test-ray` takes a minute for it")
def test_a_trial_of_two_processes_is_the_same_on_ray_though_one_was_killed_at_first(cluster, folder):
    settings = SweepSettings(steps=20, repeats=1)
    source = Source(reference=str(folder / "model.py"), device="cpu")
    plan = Repeat(settings=settings, number=0)
    expected = run_together(TrialSpec(source=source, seed=0, plan=plan, threads=1, processes=2), 2).made
    wide = cluster.add_node(num_cpus=2, env_vars={"NODE": "wide"})
    try:
        (folder / "killed").touch()
        swept = lrfinder.sweep(
            folder / "model.py", on="ray", nproc=2, device="cpu", steps=20, repeats=1, mode="continuous"
        )
    finally:
        cluster.remove_node(wide)
    assert not (folder / "killed").exists()
    assert swept.traces == (expected,)
    assert swept.setup.processes == 2
