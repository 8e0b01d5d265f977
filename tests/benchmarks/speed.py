"""How fast lrfinder's sweep is beside a bare loop and its peers': prints the tables that the README shows.

    python tests/benchmarks/speed.py [--models tiny large] [--workers 0] [--rounds 9] [--device cuda]

Every sweep is a process of its own, with the same model, data, seed, number of threads and updates. The tools take
turns in every round, and what is compared are ratios within a round, of which the median counts: so a machine that is
busy for a while spoils a round, not a result. On one that is always busy read the processor time of the main process.

With `--device cuda` the first line names the card and torch's version. The bare loop never waits for the device; an
update's time is the device's own, between events at the beginning of forward passes, once the first tenth has warmed
up; GPU MB is the peak that torch allocated. `--workers 2` pins no memory: the loaders are the same for all tools.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MODELS = {"tiny": 400, "cnn": 100, "transformer": 100, "large": 20}  # and the updates of a timed sweep: 1 to 5 s each
TOOLS = ("bare", "lrfinder", "torch-lr-finder", "fastai", "lightning", "ignite")
BARE, OURS, PEERS = TOOLS[0], TOOLS[1], TOOLS[2:]
DEFAULT_UPDATES = 100  # of every peer's sweep, and of one of our repeats
# Standard deviation of a rule's pick between seeds, in decades: `make bench`, thirteen tasks and five seeds, the table
# in the README. fastai's is that of `valley`, its default.
SCATTER = {"lrfinder": 0.06, "torch-lr-finder": 0.26, "fastai": 0.17, "lightning": 0.51, "ignite": 0.17}
# To a config: as many updates as a peer makes, and what the command does by itself (two repeats and three short runs).
TO_CONFIG = {
    "lrfinder, one repeat": ("--mode", "continuous", "--repeats", "1", "--steps", str(DEFAULT_UPDATES)),
    "lrfinder, by default": (),
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What one process took: wall and processor seconds, its peak memory in MB, and what it printed."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    said: dict[str, Any] = field(default_factory=dict)


def sweeps_for_our_precision(tool: str) -> int:
    """Return how many sweeps of a peer's scatter as little as ours: n = (its scatter / ours)^2.

    The mean of n independent log10(rates), and nearly their median, scatters by 1/sqrt(n) of one. Nothing of this
    mends where a rule is off on the average.
    """
    return max(1, round((SCATTER[tool] / SCATTER[OURS]) ** 2))


def run(command: Sequence[object], *, workers: int, accepted: Sequence[int] = (0,)) -> Ran:
    """Run a process on one thread and wait for it."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "SPEED_WORKERS": str(workers)}
    env.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # else our modules are compiled in each process, the installed peers' never
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode not in accepted:
            raise SystemExit(f"{' '.join(map(str, command))}: exit {process.returncode}\n{err.read()[-2000:]}")
        text = out.read()
    said = json.loads(text) if text.startswith("{") else {}
    return Ran(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said)


def timed_sweep(tool: str, model: str, *, updates: int, workers: int, device: str, sweeps: int = 1) -> Ran:
    """One sweep by one tool, or several in the same process."""
    command = [sys.executable, HERE / "speed_tools.py", tool, model, "--updates", updates, "--device", device]
    return run([*command, "--sweeps", sweeps], workers=workers)


