"""How lrfinder's own cost grows: with parameters, updates, param groups, repeats and short runs.

    python tests/benchmarks/growth.py [--only parameters updates ...] [--large] [--picture lrfinder-runs/growth.png]

Each table has the cost in processor time (a busy machine tells nearly the same as a quiet one; the median of a few
times), and the local exponent log(cost ratio) / log(size ratio) from row to row: 1 is linear, 2 would be quadratic.
The picture has a panel for each table, both axes logarithmic, with a line of exponent 1.
`--large` goes to 100 million parameters (4 GB of memory).
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.measure import measure
from lrfinder.engine.restore.reachable import reachable_state
from lrfinder.engine.restore.snapshot import Snapshot
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.records import Mode, OptimizerFacts, RunPlan, Setup, ShortRun, Stop, SweepResult, SweepSettings, Trace
from lrfinder.task.problem import Problem

TIMES = 3  # of which the median counts
Cost = tuple[float, float | None]  # seconds, and MB where they are told


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of `work`, the median of TIMES."""
    took = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)


def with_parameters(count: int) -> Cost:
    """Keep and put back a live model of so many parameters with Adam's state."""
    side = math.isqrt(count)
    model = nn.Linear(side, side, bias=False)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, side)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    problem = Problem(name="p", model=model, optimizer=optimizer)
    return processor_seconds(lambda: Snapshot(reachable_state(problem)).rewind()), 3 * 4 * side**2 / 1e6


class One(nn.Module):
    """As little as can be trained: what is left of an update is overhead."""

    def __init__(self, count: int = 1) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.zeros(1) for _ in range(count))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return a loss that depends on every weight."""
        return (torch.cat(tuple(self.weights)) - batch).square().mean()


BATCHES = [torch.ones(1)]


def groups(params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Return an optimizer with a group for each parameter."""
    return torch.optim.SGD([{"params": [weight], "lr": lr} for weight in params], lr=lr)


def made_up(count: int = 1) -> Problem:
    """Return a problem of `count` param groups."""
    return Problem(
        name="p", model=lambda: One(count), train_loader=BATCHES, training_step=lambda m, b: m(b), optimizer=groups
    )


def bare_updates(rates: tuple[float, ...], count: int = 1) -> None:
    """Build the model of `made_up` and train it, as no loop could do with less."""
    model = One(count)
    optimizer = groups(list(model.parameters()), 1e-3)
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(BATCHES[0])
        loss.backward()
        optimizer.step()
        loss.item()


