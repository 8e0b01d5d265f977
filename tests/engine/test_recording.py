"""Recorded updates, on a CPU by a tape of torch's operations: as good as plain ones, or left alone with a reason."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from helpers.problems import CPU
from lrfinder.engine.cuda_graphs import policy as recordings
from lrfinder.engine.cuda_graphs import trial_capture as recording
from lrfinder.engine.cuda_graphs.graphed_update import shape_of
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import UsageError
from lrfinder.records import Graph, Metric, Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem
from tests.engine.tape import Tape

INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True).sin()
SHORT = SweepSettings(steps=12, repeats=2, min_lr=1e-3, max_lr=1e-1)


def loader() -> DataLoader:
    """Five batches of eight to a pass, and one of three."""
    data = TensorDataset(torch.cat([INPUTS, INPUTS[:3]]), torch.cat([TARGETS, TARGETS[:3]]))
    return DataLoader(data, batch_size=8, shuffle=True, generator=torch.Generator())


def net() -> nn.Module:
    # Without a bias: of one before BatchNorm the gradient is rounding alone, which Adam makes whole steps of.
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))


def step(model, batch):
    inputs, targets = batch
    return functional.mse_loss(model(inputs), targets)


def groups(params, lr):
    return [{"params": params[:-2]}, {"params": params[-2:], "lr": 2 * lr}]


OPTIMIZERS = {
    "SGD": lambda params, lr: torch.optim.SGD(params, lr=lr),
    "SGD with all": lambda params, lr: torch.optim.SGD(
        groups(params, lr), lr=lr, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "Adam": lambda params, lr: torch.optim.Adam(groups(params, lr), lr=lr, weight_decay=0.01),
    "AdamW": lambda params, lr: torch.optim.AdamW(groups(params, lr), lr=lr, amsgrad=True),
}


def problem(*, graph: Graph = Graph.ON, training: dict[str, object] | None = None, **changes: object) -> Problem:
    given = {
        "name": "net",
        "model": net,
        "train_loader": loader(),
        "training_step": step,
        "optimizer": OPTIMIZERS["AdamW"],
        "training": UpdateOptions(graph=graph, **(training or {})),
    }
    return Problem(**(given | changes))


@pytest.fixture
def tape(monkeypatch) -> Tape:
    made = Tape()
    monkeypatch.setattr(recordings, "capture_for", lambda _: made)
    return made


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("training", [{}, {"clip_norm": 0.5}, {"clip_value": 0.01}], ids=str)
def test_a_recorded_sweep_measures_what_a_plain_one_does(tape, recorder, optimizer, training):
    plain = run_sweep(
        problem(graph=Graph.OFF, optimizer=optimizer, training=training), SHORT, device=CPU, observer=recorder()
    )
    assert tape.recorded == 0
    seen = recorder()
    traces = run_sweep(problem(optimizer=optimizer, training=training), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph == ""
    assert tape.recorded == 2 * SHORT.repeats
    # Of 13 losses and 12 updates two are of a pass's last batch, which has another shape; and three were tried.
    assert tape.repeated == SHORT.repeats * (11 + 10 + 2 * recording.TRIED)
    for trace, expected in zip(traces, plain, strict=True):
        assert (trace.stop, trace.updates, trace.lrs) == (expected.stop, expected.updates, expected.lrs)
        assert trace.losses == pytest.approx(expected.losses, rel=1e-4)


def test_short_runs_are_recorded_too(tape, recorder):
    plan = RunPlan(lr=3e-2, steps=11, repeat=0)
    reached = []
    for graph in (Graph.OFF, Graph.ON):
        with ShortRuns(problem(graph=graph), seed=3, device=CPU, observer=recorder()) as runs:
            reached.append(runs.run(plan))
    assert tape.recorded == 2
    assert reached[1].loss == pytest.approx(reached[0].loss, rel=1e-4)
    assert reached[1].initial_loss == reached[0].initial_loss


def test_a_held_out_loss_is_that_of_the_recorded_updates(tape, recorder):
    settings = SweepSettings(steps=12, repeats=1, min_lr=1e-3, max_lr=1e-1, metric=Metric.PROBE)
    plain, recorded = (
        run_sweep(problem(graph=graph), settings, device=CPU, observer=recorder())[0] for graph in (Graph.OFF, Graph.ON)
    )
    assert tape.repeated
    assert recorded.losses == pytest.approx(plain.losses, rel=1e-4)


def test_live_objects_come_back_with_their_own_settings(tape, recorder):
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    run_sweep(problem(model=model, optimizer=optimizer), SHORT, device=CPU, observer=recorder())
    assert tape.repeated
    assert {name: value for name, value in optimizer.param_groups[0].items() if name != "params"} == before
    assert not optimizer.state
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), weights, strict=True))


class Counts(nn.Module):
    """What it returns depends on a number of Python's."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 1)
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return self.inner(inputs) * (1 + self.calls % 2)


class NewBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 1)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, inputs):
        self.mean = 0.9 * self.mean + 0.1 * inputs.mean(0)
        return self.inner(inputs - self.mean)


def asking(model, batch):
    loss = step(model, batch)
    return loss if loss.item() < 1e9 else 0 * loss


def hooked(params, lr):
    optimizer = torch.optim.SGD(params, lr=lr)
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def hooked_parameters(params, lr):
    for parameter in params:
        parameter.register_post_accumulate_grad_hook(lambda _: None)
    return torch.optim.SGD(params, lr=lr)


def of(kind, **options):
    return lambda params, lr: kind(params, lr=lr, **options)


def batches_of_objects():
    return [SimpleNamespace(inputs=INPUTS[:8], targets=TARGETS[:8])]


REASONS = {
    "another optimizer": ({"optimizer": of(torch.optim.RMSprop)}, "RMSprop is none of SGD, Adam and AdamW"),
    "dampening": (
        {"optimizer": of(torch.optim.SGD, momentum=0.9, dampening=0.1)},
        "the optimizer's first update is unlike the others, by its dampening",
    ),
    "hooks of the optimizer": ({"optimizer": hooked}, "the optimizer has hooks"),
    "hooks of parameters": ({"optimizer": hooked_parameters}, "parameters have hooks"),
    "a number": ({"training_step": asking}, "RuntimeError: a number was asked for while recording"),
    "a number of Python's": ({"model": Counts}, "its losses are "),
    "new buffers": ({"model": NewBuffers}, "the model puts new tensors in the place of its buffers"),
    "no gradient": (
        {"training_step": lambda model, batch: 1 + 0 * step(model, batch), "optimizer": of(torch.optim.SGD)},
        "the first updates at the optimizer's own rate change no weight",
    ),
    "infinite losses": (
        {"training_step": lambda model, batch: 1e30 * step(model, batch), "optimizer": of(torch.optim.SGD)},
        "the first updates at the optimizer's own rate aren't finite, so they can't be compared",
    ),
    "accumulation": ({"training": {"accumulate": 2}}, "an update is made of several batches"),
    "objects": (
        {
            "train_loader": batches_of_objects(),
            "training_step": lambda model, batch: step(model, (batch.inputs, batch.targets)),
        },
        "a batch holds more than tensors, numbers and names",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), REASONS.values(), ids=REASONS)
