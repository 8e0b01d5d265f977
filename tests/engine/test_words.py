"""What the engine tells people: where their code failed, and why something can't be done, to the last word."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from helpers.problems import CPU, regression
from lrfinder.engine.restore.tensors import TensorStates
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.engine.update.autocast import in_precision
from lrfinder.errors import EnvironmentFailure, LrfinderError, user_code_location
from lrfinder.records import Metric, Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.build import build_trial

BATCH = (torch.ones(4, 3), torch.zeros(4, 1))
SETTINGS = SweepSettings(steps=6, repeats=2, min_lr=1e-4, max_lr=1e-3)


problem = partial(regression, where="model.py", train_loader=[BATCH] * 4)


def fails_at(count, function=lambda *args: None):
    """Return `function`, which raises ValueError("mine") when it is called for the time number `count`."""
    calls = itertools.count()

    def failing(*args, **options):
        if next(calls) == count:
            raise ValueError("mine")
        return function(*args, **options)

    return failing


def step_that_fails(count):
    def make(params, lr):
        optimizer = torch.optim.SGD(params, lr=lr)
        optimizer.step = fails_at(count, optimizer.step)
        return optimizer

    return make


def loss_whose_gradient_fails(count):
    hook = fails_at(count, lambda gradient: gradient)

    def loss(output, target):
        if output.requires_grad:
            output.register_hook(hook)
        return nn.functional.mse_loss(output, target)

    return loss


class Batches:
    """Four batches a pass; pass number `start` or batch number `batch` fails."""

    def __init__(self, *, start=None, batch=None):
        self.begin = (lambda: None) if start is None else fails_at(start)
        self.give = (lambda: BATCH) if batch is None else fails_at(batch, lambda: BATCH)

    def __iter__(self):
        self.begin()
        return (self.give() for _ in range(4))


class Told(Batches):
    """Fails where it is told the second epoch."""

    def __init__(self):
        super().__init__()
        self.set_epoch = fails_at(1)


class Failing(nn.Linear):
    """Fails in the forward pass of one batch."""

    def __init__(self, count):
        super().__init__(3, 1)
        self.fail = fails_at(count)

    def forward(self, inputs):
        self.fail()
        return super().forward(inputs)


class Unmovable(nn.Linear):
    def _apply(self, *args, **options):
        raise ValueError("mine")


FP16 = UpdateOptions(precision=Precision.FP16)
# Each made anew: they count their calls.
PLACES = {
    "running the model on a batch": lambda: {"model": lambda: Failing(3)},
    "calling loss_fn(output, target)": lambda: {"loss_fn": fails_at(3, nn.functional.mse_loss)},
    "calling optimizer.step() for update 2": lambda: {"optimizer": step_that_fails(2)},
    "running loss.backward() before update 3": lambda: {"loss_fn": loss_whose_gradient_fails(3)},
    "getting batch 6 of train_loader": lambda: {"train_loader": Batches(batch=6)},
    "starting train_loader": lambda: {"train_loader": Told()},
    "moving the model to cpu": lambda: {"model": lambda: Unmovable(3, 1)},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_failure_of_the_user_s_code_is_told_with_its_place(recorder, place):
    observer = recorder()
    with pytest.raises(ValueError, match=r"^mine$") as raised:
        run_sweep(problem(**PLACES[place]()), SETTINGS, device=CPU, observer=observer)
    assert user_code_location(raised.value) == place
    assert observer.traces[-1].stop is Stop.FAILED
    assert observer.traces[-1].why == f"ValueError: mine (while {place})"


def test_the_start_of_a_pass_has_a_place_too(recorder):
    with pytest.raises(ValueError, match=r"^mine$") as raised:
        run_sweep(problem(train_loader=Batches(start=1)), SETTINGS, device=CPU, observer=recorder())
    assert user_code_location(raised.value) == "starting train_loader"


class Unscalable(torch.optim.SGD):
    """Fails at the third step, which a loss scaler calls."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.calls = itertools.count()

    def step(self, closure=None):
        if next(self.calls) == 2:
            raise ValueError("mine")
        return super().step(closure)


def test_a_scaled_step_has_a_place(recorder):
    scaled = problem(optimizer=Unscalable, training=FP16)
    with pytest.raises(ValueError, match=r"^mine$") as raised:
        run_sweep(scaled, SETTINGS, device=CPU, observer=recorder())
    assert user_code_location(raised.value) == "calling optimizer.step() for update 2"


def test_clipping_has_a_place(recorder, monkeypatch):
    monkeypatch.setattr("lrfinder.engine.update.optimizer_step.clip_grad_norm_", fails_at(1))
    with pytest.raises(ValueError, match=r"^mine$") as raised:
        run_sweep(problem(training=UpdateOptions(clip_norm=1.0)), SETTINGS, device=CPU, observer=recorder())
    assert user_code_location(raised.value) == "clipping the gradient for update 1"


