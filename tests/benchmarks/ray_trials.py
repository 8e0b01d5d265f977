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
from lrfinder.api.training.trial import Trial, TrialSpec
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
    """Make a trial, and return the seconds and the processor time that it took."""
    began, worked = time.perf_counter(), time.process_time()
    outcome = ATTEMPT(spec, home)
    assert isinstance(outcome, Trial), outcome
    return Trial(made=(time.perf_counter() - began, time.process_time() - worked))


def gain(source: Source) -> list[tuple[float, float]]:
    """Return how many times as fast as one two workers make trials of equal work: by the clock, and without others.

    The clock says nothing on a machine that does other things, too. Without others, each worker gets a core: then two
    gain twice the share of the time in which they make trials, less what trials beside each other take more of the
    processor.
    """
    plans = [RunPlan(lr=1e-3 * (n + 1), steps=STEPS) for n in range(TRIALS)]
    rounds = []
    module._attempt = timed
    with RayTrials(source, seed=0, devices_per_trial=1) as trials:
        list(trials.run(plans[:4]))
        for _ in range(ROUNDS):
            began = time.perf_counter()
            alone = [trial.made for plan in plans for trial in trials.run([plan])]
            one_by_one = time.perf_counter() - began
            began = time.perf_counter()
            beside = [trial.made for trial in trials.run(plans)]
            both = time.perf_counter() - began
            busy = sum(seconds for seconds, _ in beside) / both
            rounds.append((one_by_one / both, busy * sum(work for _, work in alone) / sum(work for _, work in beside)))
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
            for ratio, free in gain(source):
                print(f"two workers over one: {ratio:.2f} by the clock, {free:.2f} without others")


if __name__ == "__main__":
    main()
