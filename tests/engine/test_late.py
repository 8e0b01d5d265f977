"""Losses that are read late: the traces are those of the loop that waits for each, however the sweep ends."""

from __future__ import annotations

import dataclasses
import itertools
import math
import signal
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrfinder.engine.loop
import lrfinder.engine.preparation
import lrfinder.engine.short_runs
import lrfinder.engine.sweep
from helpers.problems import CPU
from lrfinder.engine.losses.log import LossLog, StoppingRule
from lrfinder.engine.losses.readback import CHUNK, DelayedReadback, max_batching_delay_s, reason_to_wait
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem, SweptOptimizer

CUDA = torch.device("cuda")
STEPS = 23
CHUNKS = (1, 2, CHUNK, 8)
SETTINGS = SweepSettings(steps=STEPS, repeats=2, min_lr=1e-4, max_lr=1e-2)


class Net(nn.Module):
    """Layers with statistics and draws; `events` happen at the training calls that they are for, counted from 0."""

    def __init__(self, events):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 1))
        self.spare = nn.Parameter(torch.ones(()))
        self.events = events
        self.calls = 0

    def forward(self, x):
        event = self.events.get(self.calls) if torch.is_grad_enabled() else None
        self.calls += torch.is_grad_enabled()
        loss = self.layers(x).square().mean()
        if event is None:
            return loss
        if event == "spare":  # its gradient is NaN, and no loss shows it
            return loss + 0 * (self.spare - 1).sqrt()
        if isinstance(event, float):
            return loss * event
        return event() or loss


def raising(error):
    def raise_it():
        raise error

    return raise_it


class Once:
    """A loader with one start that isn't an iterator."""

    def __init__(self, count):
        self.batches = iter([batch(i) for i in range(count)])

    def __iter__(self):
        return self.batches


def batch(number):
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(number))


def problem(events, **changes):
    given_ = {
        "name": "late",
        "model": lambda: Net(events),
        "train_loader": lambda: [batch(i) for i in range(7)],
        "training_step": lambda model, x: model(x),
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    }
    return Problem(**(given_ | changes))


def swept(monkeypatch, recorder, readout, make, given_=SETTINGS, gathered=0.0):
    """What a sweep tells, with losses that are read by `readout()`, or gathered for so many seconds."""
    observer, failure = recorder(), None
    with monkeypatch.context() as patch:
        patch.setattr(lrfinder.engine.preparation, "readback_for", lambda *_: readout())
        patch.setattr(lrfinder.engine.sweep, "max_batching_delay_s", lambda *_: gathered)
        try:
            assert run_sweep(make(), given_, device=CPU, observer=observer) == tuple(observer.traces) or any(
                math.isnan(loss) for trace in observer.traces for loss in trace.losses
            )
        except (ValueError, EnvironmentFailure) as error:
            failure = (type(error), str(error))
    return [seen(trace) for trace in observer.traces], observer.calls, failure


def seen(trace):
    """A trace as it is told, but for where a NaN came from, which the late loop can't see; NaN equals NaN."""
    values = dataclasses.asdict(trace)
    if trace.stop is Stop.NON_FINITE:
        values["why"] = trace.why.partition(":")[0]
    return repr(values)


def same(monkeypatch, recorder, make, given_=SETTINGS):
    """Assert that sweeps of `make()` tell the same for every chunk, and gathered, and return the traces."""
    expected = swept(monkeypatch, recorder, lambda: None, make, given_)
    assert swept(monkeypatch, recorder, lambda: None, make, given_, gathered=math.inf) == expected
    for chunk in CHUNKS:
        late = swept(
            monkeypatch, recorder, lambda n=chunk: DelayedReadback(CPU, chunk=n, max_delay_s=math.inf), make, given_
        )
        assert late == expected, chunk
    return expected


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=15, deadline=None)
@given(
    at=st.integers(0, STEPS + 1),
    what=st.sampled_from([math.nan, math.inf, "spare", 1e6, "error", "memory", "ctrl-c"]),
    later=st.integers(1, 9),
)
def test_every_ending_at_every_place(patched, recorder, at, what, later):
    """An event of one kind, and an error some calls after it, which the waiting loop may never come to."""
    actions = {
        "error": raising(ValueError("mine")),
        "memory": raising(MemoryError("not enough memory")),
        "ctrl-c": lambda: signal.raise_signal(signal.SIGINT),
    }
    events = {at + later: raising(ValueError("after the end")), at: actions.get(what, what)}
    traces, _, _ = same(patched, recorder, lambda: problem(events))
    assert traces


