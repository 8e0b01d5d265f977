"""How fast lrfinder's sweep is beside a bare loop and its peers': prints the tables that the README shows.

    python tests/benchmarks/speed.py [--models tiny large] [--workers 0] [--rounds 9] [--device cuda]

Every sweep is a process of its own, with the same model, data, seed, number of threads and updates. The tools take
turns in every round, and what is compared are ratios within a round, of which the median counts: so a machine that is
busy for a while spoils a round, not a result. On one that is always busy read the processor time of the main process.
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


def run(command: Sequence[object], *, workers: int, accepted: Sequence[int] = (0,)) -> Ran:
    """Run a process on one thread and wait for it."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "SPEED_WORKERS": str(workers)}
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


def timed_sweep(tool: str, model: str, *, updates: int, workers: int, device: str) -> Ran:
    """One sweep by one tool."""
    command = [sys.executable, HERE / "speed_tools.py", tool, model, "--updates", updates, "--device", device]
    return run(command, workers=workers)


def to_a_config(options: Sequence[str], model: str, *, workers: int, device: str) -> tuple[float, int]:
    """`lrfinder sweep` and `recommend` as people run them: seconds of both together, and updates."""
    cli = [sys.executable, "-m", "lrfinder"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        source = f"{HERE / 'speed_models.py'}:{model}"
        swept = run(
            [*cli, "sweep", source, *options, "--device", device, "--out", out, "--quiet", "--json"], workers=workers
        )
        advised = run([*cli, "recommend", out, "--steps", "1000"], workers=workers, accepted=(0, 5))
        return swept.wall_s + advised.wall_s, int(swept.said["updates"])


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def compare_loops(given: argparse.Namespace) -> list[str]:
    """Time the loops, and return the table."""
    lines = [
        "| model | loader's workers | tool | ms per update | over bare | processor ms | over bare | MB | device MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
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
                device_mb = rows[tool][0].said["device_mb"]
                cells += [f"{median([ran.rss_mb for ran in rows[tool]]):.0f}"]
                cells += ["" if device_mb is None else f"{device_mb:.0f}"]
                lines.append(f"| {model} | {workers} | {tool} | {' | '.join(cells)} |")
    return lines


def compare_whole(given: argparse.Namespace) -> list[str]:
    """Time whole processes from the shell to a written config (ours) or a suggestion (the peers'); return the table."""
    lines = [
        "| model | tool | seconds, whole process | over the fastest peer | updates |",
        "| --- | --- | --- | --- | --- |",
    ]
    peers = [tool for tool in given.tools if tool in PEERS]
    for model in given.models:
        seconds: dict[str, list[float]] = {name: [] for name in (*TO_CONFIG, *peers)}
        updates = dict.fromkeys(peers, DEFAULT_UPDATES)
        for number in range(given.rounds):
            for name, options in TO_CONFIG.items():
                took, updates[name] = to_a_config(options, model, workers=given.workers[0], device=given.device)
                seconds[name].append(took)
            for tool in peers:
                ran = timed_sweep(tool, model, updates=DEFAULT_UPDATES, workers=given.workers[0], device=given.device)
                seconds[tool].append(ran.wall_s)
            print(f"{model}, whole processes, round {number + 1}", file=sys.stderr)
        best = min(peers, key=lambda tool: median(seconds[tool]), default=None)
        for name, took in seconds.items():
            over = "" if best is None else f"{median([a / b for a, b in zip(took, seconds[best], strict=True)]):.2f}"
            lines.append(f"| {model} | {name} | {median(took):.2f} | {over} | {updates[name]} |")
    return lines


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
    if given.only != "whole":
        print("\n".join(compare_loops(given)), flush=True)
        print()
    if given.only != "loop":
        print("\n".join(compare_whole(given)), flush=True)


if __name__ == "__main__":
    main()