def test_what_cannot_be_recorded_is_swept_as_without_and_the_reason_is_told(tape, recorder, changes, reason):
    plain = run_sweep(problem(graph=Graph.OFF, **changes), SHORT, device=CPU, observer=recorder())
    seen = recorder()
    traces = run_sweep(problem(graph=Graph.AUTO, **changes), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph.startswith(reason)
    if changes.get("model") is not Counts:  # it has counted the updates that were tried, so that its losses are others
        assert traces == plain
    assert tape.repeated == (2 * recording.TRIED if changes.get("model") is Counts else 0)
    with pytest.raises(UsageError, match="--graph on: updates can't be captured") as raised:
        run_sweep(problem(graph=Graph.ON, **changes), SHORT, device=CPU, observer=recorder())
    assert reason in str(raised.value)
    assert raised.value.hint == "`--graph auto` goes on without"


def test_a_loss_scaler_is_a_reason(tape, recorder):
    seen = recorder()
    run_sweep(problem(graph=Graph.AUTO, training={"precision": Precision.FP16}), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph == "the loss scaler looks at every gradient"
    assert tape.recorded == 0


def test_an_optimizer_with_a_past_is_a_reason(tape, recorder):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    step(model, (INPUTS, TARGETS)).backward()
    optimizer.step()
    optimizer.zero_grad()
    seen = recorder()
    run_sweep(problem(graph=Graph.AUTO, model=model, optimizer=optimizer), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph == "the optimizer has made updates before"
    assert tape.recorded == 0


def test_a_cpu_has_no_recordings(recorder):
    seen = recorder()
    run_sweep(problem(graph=Graph.AUTO), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph == "that takes CUDA, and this is on cpu"
    seen = recorder()
    run_sweep(problem(graph=Graph.OFF), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph is None


@pytest.mark.parametrize(("worth", "recorded"), [(0.0, False), (math.inf, True)])
def test_auto_records_where_that_is_faster(tape, recorder, monkeypatch, worth, recorded):
    monkeypatch.setattr(recording, "WORTH", worth)
    plain = run_sweep(problem(graph=Graph.OFF), SHORT, device=CPU, observer=recorder())
    seen = recorder()
    traces = run_sweep(problem(graph=Graph.AUTO), SHORT, device=CPU, observer=seen)
    assert (seen.setups[0].graph == "") is recorded
    if not recorded:
        assert seen.setups[0].graph.startswith("it is not faster: ")
        assert traces == plain
        assert tape.recorded == 2  # the second repeat isn't tried


def test_auto_leaves_large_models_alone(tape, recorder, monkeypatch):
    monkeypatch.setattr(recording, "MOST_WEIGHTS", 100)
    seen = recorder()
    run_sweep(problem(graph=Graph.AUTO), SHORT, device=CPU, observer=seen)
    assert seen.setups[0].graph.startswith("the model has more than ")
    assert tape.recorded == 0


def test_a_loader_that_fails_fails_in_its_turn(tape, recorder):
    def failing():
        yield from itertools.islice(loader(), 2)
        raise ValueError("the disk is gone")

    for graph in (Graph.OFF, Graph.ON):
        seen = recorder()
        with pytest.raises(ValueError, match="the disk is gone"):
            run_sweep(problem(graph=graph, train_loader=failing()), SHORT, device=CPU, observer=seen)
        assert [trace.stop for trace in seen.traces] == [Stop.FAILED]
        assert seen.traces[0].updates == 2
    assert tape.recorded == 2


def test_a_loader_that_is_shorter_than_what_is_tried(tape, recorder):
    seen = recorder()
    (trace,) = run_sweep(problem(train_loader=iter(list(loader())[:1])), SHORT, device=CPU, observer=seen)
    assert tape.recorded == 2
    assert trace.stop is Stop.OUT_OF_DATA


def test_the_batches_that_one_recording_serves():
    inputs = torch.zeros(3, 2)
    same = [
        (inputs, torch.ones(3, 2)),
        ({"x": inputs, "n": 1}, {"x": torch.ones(3, 2), "n": 1}),
        ([(inputs, None)], [(torch.ones(3, 2), None)]),
    ]
    other = [
        (inputs, torch.zeros(2, 2)),
        (inputs, inputs.double()),
        ({"x": inputs}, {"y": inputs}),
        ({"x": inputs, "n": 1}, {"x": inputs, "n": 2}),
        ((inputs,), [inputs]),
        ((1,), (True,)),
    ]
    assert all(shape_of(one) == shape_of(two) for one, two in same)
    assert all(shape_of(one) != shape_of(two) for one, two in other)
    assert shape_of([inputs, object()]) is None
    assert shape_of(torch.zeros(3, 2).to_sparse()) is None
