"""How an update is made, against closed forms and against plain torch: loss scaling, accumulation, clipping."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.problems import CPU
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import UsageError
from lrfinder.records import Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

CURVATURE = 4.0
INPUTS = torch.randn(48, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = INPUTS.sum(1, keepdim=True).sin()


class Quadratic(nn.Module):
    """loss = scale * 0.5 * CURVATURE * x ** 2; where the batch is bad its gradient is NaN, and the loss is the same."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, batch):
        scale, bad = batch
        loss = scale * 0.5 * CURVATURE * self.x**2
        return loss + (0 * self.x).sqrt() if bad else loss


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr)


def quadratic(batches, **changes):
    given = {
        "name": "quadratic",
        "model": Quadratic,
        "train_loader": batches,
        "training_step": lambda model, batch: model(batch),
        "optimizer": sgd,
    }
    return Problem(**(given | changes))


def one_repeat(problem, recorder, **settings):
    given = {"repeats": 1, "min_lr": 1e-4, "max_lr": 1e-2} | settings
    (trace,) = run_sweep(problem, SweepSettings(**given), device=CPU, observer=recorder())
    return trace


def scales(count, bad=()):
    return [(float(i + 1), i in bad) for i in range(count)]


FP16 = UpdateOptions(precision=Precision.FP16)


def test_a_skipped_update_uses_up_no_rate_and_its_loss_is_left_out(recorder):
    trace = one_repeat(quadratic(scales(14, bad={3, 7, 8}), training=FP16), recorder, steps=10)
    x, expected, rates = 3.0, [], iter(trace.lrs)
    for i in range(13):
        if i not in {3, 7, 8}:
            x *= 1 - next(rates) * CURVATURE * (i + 1)
            expected.append((i + 2) * 0.5 * CURVATURE * x * x)
    assert trace.losses == pytest.approx(expected, rel=1e-12)  # the scale is a power of two: it changes no digit
    assert (trace.stop, trace.updates, trace.skipped, len(trace.lrs)) == (Stop.COMPLETED, 10, 3, 10)


@given(
    bad=st.sets(st.integers(0, 30), max_size=12),
    taken=st.integers(1, 3),
    length=st.integers(1, 9),
    steps=st.integers(2, 8),
)
def test_every_rate_goes_to_one_applied_update_of_whole_groups(recorder, bad, taken, length, steps):
    """The law of it all: a loader of any length, any number of batches to an update, overflows anywhere."""
    calls = itertools.count()

    class Overflowing(Quadratic):
        def forward(self, scale):
            return super().forward((scale, next(calls) in bad))

    scales = [1 + i / 100 for i in range(length)]  # so alike that no order of them looks like a divergence
    loader = [torch.tensor(scale, dtype=torch.float64) for scale in scales]
    training = UpdateOptions(precision=Precision.FP16, accumulate=taken)
    trace = one_repeat(quadratic(loader, model=Overflowing, training=training), recorder, steps=steps, max_lr=1e-3)

    stream = zip(itertools.count(), itertools.cycle(scales))
    groups = iter(lambda: [next(stream) for _ in range(taken)], None)
    x, expected, skipped, group = 3.0, [], 0, next(groups)
    while len(expected) < steps:
        applied = bad.isdisjoint(index for index, _ in group)
        if applied:
            x *= 1 - trace.lrs[len(expected)] * CURVATURE * sum(scale for _, scale in group) / taken
        group = next(groups)
        if applied:
            expected.append(sum(scale for _, scale in group) / taken * 0.5 * CURVATURE * x * x)
        skipped += not applied
    assert trace.losses == pytest.approx(expected, rel=1e-9)
    assert (trace.updates, trace.skipped, trace.stop) == (steps, skipped, Stop.COMPLETED)