def to_a_config(options: Sequence[str], model: str, *, workers: int, device: str) -> Ran:
    """`lrfinder sweep` and `recommend` as people run them, both together."""
    cli = [sys.executable, "-m", "lrfinder"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        source = f"{HERE / 'speed_models.py'}:{model}"
        swept = run(
            [*cli, "sweep", source, *options, "--device", device, "--out", out, "--quiet", "--json"], workers=workers
        )
        advised = run([*cli, "recommend", out, "--steps", "1000"], workers=workers, accepted=(0, 5))
        both = swept.wall_s + advised.wall_s, swept.cpu_s + advised.cpu_s, max(swept.rss_mb, advised.rss_mb)
        return Ran(*both, said={"updates": swept.said["updates"]})


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def compare_loops(given: argparse.Namespace) -> list[str]:
    """Time the loops, and return the table."""
    lines = [
        "| model | workers | tool | ms per update | over bare | processor ms | over bare | MB | GPU MB | over bare |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    tools = [BARE, *(tool for tool in given.tools if tool != BARE)]
    for model in given.models:
        updates = given.updates or MODELS[model]
        for workers in given.workers:
            rows: dict[str, list[Ran]] = {tool: [] for tool in tools}
            for number in range(given.rounds):
                # Forwards and backwards in turn: whoever is always first would always find the machine the same.
                for tool in tools if number % 2 == 0 else reversed(tools):
                    rows[tool].append(timed_sweep(tool, model, updates=updates, workers=workers, device=given.device))
                    print(f"{model}, {workers} workers, round {number + 1}: {tool}", file=sys.stderr)
            # A GPU's updates overlap with the next forward call: only their mean tells. A CPU's median is steadier.
            key = "mean_s" if given.device.startswith("cuda") else "median_s"
            for tool in tools:
                assert all(ran.said["updates"] == updates for ran in rows[tool]), f"{tool} stopped early"
                cells = []
                for clock in (key, "processor_s"):
                    pairs = zip(rows[tool], rows[BARE], strict=True)
                    ratio = median([ours.said[clock] / bare.said[clock] for ours, bare in pairs])
                    cells += [f"{1e3 * median([ran.said[clock] for ran in rows[tool]]):.3f}", f"{ratio:.3f}"]
                device_mb, bare_mb = (rows[name][0].said["device_mb"] for name in (tool, BARE))
                cells += [f"{median([ran.rss_mb for ran in rows[tool]]):.0f}"]
                cells += ["", ""] if device_mb is None else [f"{device_mb:.1f}", f"{device_mb / bare_mb:.3f}"]
                lines.append(f"| {model} | {workers} | {tool} | {' | '.join(cells)} |")
    return lines


def compare_whole(given: argparse.Namespace) -> list[str]:
    """Time whole processes from the shell to a written config (ours) or a suggestion (the peers'); return the table.

    Each peer once with one sweep, and once with as many as its pick needs to scatter no more than ours.
    """
    lines = [
        "| model | tool | its sweeps | updates | seconds, whole process | ours over it | processor s | ours over it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    peers = [(tool, n) for tool in given.tools if tool in PEERS for n in (1, sweeps_for_our_precision(tool))]
    ours = (list(TO_CONFIG)[-1], 1)
    workers, device = given.workers[0], given.device
    for model in given.models:
        rows: dict[tuple[str, int], list[Ran]] = {(name, 1): [] for name in TO_CONFIG} | {peer: [] for peer in peers}
        for number in range(given.rounds):
            for name, options in TO_CONFIG.items():
                rows[name, 1].append(to_a_config(options, model, workers=workers, device=device))
            for tool, sweeps in peers:
                many = {"updates": DEFAULT_UPDATES, "sweeps": sweeps}
                rows[tool, sweeps].append(timed_sweep(tool, model, workers=workers, device=device, **many))
            print(f"{model}, whole processes, round {number + 1}", file=sys.stderr)
        for (name, sweeps), ran in rows.items():
            pairs = list(zip(rows[ours], ran, strict=True))
            cells = [model, name, str(sweeps), str(ran[0].said["updates"])]
            cells += [f"{median([one.wall_s for one in ran]):.2f}"]
            cells += [f"{median([own.wall_s / other.wall_s for own, other in pairs]):.2f}"]
            cells += [f"{median([one.cpu_s for one in ran]):.2f}"]
            cells += [f"{median([own.cpu_s / other.cpu_s for own, other in pairs]):.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def card(device: str) -> str:
    """Return the card's name and torch's version; leave with a message where there is no such device."""
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(f"--device {device}: torch {torch.__version__} finds no CUDA device here; leave --device out")
    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, help="of a timed sweep [default: what takes about a second]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["loop", "whole"])
    given = parser.parse_args()
    if given.device.startswith("cuda"):
        print(card(given.device), end="\n\n", flush=True)
    if given.only != "whole":
        print("\n".join(compare_loops(given)), flush=True)
        print()
    if given.only != "loop":
        print("\n".join(compare_whole(given)), flush=True)


if __name__ == "__main__":
    main()