def test_unscaling_has_a_place(recorder, monkeypatch):
    unscale = torch.amp.GradScaler.unscale_
    monkeypatch.setattr(torch.amp.GradScaler, "unscale_", fails_at(1, unscale))
    with pytest.raises(ValueError, match=r"^mine$") as raised:
        run_sweep(problem(training=FP16), SETTINGS, device=CPU, observer=recorder())
    assert user_code_location(raised.value) == "unscaling the gradients of optimizer for update 1"


class Asking(torch.optim.SGD):
    def step(self, closure=None):
        assert closure is not None, "this optimizer needs a closure"
        return super().step(closure)


ONLY = nn.Linear(3, 1)
REFUSALS = {
    "the same model twice": (
        {"model": lambda: ONLY},
        {},
        "model.py: model() returned the same object for two repeats",
        "build a new model in each call, or give the object itself: `model = net`",
    ),
    "no data": (
        {"train_loader": []},
        {},
        "model.py: train_loader gave no batch",
        "is the data set empty, or drop_last=True with fewer samples than a batch?",
    ),
    "no validation data": (
        {},
        {"metric": Metric.VAL},
        "model.py has no val_loader, and the validation loss was asked for (metric val)",
        "write `def val_loader(): return DataLoader(...)`, or use --metric probe: a batch of the train_loader",
    ),
    "empty validation data": (
        {"val_loader": []},
        {"metric": Metric.VAL},
        "model.py: val_loader gave no batch",
        "is the data set empty? Leave val_loader out, and batches of the train_loader are set aside instead",
    ),
    "a closure that is known, and a loss scaler": (
        {"optimizer": lambda params, lr: torch.optim.LBFGS(params, lr=lr), "training": FP16},
        {},
        "precision fp16 needs a loss scaler, and optimizer (LBFGS) needs a closure, which torch's scaler doesn't take",
        "use --precision bf16 or auto with this optimizer",
    ),
    "a closure that shows in the first step, and a loss scaler": (
        {"optimizer": lambda params, lr: Asking(params, lr=lr), "training": FP16},
        {},
        "precision fp16 needs a loss scaler, and optimizer (Asking) needs a closure, which torch's scaler doesn't take",
        "use --precision bf16 or auto with this optimizer",
    ),
    "lazy layers": (
        {"model": nn.Sequential(nn.LazyLinear(1))},
        {},
        "the model has lazy layers whose weights don't exist yet",
        "pass one batch through the model before the sweep, or give a function that makes the model",
    ),
    "half already": (
        {"model": lambda: nn.Linear(3, 1).half(), "training": FP16},
        {},
        "precision fp16 trains float32 parameters with a loss scaler, and weight is float16 already",
        "leave the precision at auto, or keep the parameters in float32",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_is_wrong_and_what_to_do(recorder, case):
    changes, settings, message, hint = REFUSALS[case]
    wanted = SweepSettings(steps=6, repeats=2, min_lr=1e-4, max_lr=1e-3, **settings)
    with pytest.raises(LrfinderError) as raised:
        run_sweep(problem(**changes), wanted, device=CPU, observer=recorder())
    assert str(raised.value) == message
    assert raised.value.hint == hint


def test_precisions_that_a_device_does_not_have(recorder, monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: kind != "cpu")
    for precision in (Precision.BF16, Precision.FP16):
        with pytest.raises(LrfinderError) as raised:
            run_sweep(problem(training=UpdateOptions(precision=precision)), SETTINGS, device=CPU, observer=recorder())
        assert str(raised.value) == f"precision {precision} isn't possible on cpu: torch has no autocast there"
    run_sweep(problem(training=UpdateOptions(precision=Precision.FP32)), SETTINGS, device=CPU, observer=recorder())


def test_a_card_without_bfloat16_has_half_precision_still(monkeypatch):
    made, card = build_trial(problem(), place=lambda model: model), torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(LrfinderError) as raised:
        in_precision(made, Precision.BF16, card)
    assert str(raised.value) == "precision bf16 isn't possible on cuda:1: the card has no bfloat16"
    assert raised.value.hint == "try fp16"
    assert in_precision(made, Precision.FP16, card).model is made.model
    assert in_precision(made, Precision.BF16, CPU).model is made.model
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert in_precision(made, Precision.BF16, card).model is made.model


@pytest.mark.parametrize("metric", [Metric.TRAIN, Metric.PROBE])
def test_why_a_repeat_ended_early(recorder, metric):
    wanted = SweepSettings(steps=9, repeats=1, min_lr=1e-4, max_lr=1e-3, metric=metric)
    dry = run_sweep(problem(train_loader=iter([BATCH] * 5)), wanted, device=CPU, observer=recorder())[0]
    made = 5 if metric is Metric.TRAIN else 4  # one batch is set aside, and the loss after an update needs no other
    assert (dry.stop, dry.updates) == (Stop.OUT_OF_DATA, made)
    assert dry.why == f"train_loader ran out and can't be started again; {made} of 9 updates made"
    late = SweepSettings(steps=9, repeats=1, min_lr=1e-4, max_lr=1e-3, metric=metric, max_seconds=1e-9)
    out_of_time = run_sweep(problem(), late, device=CPU, observer=recorder())[0]
    assert (out_of_time.stop, out_of_time.why) == (Stop.OUT_OF_TIME, "the time limit was reached; 0 of 9 updates made")


@pytest.mark.parametrize(("metric", "count"), [(Metric.TRAIN, 7), (Metric.PROBE, 7), (Metric.VAL, 6)])
def test_why_a_repeat_did_not_begin(recorder, metric, count):
    """The one before took the last batch: of six updates, and of the loss after them, or to judge by."""
    what = problem(train_loader=iter([BATCH] * count), val_loader=[BATCH])
    wanted = SweepSettings(steps=6, repeats=3, min_lr=1e-4, max_lr=1e-3, metric=metric)
    whole, dry = run_sweep(what, wanted, device=CPU, observer=recorder())
    assert (whole.stop, whole.updates) == (Stop.COMPLETED, 6)
    assert (dry.stop, dry.updates, dry.losses) == (Stop.OUT_OF_DATA, 0, ())
    told = (
        "train_loader ran out and can't be started again" if metric is Metric.VAL else "train_loader had no batch left"
    )
    assert dry.why == f"{told}; 0 of 6 updates made"


def test_memory_that_runs_out_while_the_user_s_objects_are_copied(recorder, monkeypatch):
    def full(_):
        raise MemoryError("no room")

    monkeypatch.setattr(TensorStates, "copy", full)
    observer = recorder()
    with pytest.raises(EnvironmentFailure) as raised:
        run_sweep(problem(model=nn.Linear(3, 1)), SETTINGS, device=CPU, observer=observer)
    assert str(raised.value) == "out of memory: no room"
    assert observer.calls == []


def test_memory_that_runs_out_in_a_short_run_on_a_batch_that_can_t_be_split(recorder):
    observer = recorder()
    what = problem(
        loss_fn=None, training_step=fails_of_memory, train_loader=[[*BATCH, object()]], val_loader=[[*BATCH]]
    )
    with ShortRuns(what, seed=0, device=CPU, observer=observer) as runs, pytest.raises(EnvironmentFailure) as raised:
        runs.run(RunPlan(lr=1e-3, steps=5))
    assert str(raised.value) == "out of memory: no room"
    assert [run.stop for run in observer.runs] == [Stop.FAILED]


def fails_of_memory(model, batch):
    if torch.is_grad_enabled():
        raise MemoryError("no room")
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def test_why_nothing_could_be_measured(recorder):
    for metric in (Metric.TRAIN, Metric.PROBE):
        wanted = SweepSettings(steps=9, repeats=2, min_lr=1e-4, max_lr=1e-3, metric=metric)
        used = iter([BATCH])
        next(used)
        with pytest.raises(LrfinderError, match="gave no batch"):
            run_sweep(problem(train_loader=used), wanted, device=CPU, observer=recorder())


@pytest.mark.parametrize(
    ("metric", "first", "later"),
    [
        (Metric.TRAIN, "the loss of the first batch", "the loss is nan after the update at rate {:.3g}"),
        (Metric.VAL, "the held-out loss", "the training loss is nan before the update at rate {:.3g}"),
    ],
)
def test_where_a_number_that_is_none_was_seen(recorder, metric, first, later):
    wanted = SweepSettings(steps=9, repeats=1, min_lr=1e-4, max_lr=1e-3, metric=metric)
    source = "the weights are finite, so it comes from the loss or the data"
    rotten = (BATCH[0] * float("nan"), BATCH[1])
    given = {"train_loader": [rotten], "val_loader": [rotten]}
    trace = run_sweep(problem(**given), wanted, device=CPU, observer=recorder())[0]
    assert trace.why == f"{first}, before any update, is nan: {source}"
    given = {"train_loader": [BATCH, BATCH, BATCH, rotten], "val_loader": [BATCH]}
    trace = run_sweep(problem(**given), wanted, device=CPU, observer=recorder())[0]
    rate = trace.lrs[2] if metric is Metric.TRAIN else wanted.lrs()[3]
    assert trace.why == f"{later.format(rate)}: {source}"
    assert trace.stop is Stop.NON_FINITE


def test_a_divergence_says_where_the_loss_began_and_where_it_went(recorder):
    wanted = SweepSettings(steps=60, repeats=1, min_lr=1.0, max_lr=100.0)
    torch.manual_seed(1)
    trace = run_sweep(problem(), wanted, device=CPU, observer=recorder())[0]
    first = sorted([trace.initial_loss, *trace.losses[:4]])[2]
    assert trace.stop is Stop.DIVERGED
    assert trace.why.startswith(f"the loss began at {first:.4g}, and the median of the last five is above ")
    assert sorted(trace.losses[-5:])[2] > float(trace.why.rsplit(" ", 1)[1]) > first
