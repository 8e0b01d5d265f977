"""Where a command that makes 1,000 trials on a cluster saturates: its own scheduling, the writing of results, the data.

The scheduling and the store are the real ones; the cluster is pretended, with a clock of its own, on which the time
that our code really takes is added. So it needs no cluster. Ray's own time for a trial is given (`--ray-ms`, which
`make bench-ray` measures), and all of it is taken to keep this process busy.
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
import time
from pathlib import Path

from lrfinder.api.training.dispatch import Dispatcher, Node
from lrfinder.api.training.trial import Trial, TrialSpec
from lrfinder.records import RunPlan, ShortRun, Stop
from lrfinder.store import RunLog, Source

PER_NODE = 8  # devices of a node
SPREAD = 0.1  # relative standard deviation of how long trials last
BATCH_BYTES = {"32 x 784 float32": 32 * 784 * 4, "64 photos of 224 x 224": 64 * 3 * 224 * 224 * 4}


class Pretended:
    """A cluster whose trials take `seconds` each, by the time that goes by in between and what this process takes."""

    def __init__(self, devices: int, seconds: float, ray_s: float = 0.0, *, instant: bool = False) -> None:
        """With `instant`, neither our own code nor Ray takes any time."""
        count = -(-devices // PER_NODE)
        self._nodes = {str(n): Node(f"node {n}", min(PER_NODE, devices - n * PER_NODE)) for n in range(count)}
        self._seconds, self._ray_s = seconds, 0.0 if instant else ray_s
        self._draw = random.Random(0)  # noqa: S311 - durations of a simulation
        self._ends: list[tuple[float, int, TrialSpec]] = []
        self._waited = 0.0  # simulated seconds in which our code waited
        self._clock = (lambda: 0.0) if instant else time.perf_counter
        self._began = self._clock()

    def now(self) -> float:
        """The seconds since the beginning."""
        return self._clock() - self._began + self._waited

    def restart(self) -> None:
        """Begin now."""
        self._began = self._clock()

    def nodes(self) -> dict[str, Node]:
        """Return the nodes."""
        return dict(self._nodes)

    def start(self, number: int, spec: TrialSpec, node: str) -> None:
        """Draw how long it takes."""
        self._waited += self._ray_s
        seconds = max(0.1, self._draw.gauss(1.0, SPREAD)) * self._seconds
        heapq.heappush(self._ends, (self.now() + seconds, number, spec))

    def next_end(self, seconds: float) -> tuple[int, Trial] | None:
        """Move the clock to the next end, if that is not past already."""
        end, number, spec = self._ends[0]
        if end > self.now() + seconds:
            self._waited += seconds
            return None
        heapq.heappop(self._ends)
        self._waited += max(0.0, end - self.now())
        made = ShortRun(
            plan=spec.plan, seed=0, metric="val", initial_loss=1.0, loss=0.5, stop=Stop.COMPLETED, updates=99
        )
        return number, Trial(made=made)


def simulate(trials: int, devices: int, seconds: float, ray_s: float, folder: Path) -> tuple[float, float]:
    """Return how much longer all takes than if that took no time, and the seconds of our own code a trial."""
    specs = [
        TrialSpec(source=Source(reference="model.py"), seed=0, plan=RunPlan(lr=1e-6 * (n + 1), steps=99), threads=1)
        for n in range(trials)
    ]
    ideal, cluster = Pretended(devices, seconds, instant=True), Pretended(devices, seconds, ray_s)
    for _ in Dispatcher(ideal, clock=ideal.now).run(specs):
        pass
    cost = time.perf_counter()
    cluster.restart()
    with RunLog(folder / f"{devices}-{seconds}.jsonl") as log:
        for trial in Dispatcher(cluster, clock=cluster.now).run(specs):
            log.add(trial.made)
    cost = time.perf_counter() - cost
    return cluster.now() / ideal.now() - 1, cost / trials


def parts(trials: int, folder: Path) -> tuple[float, float]:
    """Return the seconds that scheduling and writing take a trial, each by itself, on 256 devices."""
    specs = [TrialSpec(source=Source(reference="model.py"), seed=0, plan=RunPlan(lr=1.0, steps=99), threads=1)] * trials
    cluster = Pretended(256, 60.0)
    began = time.perf_counter()
    made = [trial.made for trial in Dispatcher(cluster, clock=cluster.now).run(specs)]
    scheduled = time.perf_counter() - began
    began = time.perf_counter()
    with RunLog(folder / "parts.jsonl") as log:
        for run in made:
            log.add(run)
    return scheduled / trials, (time.perf_counter() - began) / trials


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--ray-ms", type=float, default=3.2, help="of Ray's for each trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        scheduling, writing = parts(given.trials, Path(place))
        print(f"scheduling {scheduling * 1e3:.2f} ms a trial, writing its result {writing * 1e3:.2f} ms (with fsync)")
        limit = 1 / (scheduling + writing + given.ray_ms / 1e3)
        print(f"at most {limit:.0f} trials a second: as many devices as that times the seconds of a trial")
        print("\n| seconds a trial | devices | all takes longer by | this process, ms a trial |")
        print("| --- | --- | --- | --- |")
        for seconds in (1.0, 10.0, 60.0, 600.0):
            for devices in (64, 256, 1_024):
                longer, cost = simulate(given.trials, devices, seconds, given.ray_ms / 1e3, Path(place))
                print(f"| {seconds:g} | {devices} | {longer:.1%} | {cost * 1e3:.2f} |")
    print("\nData read by 256 and by 1,024 devices at 20 updates a second each:")
    for name, size in BATCH_BYTES.items():
        print(f"- {name}: {256 * 20 * size / 1e9:.1f} and {1024 * 20 * size / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