def test_a_gradient_that_no_scale_helps_ends_the_repeat_and_says_so(recorder):
    endless = quadratic([(1.0, True)], training=FP16)
    trace = one_repeat(endless, recorder, steps=10)
    assert (trace.stop, trace.updates, trace.skipped, trace.losses) == (Stop.NON_FINITE, 0, 20, ())
    assert "overflowed in 20 updates in a row at rate 0.0001" in trace.why
    with ShortRuns(endless, seed=0, device=CPU, observer=recorder()) as runs:
        run = runs.run(RunPlan(lr=1e-3, steps=10))
    assert (run.stop, run.updates, run.skipped, run.loss) == (Stop.NON_FINITE, 0, 20, None)
    assert "overflowed in 20 updates in a row" in run.why


def test_the_repeat_says_how_many_were_skipped_where_the_data_end(recorder):
    trace = one_repeat(quadratic(iter(scales(8, bad={2})), training=FP16), recorder, steps=10)
    assert trace.stop is Stop.OUT_OF_DATA
    assert "7 of 10 updates made, 1 skipped by the loss scaler" in trace.why


def test_a_short_run_gives_its_rates_to_the_updates_that_were_applied(recorder):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    # Four batches are set aside, and every third of those after them is skipped.
    problem = quadratic(scales(40, bad=range(4, 40, 3)), optimizer=lambda params, lr: Spy(params, lr=lr), training=FP16)
    with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:
        run = runs.run(RunPlan(lr=1e-3, steps=12))
    assert (run.stop, run.updates, run.skipped) == (Stop.COMPLETED, 12, 6)
    assert seen == pytest.approx([1e-3, *(1e-3 * (12 - t) / 11 for t in range(1, 12))])
    x = 3.0
    applied = [i for i in range(4, 40) if (i - 4) % 3][:12]
    for i, rate in zip(applied, seen, strict=True):
        x *= 1 - rate * CURVATURE * (i + 1)
    assert run.loss == pytest.approx(2.5 * 0.5 * CURVATURE * x * x, rel=1e-12)


def test_fp16_is_the_loop_of_torch_s_own_manual(recorder):
    """The gradient overflows at the scale that the scaler begins with, so that real skips are in it."""
    inputs, targets = INPUTS.float(), 30 * TARGETS.float()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=4)
    make = lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))  # noqa: E731
    problem = Problem(
        name="p", model=make, train_loader=loader, loss_fn=nn.functional.mse_loss, optimizer=sgd, training=FP16
    )
    trace = one_repeat(problem, recorder, steps=12)
    assert trace.skipped > 0
    torch.manual_seed(trace.seed)
    model = make()
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=1.0), torch.amp.GradScaler("cpu")
    losses, applied, fresh = [], 0, True
    for x, y in itertools.chain.from_iterable(itertools.repeat(loader)):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = nn.functional.mse_loss(model(x), y)
        losses += [loss.item()] if fresh else []
        if applied == 12:
            break
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        optimizer.param_groups[0]["lr"] = trace.lrs[applied]
        before = model[0].weight.clone()
        scaler.step(optimizer)
        scaler.update()
        fresh = not torch.equal(before, model[0].weight)
        applied += fresh
    assert [trace.initial_loss, *trace.losses] == losses


@pytest.mark.parametrize("precision", list(Precision))
def test_the_loss_is_computed_in_the_precision_and_the_gradient_outside_of_it(recorder, precision):
    seen = {"forward": set(), "backward": set()}

    def step(model, batch):
        output = model(batch[0])
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        seen["forward"].add((output.dtype, kind))
        if output.requires_grad:
            output.register_hook(lambda gradient: seen["backward"].add(torch.is_autocast_enabled("cpu")))
        return output.float().square().mean()

    loader = [(torch.ones(4, 5),)]
    problem = Problem(
        name="p", model=lambda: nn.Linear(5, 2), train_loader=loader, training_step=step, optimizer=sgd,
        training=UpdateOptions(precision=precision),
    )  # fmt: skip
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    one_repeat(problem, recorder, steps=5)
    with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:  # what it is judged by, too
        runs.run(RunPlan(lr=1e-3, steps=10))
    assert seen["forward"] == {(kind, None if kind is torch.float32 else kind)}
    assert seen["backward"] == {False}
    seen["forward"].clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the caller's own
        one_repeat(problem, recorder, steps=5)
    kinds = {"auto": torch.bfloat16, "fp32": torch.float32}
    assert {output for output, _ in seen["forward"]} == {kinds.get(precision, kind)}