def test_finished_diverged_and_silent(monkeypatch, recorder):
    traces, calls, _ = same(monkeypatch, recorder, lambda: problem({}))
    assert all("COMPLETED" in trace for trace in traces)
    assert calls.count("prepared") == 1
    rising = {call: 1.5 ** (call - 8) for call in range(8, 60)}
    traces, _, _ = same(monkeypatch, recorder, lambda: problem(rising))
    assert all("DIVERGED" in trace for trace in traces)
    traces, _, _ = same(monkeypatch, recorder, lambda: problem({4: "spare"}))
    assert all("NON_FINITE" in trace and "the loss is still" in trace for trace in traces)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 9, STEPS, STEPS + 1])
def test_out_of_data(monkeypatch, recorder, count):
    def make():
        once = Once(count)
        return problem({}, train_loader=lambda: once)

    once = dataclasses.replace(SETTINGS, repeats=1)
    if count:
        same(monkeypatch, recorder, make, once)
    if count > 1:  # a NaN shortly before: the waiting loop never comes to the end of the data
        nan = {count - 2: math.nan}
        (trace,), _, _ = same(monkeypatch, recorder, lambda: dataclasses.replace(make(), model=lambda: Net(nan)), once)
        assert "NON_FINITE" in trace


@pytest.mark.parametrize("seconds", [1, 2, 3, 5, 9, 14])
def test_out_of_time(monkeypatch, recorder, seconds):
    """By a clock that advances by a second with each update."""

    def make():
        ticks = itertools.count()
        monkeypatch.setattr(lrfinder.engine.sweep, "time", SimpleNamespace(monotonic=lambda: 0.0))
        monkeypatch.setattr(lrfinder.engine.loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
        return problem({6: math.nan})

    traces, _, _ = same(monkeypatch, recorder, make, dataclasses.replace(SETTINGS, repeats=1, max_seconds=seconds))
    assert ("OUT_OF_TIME" in traces[0]) == (seconds < 6)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("at", range(14))
def test_no_more_than_promised_is_trained_after_the_end(monkeypatch, recorder, chunk, at):
    nets = []

    def model():
        nets.append(Net({at: math.nan}))
        return nets[-1]

    readout = lambda: DelayedReadback(CPU, chunk=chunk, max_delay_s=math.inf)  # noqa: E731
    swept(monkeypatch, recorder, readout, lambda: problem({}, model=model))
    for net in nets:
        assert at + 1 <= net.calls <= at + 1 + 2 * chunk - 1
    assert 2 * CHUNK - 1 <= 8  # what the README promises of a loss that isn't finite


def test_what_was_computed_is_told_in_order_and_a_signal_does_not_cut_that_short(monkeypatch, recorder):
    ctrl_c = {11: lambda: signal.raise_signal(signal.SIGINT)}
    readout = lambda: DelayedReadback(CPU, chunk=8, max_delay_s=math.inf)  # noqa: E731
    (trace,), calls, _ = swept(monkeypatch, recorder, readout, lambda: problem(ctrl_c))
    assert "INTERRUPTED" in trace
    assert [call for call in calls if call.startswith("measured")] == [f"measured {i}" for i in range(10)]


@pytest.mark.parametrize("tick", range(0, 60, 3))
def test_a_signal_while_losses_are_read_mixes_nothing_up(monkeypatch, recorder, tick):
    """It comes at a tick of the clock that the readout asks, in the midst of its work, or while a point is told."""
    whole = run_sweep(problem({}), dataclasses.replace(SETTINGS, repeats=1), device=CPU, observer=recorder())[0]
    ticks = itertools.count()

    def clock():
        if next(ticks) == tick:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    class Observer(recorder):
        def measured(self, point):
            clock()
            super().measured(point)

    observer = Observer()
    readout = lambda *_: DelayedReadback(CPU, chunk=4, max_delay_s=math.inf, clock=clock)  # noqa: E731
    monkeypatch.setattr(lrfinder.engine.preparation, "readback_for", readout)
    (trace,) = run_sweep(problem({}), dataclasses.replace(SETTINGS, repeats=1), device=CPU, observer=observer)
    assert trace.stop is (Stop.INTERRUPTED if next(ticks) > tick else Stop.COMPLETED)
    assert trace.losses == whole.losses[: len(trace.losses)]
    assert [point.loss for point in observer.points] == list(trace.losses)
    assert trace.updates - len(trace.losses) <= 1


def test_where_it_came_from_is_not_made_up(monkeypatch, recorder):
    monkeypatch.setattr(
        lrfinder.engine.preparation, "readback_for", lambda *_: DelayedReadback(CPU, max_delay_s=math.inf)
    )
    (trace,) = run_sweep(
        problem({12: math.nan}), dataclasses.replace(SETTINGS, repeats=1), device=CPU, observer=recorder()
    )
    assert "where it came from can't be seen" in trace.why
    assert trace.why.endswith("the weights were finite after 8 updates")


@pytest.mark.parametrize("event", [math.nan, "spare"])
def test_where_it_came_from_is_told_of_gathered_losses_too(monkeypatch, recorder, event):
    said = []
    for gathered in (0.0, math.inf):
        monkeypatch.setattr(lrfinder.engine.sweep, "max_batching_delay_s", lambda *_, seconds=gathered: seconds)
        (trace,) = run_sweep(
            problem({15: event}), dataclasses.replace(SETTINGS, repeats=1), device=CPU, observer=recorder()
        )
        said.append(trace.why)
    assert said[0] == said[1]
    assert ("the gradient of 'spare' is not finite" in said[0]) == (event == "spare")


def test_after_a_divergence_at_most_seven_gathered_updates_are_made_in_vain(monkeypatch, recorder):
    nets = []

    def model():
        nets.append(Net({call: 1.5 ** (call - 8) for call in range(8, 60)}))
        return nets[-1]

    vain = []
    for gathered in (0.0, math.inf):
        nets.clear()
        assert swept(monkeypatch, recorder, lambda: None, lambda: problem({}, model=model), gathered=gathered)
        vain.append(nets[0].calls)
    assert 0 <= vain[1] - vain[0] <= 7


def test_losses_of_slow_updates_are_judged_at_once():
    """By a clock of our own: gathered for two seconds, those of updates of three are told one by one."""
    now, told = [0.0], []
    ending = StoppingRule(nn.Linear(1, 1), 1.0, gradients=True, late=False, when=lambda *_: "")
    log = LossLog(rates=[0.1] * 9, measured=lambda point: told.append(point.loss), clock=lambda: now[0])
    log.start(ending, max_delay_s=2.0)
    for update in range(1, 4):
        now[0] += 3.0
        log.updates = update
        assert log.add(torch.tensor(float(update)), 0.1) is None
        assert told == [float(number) for number in range(1, update + 1)]
    now[0] += 1.0
    log.updates = 4
    log.add(torch.tensor(4.0), 0.1)
    assert (told, log.latest) == ([1.0, 2.0, 3.0], 4.0)
    assert log.settle() is None
    assert told == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("changes", "metric", "gathers"),
    [
        ({}, Metric.TRAIN, True),
        ({}, Metric.PROBE, False),
        ({"train_loader": iter([])}, Metric.TRAIN, False),
        ({"training": UpdateOptions(precision=Precision.FP16)}, Metric.TRAIN, False),
    ],
)
def test_when_losses_are_gathered(changes, metric, gathers):
    assert (max_batching_delay_s(problem({}, **changes), metric) > 0) == gathers


