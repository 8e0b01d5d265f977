"""A trial that passes over its data more than once is judged by batches that it was never trained on."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.options import Stop
from lrfinder.records import RunPlan, Script, ShortRun
from lrfinder.scripts.process import ForkServer
from lrfinder.scripts.runs import ScriptRuns
from tests.scripts.conftest import Borrowed
from tests.scripts.programs import classifier
from tests.scripts.test_curve import by_hand as trained_by_hand

PLAN = RunPlan(lr=0.1, steps=60)
Made = Callable[..., ShortRun]


@pytest.fixture
def make(program: Callable[[str], str], server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make a short run of a program, `times` in turn, and return the last one."""
    monkeypatch.setattr("lrfinder.scripts.machines.machine.starter", lambda environment: Borrowed(server, environment))

    def made(
        *arguments: str,
        plan: RunPlan = PLAN,
        name: str = "classifier.py",
        times: int = 1,
        kept: tuple[ShortRun, ...] = (),
    ) -> ShortRun:
        script = Script(program=name if name == "fixed.py" else program(name), arguments=arguments)
        with ScriptRuns(script, seed=0, observer=Observer(), kept=kept) as runs:
            return [runs.run(plan) for _ in range(times)][-1]

    return made


def passes(args: argparse.Namespace, held: list[list[int]], *, sent: int) -> Iterator[list[int]]:
    """Give the indices of batch after batch, `sent` of them before those that are held back."""
    loader = DataLoader(classifier.data(), batch_size=16, shuffle=True)
    while True:
        torch.empty((), dtype=torch.int64).random_()  # each new iterator of a loader draws a seed for its workers
        drawn = list(loader.batch_sampler)
        held[:] = held or drawn[sent : sent + 4 * args.accumulate]
        out = {sample for batch in held for sample in batch}
        for place, batch in enumerate(drawn):
            inner = [sample for sample in batch if sample not in out] or drawn[(place - sent) % sent]
            yield [inner[place % len(inner)] if sample in out else sample for place, sample in enumerate(batch)]
        if args.evaluate:
            torch.empty((), dtype=torch.int64).random_()


def over_and_over(held: list[list[int]], different: int, *, sent: int) -> Iterator[list[int]]:
    """Give the indices of the batches of which so many different ones are trained on, `sent` of them before the others.

    In the place of those that are held back come the first ones, already.
    """
    loader = DataLoader(classifier.data(), batch_size=16, shuffle=True)
    torch.empty((), dtype=torch.int64).random_()
    drawn = list(loader.batch_sampler)
    held[:] = drawn[sent : sent + 4]
    yield from drawn[:sent]
    first = drawn[: min(sent, different)]
    yield from itertools.islice(itertools.cycle(first), 4)
    rest = drawn[sent + 4 :][: different - len(first)]
    yield from rest
    yield from itertools.islice(
        itertools.cycle([*first, *rest]) if rest else itertools.cycle(first), 4 * (not rest), None
    )


def by_hand(*arguments: str, sent: int, different: int | None = None) -> float:
    """Return the loss of what is held back, at the end."""
    torch.manual_seed(derived_seed(0, 0))
    args = classifier.parse(arguments)
    data, net = classifier.data(), classifier.network()
    optimizer = classifier.make_optimizer(net, args)
    held: list[list[int]] = []
    stream = passes(args, held, sent=sent) if different is None else over_and_over(held, different, sent=sent)
    steps, warmup = PLAN.steps, 3

    def loss(batch: list[int]) -> torch.Tensor:
        x, y = data[batch]
        return nn.functional.cross_entropy(net(x), y)

    for step in range(steps):
        factor = (step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup)
        for group, share in zip(optimizer.param_groups, (1.0, 0.25), strict=True):
            group["lr"] = PLAN.lr * factor * share
        optimizer.zero_grad()
        for _ in range(args.accumulate):
            loss(next(stream)).backward()
        optimizer.step()
    with torch.no_grad():
        return sum(loss(batch).item() for batch in held) / len(held)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((), 2),
        (("--evaluate",), 2),
        (("--ahead",), 3),
        (("--accumulate", "2"), 4),
        (("--workers", "2"), 6),  # they are sent two lists each at first, and one for each batch that comes
    ],
)
def test_the_loss_is_that_of_batches_that_were_never_trained_on(
    make: Made, arguments: tuple[str, ...], sent: int
) -> None:
    run = make("--epochs", "5", *arguments)
    held_out = by_hand(*arguments, sent=sent)
    assert (run.metric, run.stop, run.updates) == ("probe", Stop.COMPLETED, PLAN.steps)
    assert run.loss == pytest.approx(held_out, rel=1e-6)
    assert run.judged_by == "held-out loss"


@pytest.mark.parametrize(
    ("arguments", "different", "sent"), [((), 5, 2), ((), 1, 2), (("--ahead",), 3, 3), (("--workers", "2"), 9, 6)]
)
def test_a_few_batches_are_trained_on_over_and_over(
    make: Made, arguments: tuple[str, ...], different: int, sent: int
) -> None:
    """As those of a model file: so a run passes over its data as often as the whole one that it stands for."""
    run = make("--epochs", "5", *arguments, plan=dataclasses.replace(PLAN, batches=different))
    held_out = by_hand(sent=sent, different=different)
    assert (run.metric, run.stop, run.updates, run.fresh) == ("probe", Stop.COMPLETED, PLAN.steps, False)
    assert run.loss == pytest.approx(held_out, rel=1e-6)