def test_a_loss_scaler_for_weights_that_are_halves_already_is_refused(recorder):
    problem = Problem(name="p", model=nn.Linear(2, 2).half(), train_loader=[torch.ones(2, 2)], training=FP16)
    with pytest.raises(UsageError, match="weight is float16 already"):
        one_repeat(problem, recorder)


def test_precision_where_there_is_no_autocast_is_refused(recorder, monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
    for precision in (Precision.BF16, Precision.FP16):
        with pytest.raises(UsageError, match=f"precision {precision} isn't possible on cpu"):
            one_repeat(quadratic(scales(3), training=UpdateOptions(precision=precision)), recorder)
    assert one_repeat(quadratic(scales(9), training=UpdateOptions(precision=Precision.FP32)), recorder, steps=5).losses


def regression(batch_size, **changes):
    given = {
        "name": "p",
        "model": lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 1)).double(),
        "train_loader": DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=batch_size),
        "loss_fn": nn.functional.mse_loss,
        "optimizer": lambda params, lr: torch.optim.AdamW(params, lr=lr),
    }
    return Problem(**(given | changes))


@pytest.mark.parametrize("taken", [2, 3, 6])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}], ids=["", "norm", "value"])
def test_accumulated_batches_are_one_batch_of_them_all(recorder, taken, clip):
    small, observer = regression(4, training=UpdateOptions(accumulate=taken, **clip)), recorder()
    settings = SweepSettings(repeats=1, steps=15, min_lr=1e-4, max_lr=1e-1)
    (parts,) = run_sweep(small, settings, device=CPU, observer=observer)
    whole = one_repeat(regression(4 * taken, training=UpdateOptions(**clip)), recorder, steps=15, max_lr=1e-1)
    assert [parts.initial_loss, *parts.losses] == pytest.approx([whole.initial_loss, *whole.losses], rel=1e-9)
    assert (parts.updates, parts.lrs) == (15, whole.lrs)
    (setup,) = observer.setups
    assert (setup.batch_size, setup.batches_per_epoch) == (4 * taken, math.ceil(12 / taken))


def test_accumulated_short_runs_are_those_of_one_batch_of_them_all(recorder):
    def made(problem, batches):
        with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:
            return runs.run(RunPlan(lr=0.01, steps=12, batches=batches))

    held_out = {"val_loader": DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=48)}
    parts = made(regression(4, training=UpdateOptions(accumulate=3), **held_out), 2)
    whole = made(regression(12, **held_out), 2)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-9)
    assert (parts.updates, parts.stop) == (whole.updates, whole.stop) == (12, Stop.COMPLETED)


def test_a_pass_that_ends_within_an_update_goes_on_with_the_next(recorder):
    x, expected = 3.0, []
    trace = one_repeat(quadratic(scales(3), training=UpdateOptions(accumulate=2)), recorder, steps=6)
    stream = itertools.cycle([1.0, 2.0, 3.0])
    scale = (next(stream) + next(stream)) / 2
    assert trace.initial_loss == scale * 0.5 * CURVATURE * 9
    for rate in trace.lrs:
        x *= 1 - rate * CURVATURE * scale
        scale = (next(stream) + next(stream)) / 2
        expected.append(scale * 0.5 * CURVATURE * x * x)
    assert trace.losses == pytest.approx(expected, rel=1e-6)


def test_data_that_end_within_an_update_end_the_repeat(recorder):
    trace = one_repeat(quadratic(iter(scales(7)), training=UpdateOptions(accumulate=2)), recorder, steps=6)
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.OUT_OF_DATA, 3, 2)


