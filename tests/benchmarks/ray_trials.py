"""What Ray adds to a trial once it has started, and what a second worker gains, on an instance on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import lrfinder.api.training.ray_cluster as module
from lrfinder.api.training.dispatch import Dispatcher
from lrfinder.api.training.home import Home
from lrfinder.api.training.ray_cluster import RayCluster, RayTrials
from lrfinder.api.training.run_trial import Trial, TrialSpec
from lrfinder.records import RunPlan
from lrfinder.store import Source

MODEL = """
import torch
from torch import nn
torch.manual_seed(0)
DATA = [(torch.randn(256, 256), torch.randint(10, (256,))) for _ in range(16)]
model = lambda: nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
train_loader = lambda: DATA
loss_fn = nn.functional.cross_entropy
"""
ROUNDS = 3
TRIALS = 6
STEPS = 80
ATTEMPT = module._attempt


def nothing(spec: TrialSpec, home: Home) -> Trial:
    """Take the place of a trial."""
    return Trial(made=spec)


def scheduling(source: Source) -> list[float]:
    """Return the milliseconds from the start of a trial that does nothing to its result here, one trial at a time."""
    trial, module._attempt = module._attempt, nothing
    try:
        cluster = RayCluster(Home.here(source), source, 1)
    finally:
        module._attempt = trial
    dispatcher = Dispatcher(cluster)
    specs = [TrialSpec(source=source, seed=0, plan=RunPlan(lr=1.0, steps=1), threads=1)]
    list(dispatcher.run(specs * 8))  # Ray's processes start
    times = []
    for _ in range(100):
        began = time.perf_counter()
        list(dispatcher.run(specs))
        times.append((time.perf_counter() - began) * 1e3)
    return times


def timed(spec: TrialSpec, home: Home) -> Trial:
    """Make a trial, and return the seconds that it took."""
    began = time.perf_counter()
    outcome = ATTEMPT(spec, home)
    assert isinstance(outcome, Trial), outcome
    return Trial(made=time.perf_counter() - began)


def gain(source: Source) -> list[tuple[float, float]]:
    """Return how many times as fast two workers make trials of equal work as one does, and how busy the two were.

    On a machine that does other things, too, only the second says something of Ray: the share of the two workers' time
    in which they made trials.
    """
    plans = [RunPlan(lr=1e-3 * (n + 1), steps=STEPS) for n in range(TRIALS)]
    rounds = []
    module._attempt = timed
    with RayTrials(source, seed=0, devices_per_trial=1) as trials:
        list(trials.run(plans[:4]))
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for plan in plans:
                list(trials.run([plan]))
            one_by_one = time.perf_counter() - began
            began = time.perf_counter()
            busy = sum(trial.made for trial in trials.run(plans))
            both = time.perf_counter() - began
            rounds.append((one_by_one / both, busy / (2 * both)))
    return rounds


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "model.py"
        file.write_text(MODEL)
        source = Source(reference=str(file), device="cpu")
        with module._joined("local"):
            times = scheduling(source)
            print(f"scheduling: {statistics.median(times):.1f} ms a trial, at most {max(times):.1f} of {len(times)}")
            for ratio, busy in gain(source):
                print(f"two workers over one: {ratio:.2f}; they make trials {busy:.0%} of their time")


if __name__ == "__main__":
    main()