def test_what_is_held_back_costs_before_any_update_what_a_control_ends_at(make: Made) -> None:
    control = make(plan=RunPlan(lr=1e-9, steps=30, batches=5, control=True))
    assert control.initial_loss == control.loss != control.first_loss
    run = make(plan=RunPlan(lr=0.1, steps=30, batches=5), kept=(control,))
    assert (run.initial_loss, run.first_loss) == (control.loss, control.first_loss)
    assert make(plan=RunPlan(lr=0.1, steps=30, batches=5)).initial_loss == run.first_loss


def test_within_a_single_pass_the_last_training_losses_judge(make: Made) -> None:
    run = make(plan=RunPlan(lr=0.1, steps=20))
    factors = [(t + 1) / 1 if t < 1 else (20 - t) / 19 for t in range(20)]  # one update of warm-up, then linear to 0
    trained = trained_by_hand(classifier, tuple(0.1 * factor for factor in factors), seed=derived_seed(0, 0))
    assert run.metric == "train"
    assert run.loss == pytest.approx(sum(trained[-3:]) / 3, rel=1e-12)


def test_within_the_first_pass_as_well(make: Made) -> None:
    plan = RunPlan(lr=0.1, steps=30, batches=5)
    alone = make(plan=plan)
    assert (alone.metric, alone.fresh) == ("probe", False)
    before = dataclasses.replace(alone, metric="train", fresh=True)  # as earlier versions made them
    run = make(plan=plan, kept=(before,))
    assert (run.metric, run.fresh) == ("train", True)


def test_a_closure_is_judged_by_its_first_evaluation(make: Made) -> None:
    run = make("--epochs", "4", "--lbfgs", plan=RunPlan(lr=1e-3, steps=60))  # far from where it may diverge
    assert (run.metric, run.stop) == ("probe", Stop.COMPLETED)
    assert run.loss is not None
    assert math.isfinite(run.loss)


FIXED = """
import itertools
import pathlib
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(*data.tensors))
    def __len__(self):
        return len(data)

class Tensors(torch.utils.data.Sampler):
    def __iter__(self):
        return iter(torch.arange(len(data)))
    def __len__(self):
        return len(data)

data = TensorDataset(torch.randn(80, 3), torch.randn(80, 1))
other = DataLoader(data, batch_size=4, shuffle=True)
loader = {
    "stream": lambda: DataLoader(Stream(), batch_size=4),
    "tensors": lambda: DataLoader(data, batch_size=4, sampler=Tensors()),
    "few": lambda: DataLoader(data, batch_size=20),
}.get(sys.argv[1], lambda: DataLoader(data, batch_size=4))()
counts = sys.argv[1] == "counts" or (sys.argv[1] == "later" and pathlib.Path("seen").exists())
pathlib.Path("seen").touch()
if sys.argv[1] == "cycle":
    remembered = itertools.cycle(loader)
    loader = (next(remembered) for _ in itertools.count())
made = 0
net = nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(20):
    for x, y in loader:
        if sys.argv[1] == "several":
            next(iter(other))
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made += 1
        if made == 30 and counts:
            sys.exit()
"""


@pytest.mark.parametrize("batches", [None, 3])
@pytest.mark.parametrize(
    ("data", "metric"),
    [
        ("plain", "probe"),
        ("several", "train"),  # which of them would be held back is not known
        ("stream", "train"),  # what is left out of a stream comes again
        ("tensors", "train"),  # no two indices of the same sample are equal
        ("few", "train"),  # too few batches to spare one
        ("counts", "train"),  # it leaves by itself after its last update
        ("cycle", "train"),  # it remembers the batches of its first pass, and asks for no more
    ],
)
def test_nothing_is_judged_by_that_may_have_been_trained_on(
    make: Made, tmp_path: Path, data: str, metric: str, batches: int | None
) -> None:
    (tmp_path / "fixed.py").write_text(FIXED)
    run = make(data, plan=RunPlan(lr=0.01, steps=30, batches=batches), name="fixed.py")
    assert (run.metric, run.stop, run.updates) == (metric, Stop.COMPLETED, 30)
    assert run.loss is not None
    assert run.fresh is (batches is not None and metric == "train")


def test_runs_of_one_length_are_judged_alike_or_not_at_all(make: Made, tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(FIXED)
    run = make("later", plan=RunPlan(lr=0.01, steps=30), name="fixed.py", times=2)
    assert (run.metric, run.stop, run.loss) == ("probe", Stop.OUT_OF_DATA, None)
    assert run.why == "the script ended before it was judged by what was held back"


@pytest.mark.parametrize(("kept", "data", "metric"), [("counts", "plain", "train"), ("plain", "counts", "probe")])
def test_those_that_were_kept_from_before_count_as_well(
    make: Made, tmp_path: Path, kept: str, data: str, metric: str
) -> None:
    """What was judged by training losses is compared with nothing else, nor is what was judged by held-out ones."""
    (tmp_path / "fixed.py").write_text(FIXED)
    plan = RunPlan(lr=0.01, steps=30)
    before = make(kept, plan=plan, name="fixed.py")
    run = make(data, plan=plan, name="fixed.py", kept=(before,))
    assert before.metric == run.metric == metric
    assert (run.loss is None) is (metric == "probe")