def test_short_runs_tell_the_same(monkeypatch, recorder):
    def made(readout, events, gathered=0.0):
        monkeypatch.setattr(lrfinder.engine.preparation, "readback_for", lambda *_: readout())
        monkeypatch.setattr(lrfinder.engine.short_runs, "max_batching_delay_s", lambda *_: gathered)
        observer = recorder()
        with ShortRuns(problem(events), seed=0, device=CPU, observer=observer) as runs:
            made = [runs.run(RunPlan(lr=lr, steps=STEPS)) for lr in (1e-3, 1e-2)]
        assert observer.runs == made
        return [seen(run) for run in made]

    for events in ({}, {5: math.nan}, {STEPS - 1: math.inf}, {call: 2.0**call for call in range(4, 99)}, {3: "spare"}):
        expected = made(lambda: None, events)
        assert made(lambda: None, events, gathered=math.inf) == expected
        for chunk in CHUNKS:
            assert made(lambda n=chunk: DelayedReadback(CPU, chunk=n, max_delay_s=math.inf), events) == expected


def test_slow_updates_are_read_at_once():
    now = [0.0]
    late = DelayedReadback(CPU, chunk=4, max_delay_s=0.1, clock=lambda: now[0])
    assert late.put(torch.tensor(1.0), None) == ()
    assert late.put(torch.tensor(2.0), torch.tensor(7.0)) == ()
    now[0] = 0.11
    first, second, third = late.put(torch.tensor(3.0), None)
    assert (first[0], second, third[0]) == (1.0, (2.0, 7.0), 3.0)
    assert late.rest() == ()