def difference(ours: Callable[[], object], bare: Callable[[], object]) -> float:
    """Return the processor seconds of `ours`, less those of `bare`."""

    def once(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    once(ours), once(bare)
    # A difference of two large numbers: the least of each, which nothing else has lengthened.
    times = [(once(ours), once(bare)) for _ in range(TIMES)]
    return max(min(time for time, _ in times) - min(time for _, time in times), 1e-6)


def overhead(settings: SweepSettings, count: int = 1) -> float:
    """Return the processor seconds of a sweep of `count` param groups, less those of a bare loop's updates."""

    def bare() -> None:
        for _ in range(settings.repeats):
            bare_updates(settings.lrs(), count)

    return difference(lambda: measure(made_up(count), settings, device="cpu"), bare)


def with_updates(count: int) -> Cost:
    """Sweep so many updates in one repeat."""
    settings = SweepSettings(min_lr=1e-9, max_lr=1e-6, steps=count, repeats=1, mode=Mode.CONTINUOUS)
    return overhead(settings), None


def with_groups(count: int) -> Cost:
    """Sweep 100 updates of so many param groups."""
    settings = SweepSettings(min_lr=1e-9, max_lr=1e-6, steps=100, repeats=1, mode=Mode.CONTINUOUS)
    return overhead(settings, count), None


def with_repeats(count: int) -> Cost:
    """Sweep 100 updates so many times."""
    settings = SweepSettings(min_lr=1e-9, max_lr=1e-6, steps=100, repeats=count, mode=Mode.CONTINUOUS)
    return overhead(settings), None


def with_trials(count: int) -> Cost:
    """Make so many short runs of 50 updates."""
    plans = [RunPlan(lr=1e-9 * (1 + number), steps=50) for number in range(count)]

    def ours() -> None:
        with ShortRuns(made_up(), seed=0, device=torch.device("cpu"), observer=Broadcast(())) as runs:
            for plan in plans:
                runs.run(plan)

    def bare() -> None:
        for plan in plans:
            bare_updates((plan.lr,) * plan.steps)

    return difference(ours, bare), None


def loss_at(x: float) -> float:
    """A fall at 10^-2.5 and a rise at 1."""
    return 2.3 - 2 / (1 + math.exp(-4 * (x + 2.5))) + 10 ** (2 * x)


def swept(steps: int, repeats: int, runs: int) -> SweepResult:
    """A sweep of a known curve, with noise that looks like one."""
    settings = SweepSettings(min_lr=1e-6, max_lr=1.0, steps=steps, repeats=repeats)
    noise = itertools.cycle(math.sin(17 * i) / 5 for i in range(9973))
    traces = tuple(
        Trace(
            repeat=repeat,
            seed=0,
            initial_loss=2.3,
            lrs=settings.lrs(),
            losses=tuple(loss_at(math.log10(lr)) + next(noise) for lr in settings.lrs()),
            stop=Stop.COMPLETED,
            updates=steps,
        )
        for repeat in range(repeats)
    )
    facts = OptimizerFacts(name="AdamW", settings={"weight_decay": 0.01})
    setup = Setup(
        model="made up",
        parameters=1,
        loss="loss_fn",
        optimizer=facts,
        batch_size=32,
        batches_per_epoch=10,
        device="cpu",
        torch="2.13.0",
        python="3.11",
        lrfinder="0",
    )
    made = tuple(
        ShortRun(
            plan=RunPlan(lr=10**x, steps=50),
            seed=0,
            metric="val",
            initial_loss=2.3,
            loss=loss_at(x),
            stop=Stop.COMPLETED,
            updates=50,
        )
        for x in (-6 + 6 * index / max(runs, 1) for index in range(runs))
    )
    return SweepResult(settings=settings, setup=setup, traces=traces, runs=made)


def advising(result: SweepResult) -> Cost:
    """Fit and recommend; the memory is the most that Python and NumPy had at once, on top of the sweep's own."""
    work = lambda: advise(gather_evidence(result), Request(steps=1000))  # noqa: E731
    seconds = processor_seconds(work)
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds, peak / 1e6


TABLES: dict[str, tuple[str, tuple[int, ...], Callable[[int], Cost]]] = {
    "parameters": ("snapshot and restore, Adam", (10**3, 10**4, 10**5, 10**6, 10**7), with_parameters),
    "updates": ("the sweep's overhead", (10**2, 10**3, 10**4, 10**5), with_updates),
    "param groups": ("the overhead of 100 updates", (1, 10, 100, 1000), with_groups),
    "repeats": ("the overhead of 100 updates each", (1, 4, 16, 64), with_repeats),
    "trials": ("the overhead of short runs of 50 updates", (1, 4, 16, 64), with_trials),
    "updates to fit": (
        "fit and recommend",
        (10**2, 10**3, 10**4, 10**5),
        lambda n: advising(swept(n // 2, 2, 0)),
    ),
    "repeats to fit": ("fit and recommend, 100 updates each", (2, 8, 32, 128), lambda n: advising(swept(100, n, 0))),
    "short runs": ("recommend", (10, 100, 1000), lambda n: advising(swept(100, 2, n))),
}


Measured = list[tuple[int, float, float | None]]  # size, seconds, MB


def measured(sizes: tuple[int, ...], cost: Callable[[int], Cost]) -> Iterator[tuple[int, float, float | None]]:
    """Measure each size."""
    for size in sizes:
        yield size, *cost(size)


def line(row: tuple[int, float, float | None], before: Measured) -> str:
    """Return a size's line, with the exponent from the one before."""
    size, seconds, megabytes = row
    exponent = f"{math.log(seconds / before[-1][1]) / math.log(size / before[-1][0]):.2f}" if before else ""
    memory = "" if megabytes is None else f"{megabytes:.1f}"
    return f"| {size:,} | {1e3 * seconds:.2f} | {exponent} | {memory} |"


def draw(tables: Mapping[str, Measured], path: Path) -> None:
    """Draw a panel for each table."""
    from matplotlib.figure import Figure

    columns = 4
    lines = math.ceil(len(tables) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, (name, rows) in itertools.zip_longest(panels, tables.items(), fillvalue=("", [])):
        if not rows:
            axes.set_axis_off()
            continue
        sizes, costs = [row[0] for row in rows], [1e3 * row[1] for row in rows]
        axes.loglog(sizes, [costs[-1] * size / sizes[-1] for size in sizes], color="0.75", lw=1)  # exponent 1
        axes.loglog(sizes, costs, marker="o", ms=4)
        axes.set_title(TABLES[name][0], fontsize=9)
        axes.set_xlabel(name, fontsize=9)
        axes.set_ylabel("ms", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, color="0.92")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print the tables, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--large", action="store_true", help="also 100 million parameters")
    parser.add_argument("--picture", type=Path, default=Path("lrfinder-runs/growth.png"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables: dict[str, Measured] = {}
    for name in given.only:
        what, sizes, cost = TABLES[name]
        sizes = (*sizes, 10**8) if given.large and name == "parameters" else sizes
        print(f"| {name} | {what}, ms | local exponent | MB |", "| --- | --- | --- | --- |", sep="\n")
        tables[name] = []
        for row in measured(sizes, cost):
            print(line(row, tables[name]), flush=True)
            tables[name].append(row)
        print()
    draw(tables, given.picture)
    print(f"The picture: {given.picture}")


if __name__ == "__main__":
    main()
