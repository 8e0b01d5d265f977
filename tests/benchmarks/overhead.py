"""What an update of lrfinder's sweep takes beyond that of a bare loop, both in one process: prints a table.

    python tests/benchmarks/overhead.py [--models tiny cnn] [--rounds 15]

The loops are those of `speed_tools.py`, on one thread, in turn; ours has the run folder and the progress. A processes'
memory layout and a machine's mood are the same for both then, so smaller differences show than in `speed.py`, which
compares whole processes. Updates are timed in eights, since every eighth one looks at the weights; medians of them, and
over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import itertools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import speed_models
import speed_tools
import torch

UPDATES = {"tiny": 800, "cnn": 48, "transformer": 80, "large": 16}
EIGHT = 8
WALL, PROCESSOR = 0, 1


def microseconds(sweep: Callable[[dict[str, Any], int, str], None], model: str, clock: int) -> float:
    """Return the median time of an update of one sweep."""
    speed_models.STARTS.clear()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sweep(getattr(speed_models, model)(), UPDATES[model], "cpu")
    starts = [start[clock] for start in speed_models.STARTS[: UPDATES[model]]][::EIGHT]
    return 1e6 / EIGHT * statistics.median(after - before for before, after in itertools.pairwise(starts))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=UPDATES, default=["tiny", "cnn", "transformer"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wall", action="store_true", help="by the clock on the wall, not by processor time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    gc.freeze()  # what torch has made is looked at by neither
    clock = WALL if given.wall else PROCESSOR
    print("| model | a bare loop's update, us | lrfinder adds, us | over bare |")
    print("| --- | --- | --- | --- |")
    for model in given.models:
        for sweep in (speed_tools.bare, speed_tools.lrfinder):
            microseconds(sweep, model, clock)  # imports, first calls
        pairs = []
        for number in range(given.rounds):
            tools = (speed_tools.bare, speed_tools.lrfinder)
            taken = {tool: microseconds(tool, model, clock) for tool in (tools if number % 2 else reversed(tools))}
            pairs.append((taken[speed_tools.bare], taken[speed_tools.lrfinder]))
        bare = statistics.median(pair[0] for pair in pairs)
        added = statistics.median(ours - own for own, ours in pairs)
        ratio = statistics.median(ours / own for own, ours in pairs)
        print(f"| {model} | {bare:.0f} | {added:.0f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