@given(st.lists(st.floats(width=32), max_size=40), st.sampled_from(CHUNKS))
def test_every_number_comes_once_in_order_and_at_most_two_chunks_late(losses, chunk):
    late = DelayedReadback(CPU, chunk=chunk, max_delay_s=math.inf)
    came = []
    for number, loss in enumerate(losses, start=1):
        came += late.put(torch.tensor(loss), torch.tensor(float(number)))
        assert number - len(came) <= 2 * chunk - 1
    came += late.rest()
    assert [beside for _, beside in came] == list(range(1, len(losses) + 1))
    assert torch.equal(torch.tensor([loss for loss, _ in came]).nan_to_num(7), torch.tensor(losses).nan_to_num(7))


@pytest.mark.parametrize(
    ("device", "metric", "changes", "optimizer", "reason"),
    [
        (CUDA, Metric.TRAIN, {}, torch.optim.AdamW, ""),
        (CUDA, Metric.TRAIN, {"training": UpdateOptions(accumulate=2, clip_norm=1.0)}, torch.optim.SGD, ""),
        (CUDA, Metric.TRAIN, {"training": UpdateOptions(precision=Precision.BF16)}, torch.optim.SGD, ""),
        (CPU, Metric.TRAIN, {}, torch.optim.SGD, "cpu is not ahead of the host"),
        (torch.device("mps"), Metric.TRAIN, {}, torch.optim.SGD, "mps is not ahead of the host"),
        (CUDA, Metric.PROBE, {}, torch.optim.SGD, "the held-out loss is computed on the host"),
        (CUDA, Metric.VAL, {}, torch.optim.SGD, "the held-out loss is computed on the host"),
        (
            CUDA,
            Metric.TRAIN,
            {"training": UpdateOptions(precision=Precision.FP16)},
            torch.optim.SGD,
            "the loss scaler looks at every gradient",
        ),
        (CUDA, Metric.TRAIN, {}, torch.optim.LBFGS, "the optimizer looks at its losses itself"),
        (
            CUDA,
            Metric.TRAIN,
            {"train_loader": iter([])},
            torch.optim.SGD,
            "the loader has only one start: batches that are used up past an end would be missed",
        ),
    ],
)
def test_when_each_loss_is_waited_for(device, metric, changes, optimizer, reason):
    part = SweptOptimizer(
        name="optimizer", optimizer=optimizer([nn.Parameter(torch.zeros(2))], lr=0.1), group_ratios=(1.0,)
    )
    assert reason_to_wait(problem({}, **changes), [part], device, metric) == reason


LBFGS = {"optimizer": lambda params, lr: torch.optim.LBFGS(params, lr=lr, max_iter=1)}


@pytest.mark.parametrize(
    ("changes", "metric", "swept", "run"),
    [
        ({}, Metric.TRAIN, "", ""),
        ({}, Metric.PROBE, "the held-out loss is computed on the host", ""),  # a run is judged at its end alone
        (LBFGS, Metric.TRAIN, *["the optimizer looks at its losses itself"] * 2),
        (
            {"training": UpdateOptions(precision=Precision.FP16)},
            Metric.TRAIN,
            *["the loss scaler looks at every gradient"] * 2,
        ),
    ],
)
def test_sweeps_and_short_runs_ask_for_what_they_train(monkeypatch, recorder, changes, metric, swept, run):
    asked = []

    def as_on_a_gpu(problem, parts, device, metric):
        assert device == CPU
        asked.append(reason_to_wait(problem, parts, CUDA, metric))

    monkeypatch.setattr(lrfinder.engine.preparation, "readback_for", as_on_a_gpu)
    settings = SweepSettings(steps=2, repeats=1, min_lr=1e-4, max_lr=1e-3, metric=metric)
    run_sweep(problem({}, **changes), settings, device=CPU, observer=recorder())
    with ShortRuns(problem({}, **changes), seed=0, device=CPU, observer=recorder()) as runs:
        runs.run(RunPlan(lr=1e-3, steps=2))
    assert asked == [swept, run]


@pytest.mark.parametrize("events", [{4: math.nan, 6: raising(ValueError("after"))}, {6: raising(ValueError("first"))}])
def test_what_came_first_counts(monkeypatch, recorder, events):
    waiting = swept(monkeypatch, recorder, lambda: None, lambda: problem(events))
    readout = lambda: DelayedReadback(CPU, chunk=8, max_delay_s=math.inf)  # noqa: E731
    assert swept(monkeypatch, recorder, readout, lambda: problem(events)) == waiting
    traces, _, failure = waiting
    assert (failure is None) is (4 in events)
    assert all(("NON_FINITE" if 4 in events else "FAILED") in trace for trace in traces)
