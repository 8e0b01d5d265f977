"""Whatever the user hands over live comes back bit for bit, whatever it is and however the sweep ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.live_objects import EXITS, ends_in, generators, live_problems, step_that_ends
from helpers.pictures import picture
from helpers.problems import CPU
from helpers.processes import environment
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import Stop, SweepSettings
from lrfinder.task.problem import Problem


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(live=live_problems(), how=st.sampled_from(sorted(EXITS)), sweeps=st.integers(1, 2))
def test_every_live_object_comes_back_bit_for_bit(recorder, live, how, sweeps):
    model, optimizer, loader = live
    ends_in(how, model, loader)
    parts = (model, optimizer, loader.generator, loader.sampler.generator, vars(loader), vars(loader.sampler))
    before = (picture(parts, set())[1], generators())
    for _ in range(sweeps):
        observer = recorder()
        problem = Problem(
            name="p", model=model, optimizer=optimizer, train_loader=loader, training_step=step_that_ends(how)
        )
        sweep = SweepSettings(steps=12, repeats=2, min_lr=1e-6, max_lr=1e-3)
        if isinstance(EXITS[how], Stop):
            traces = run_sweep(problem, sweep, device=CPU, observer=observer)
            assert traces[-1].stop is EXITS[how] or (how == "diverged" and traces[0].stop is Stop.DIVERGED)
        else:
            with pytest.raises(EXITS[how]):
                run_sweep(problem, sweep, device=CPU, observer=observer)
            assert observer.traces[-1].stop is Stop.FAILED
        assert observer.traces[0].updates >= 6  # something did change in between
        assert (picture(parts, set())[1], generators()) == before


FRESH = """
import random
import numpy as np
import torch
from torch import nn

def state():
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()

net, x = nn.Linear(2, 1), torch.randn(8, 2)
before = state()
import lrfinder
result = lrfinder.sweep(net, train_loader=[(x, x[:, :1])], loss_fn=nn.MSELoss(), steps=9, repeats=1, progress=True)
lrfinder.recommend(result, steps=100)
result._repr_html_()
assert state() == before
"""


def test_the_very_first_call_draws_nothing_either() -> None:
    """Modules that are imported for it may: rich draws from Python's generator."""
    done = subprocess.run([sys.executable, "-c", FRESH], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