def test_accumulation_keeps_one_graph_at_a_time(recorder):
    alive = []

    class Counting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            alive.append(1)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            alive.pop()
            return gradient

    most = []

    def step(model, batch):
        loss = Counting.apply(model(batch))
        most.append(len(alive))
        return loss

    one_repeat(quadratic(scales(9), training_step=step, training=UpdateOptions(accumulate=4)), recorder, steps=5)
    assert max(most[:20]) == 1  # after the last update no gradient is made


@pytest.mark.parametrize("precision", ["auto", "fp16"])
@pytest.mark.parametrize("clip", ["clip_norm", "clip_value"])
def test_the_gradient_is_clipped_before_the_step(recorder, clip, precision):
    training = UpdateOptions(precision=Precision(precision), **{clip: 2.0})
    trace = one_repeat(quadratic([(1.0, False)], training=training), recorder, steps=30, min_lr=1e-3, max_lr=0.3)
    x, expected, clipped = 3.0, [], []
    for rate in trace.lrs:
        gradient = CURVATURE * x
        clipped.append(gradient > 2.0)
        x -= rate * min(2.0, gradient)
        expected.append(0.5 * CURVATURE * x * x)
    assert len(trace.lrs) == 30
    assert set(clipped) == {True, False}
    assert trace.losses == pytest.approx(expected, rel=1e-5)  # torch adds 1e-6 to the norm


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"clip_norm": 0.0}, "clip_norm must be a finite number above 0, got 0.0"),
        ({"clip_norm": math.inf}, "clip_norm must be a finite number above 0, got inf"),
        ({"clip_value": -1.0}, "clip_value must be a finite number above 0, got -1.0"),
        ({"clip_value": math.nan}, "clip_value must be a finite number above 0, got nan"),
        ({"clip_norm": 1.0, "clip_value": 0.5}, r"clip_norm \(1\) and clip_value \(0.5\) can't both be given"),
    ],
)
def test_what_cant_be_meant(given, message):
    with pytest.raises(ValueError, match=message):
        UpdateOptions(**given)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_losses_of_one_update_are_averaged_in_single_precision_at_least(recorder, kind):
    """A mean of four is as fine again as what half precision tells apart; nothing of a wider one is lost."""
    least = torch.finfo(kind).eps
    step = lambda model, batch: (0 * model.x + batch).to(kind)  # noqa: E731
    batches = [torch.tensor(1 + least * (number == 3), dtype=kind) for number in range(4)]
    trace = one_repeat(quadratic(batches, training_step=step, training=UpdateOptions(accumulate=4)), recorder, steps=2)
    expected = 1 + least / 4 if kind.itemsize == 2 else torch.tensor(1 + least / 4, dtype=kind).item()
    assert (trace.initial_loss, *trace.losses) == (expected,) * 3


@pytest.mark.parametrize(
    ("clip", "layer", "kind"),
    [
        ("clip_norm", nn.Embedding(8, 1, sparse=True), "sparse"),
        ("clip_value", nn.Embedding(8, 1, sparse=True), "sparse"),
        ("clip_value", nn.Linear(1, 1, dtype=torch.complex64), "complex"),
    ],
)
def test_clipping_what_torch_can_t_clip_names_the_option(recorder, clip, layer, kind):
    """Torch itself raises NotImplementedError, with a page on its dispatcher."""
    batch = torch.arange(8) if kind == "sparse" else torch.ones(8, 1, dtype=torch.complex64)
    changes = {
        "model": layer,
        "train_loader": [batch],
        "training_step": lambda model, x: model(x).abs().square().mean(),
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr),
        "training": UpdateOptions(**{clip: 1.0}),
    }
    problem = Problem(name="p", **changes)
    with pytest.raises(UsageError, match=f"{clip} can't be followed: a parameter has a {kind} gradient") as raised:
        run_sweep(problem, SweepSettings(steps=5, repeats=1), device=torch.device("cpu"), observer=recorder())
    assert f"--{clip.replace('_', '-')} out" in raised.value.hint
