"""The same on a GPU; run where there is one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder.engine.preparation
import lrfinder.engine.sweep
from lrfinder.engine.cuda_graphs.capture import CudaGraphCapture
from lrfinder.engine.run_queue import RunQueue
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.engine.vectorized import runs as together
from lrfinder.engine.vectorized.models import VmappedModels
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Graph, Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
CUDA = torch.device("cuda")
SETTINGS = SweepSettings(steps=20, repeats=2, min_lr=1e-4, max_lr=1e-2)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def problem_with(model, optimizer, **changes):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=16, shuffle=True)
    given = {"name": "p", "model": model, "optimizer": optimizer, "train_loader": loader}
    return Problem(**(given | {"loss_fn": nn.functional.mse_loss} | changes))


def state(model, optimizer):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors |= {f"{id(p)} {key}": value for p, s in optimizer.state.items() for key, value in s.items()}
    return {
        name: (id(value), value.device, value.data_ptr(), value.tolist(), id(value.grad) if value.is_leaf else None)
        for name, value in tensors.items()
    }


@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_a_live_model_and_its_used_optimizer_go_and_come_back(recorder, home):
    model = make_model().to(home)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        model(torch.randn(8, 4, device=home)).square().mean().backward()
        optimizer.step()
    before = state(model, optimizer)
    cuda_generator, cpu_generator = torch.cuda.get_rng_state_all(), torch.get_rng_state()
    for _ in range(2):
        observer = recorder()
        traces = run_sweep(problem_with(model, optimizer), SETTINGS, device=CUDA, observer=observer)
        assert [trace.stop for trace in traces] == [Stop.COMPLETED] * 2
        assert observer.setups[0].device.startswith("cuda (")
        assert state(model, optimizer) == before
        assert all(map(torch.equal, torch.cuda.get_rng_state_all(), cuda_generator))
        assert torch.equal(torch.get_rng_state(), cpu_generator)


def test_the_same_curve_as_on_the_cpu(recorder):
    def curve(device):
        problem = problem_with(make_model, lambda params, lr: torch.optim.SGD(params, lr=lr))
        return run_sweep(problem, SETTINGS, device=torch.device(device), observer=recorder())[0]

    there, here = curve("cuda"), curve("cpu")
    assert there.losses == pytest.approx(here.losses, rel=1e-3)  # TF32 and other orders of summation
    assert there.lrs == here.lrs


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_the_loop_of_torch_s_own_manual(recorder, precision):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(inputs, 30 * inputs.sum(1, keepdim=True)), batch_size=16)
    problem = problem_with(
        make_model, lambda params, lr: torch.optim.SGD(params, lr=lr), train_loader=loader,
        training=UpdateOptions(precision=Precision(precision)),
    )  # fmt: skip
    trace = run_sweep(problem, SETTINGS, device=CUDA, observer=recorder())[0]
    assert (trace.skipped > 0) == (precision == "fp16")
    model = make_model().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
    losses, applied, fresh = [], 0, True
    for x, y in itertools.chain.from_iterable(itertools.repeat(loader)):
        with torch.autocast("cuda", dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[precision]):
            loss = nn.functional.mse_loss(model(x.cuda()), y.cuda())
        losses += [loss.item()] if fresh else []
        if applied == len(trace.lrs):
            break
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        optimizer.param_groups[0]["lr"] = trace.lrs[applied]
        before = model[0].weight.clone()
        scaler.step(optimizer)
        scaler.update()
        fresh = not torch.equal(before, model[0].weight)
        applied += fresh
    assert [trace.initial_loss, *trace.losses] == pytest.approx(losses, rel=1e-2)


def test_a_model_over_two_devices_stays_there_and_comes_back(recorder):
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.here, self.there = nn.Linear(4, 8), nn.Linear(8, 1).cuda()

        def forward(self, batch):
            return self.there(self.here(batch.cpu()).tanh().cuda())

    torch.manual_seed(0)
    model = Split()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = state(model, optimizer)
    for training in (
        UpdateOptions(),
        UpdateOptions(clip_norm=1.0),
        UpdateOptions(precision=Precision.FP16, accumulate=2),
    ):
        traces = run_sweep(
            problem_with(model, optimizer, training=training), SETTINGS, device=CUDA, observer=recorder()
        )
        assert [trace.stop for trace in traces] == [Stop.COMPLETED] * 2
        assert state(model, optimizer) == before


def test_memory_that_ran_out(recorder):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = state(model, optimizer)
    step = lambda model, batch: model(batch[0]).mean() + torch.empty(2**50, device="cuda").sum()  # noqa: E731
    with pytest.raises(EnvironmentFailure, match="out of memory"):
        run_sweep(problem_with(model, optimizer, training_step=step), SETTINGS, device=CUDA, observer=recorder())
    assert state(model, optimizer) == before


def tokens_and_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 256), nn.Linear(256, 1))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("changes", [{}, {"clip_norm": 1.0}, {"accumulate": 2}, {"precision": Precision.BF16}])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_no_update_waits_for_the_device(recorder, pinned, changes, make):
    """torch itself raises at any call that waits; the first two updates allocate and load kernels."""
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    calls = itertools.count()

    def step(model, batch):
        if next(calls) == 2 * changes.get("accumulate", 1):
            torch.cuda.set_sync_debug_mode("error")
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    class Observer(recorder):
        def repeat_ended(self, trace):
            torch.cuda.set_sync_debug_mode("default")
            super().repeat_ended(trace)

    problem = problem_with(
        tokens_and_layers,
        lambda params, lr: make(params, lr=lr),
        train_loader=DataLoader(data, batch_size=16, pin_memory=pinned),
        training_step=step,
        training=UpdateOptions(**changes),
    )
    settings = SweepSettings(steps=30, repeats=1, min_lr=1e-5, max_lr=1e-3)
    try:
        (trace,) = run_sweep(problem, settings, device=CUDA, observer=Observer())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (trace.stop, len(trace.losses)) == (Stop.COMPLETED, 30)


@pytest.mark.parametrize("precision", [Precision.AUTO, Precision.BF16])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_recorded_updates_measure_what_plain_ones_do(recorder, make, precision):
    """Twelve batches of 16 and one of 8, which is no recording's: of 64 x 3 + 8 samples, in two passes and more."""
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    plain, recorded = recorder(), recorder()
    for observer, graph in ((plain, Graph.OFF), (recorded, Graph.ON)):
        problem = problem_with(
            tokens_and_layers,
            lambda params, lr: make(params, lr=lr),
            train_loader=DataLoader(data, batch_size=16, pin_memory=True),
            training=UpdateOptions(graph=graph, precision=precision),
        )
        settings = SweepSettings(steps=30, repeats=2, min_lr=1e-5, max_lr=1e-3)
        run_sweep(problem, settings, device=CUDA, observer=observer)
    assert recorded.setups[0].graph == ""
    for one, other in zip(plain.traces, recorded.traces, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=0.02 if precision is Precision.BF16 else 1e-3)


def test_what_cuda_cannot_record_is_swept_without(recorder):
    def asking(model, batch):
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        return loss if loss.item() < 1e9 else 0 * loss

    observers = [recorder(), recorder()]
    for observer, graph in zip(observers, (Graph.OFF, Graph.AUTO), strict=True):
        problem = problem_with(
            tokens_and_layers,
            lambda params, lr: torch.optim.SGD(params, lr=lr),
            training_step=asking,
            training=UpdateOptions(graph=graph),
        )
        run_sweep(problem, SETTINGS, device=CUDA, observer=observer)
    assert "synchronizing" in observers[1].setups[0].graph
    assert observers[0].traces == observers[1].traces


def test_after_a_recording_that_failed_the_generator_and_the_stream_are_usable():
    recorder, stream = CudaGraphCapture(CUDA), torch.cuda.current_stream()
    numbers = torch.ones(4, device=CUDA)
    before = torch.cuda.get_rng_state()

    def work():
        drawn = nn.functional.dropout(numbers)
        return drawn if drawn.sum().item() else numbers  # no capture can wait for it

    with pytest.raises(RuntimeError):
        recorder.capture(work)
    torch.cuda.synchronize()
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert set(nn.functional.dropout(numbers).tolist()) <= {0.0, 2.0}


def test_runs_that_are_stacked_say_what_they_say_one_by_one(recorder, monkeypatch):
    monkeypatch.setattr(together, "KINDS", {"cuda": dataclasses.replace(together.KINDS["cuda"], clock=lambda: 0.0)})
    stacks = []
    monkeypatch.setattr(together, "VmappedModels", lambda *given: stacks.append(VmappedModels(*given)) or stacks[-1])
    problem = problem_with(
        lambda: nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1)),
        lambda params, lr: torch.optim.AdamW(params, lr=lr),
    )
    plans = [RunPlan(lr=lr, steps=20) for lr in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
    with RunQueue(problem, seed=0, device=CUDA, observer=recorder()) as runs:
        made = list(runs.run_all(plans))
    with ShortRuns(problem, seed=0, device=CUDA, observer=recorder()) as runs:
        alone = [runs.run(plan) for plan in plans]
    assert stacks
    assert [run.loss for run in made] == pytest.approx([run.loss for run in alone], rel=1e-2)


@pytest.mark.parametrize("at", [1, 3, 8, 13])
@pytest.mark.parametrize("ends", ["nan", "error", "ctrl-c"])
def test_what_is_read_late_is_what_is_waited_for(recorder, monkeypatch, at, ends):
    def traces():
        calls = itertools.count()

        def step(model, batch):
            loss = nn.functional.mse_loss(model(batch[0]), batch[1])
            if next(calls) != at:
                return loss
            if ends == "error":
                raise ValueError("mine")
            if ends == "ctrl-c":
                signal.raise_signal(signal.SIGINT)
            return loss * math.nan

        observer = recorder()
        problem = problem_with(make_model, lambda params, lr: torch.optim.SGD(params, lr=lr), training_step=step)
        with contextlib.suppress(ValueError):
            run_sweep(problem, dataclasses.replace(SETTINGS, repeats=1), device=CUDA, observer=observer)
        (trace,) = observer.traces
        return trace.stop, trace.updates, trace.lrs, str(trace.losses), trace.why.partition(":")[0]

    late = traces()
    monkeypatch.setattr(lrfinder.engine.preparation, "readback_for", lambda *_: None)
    assert late == traces()


@pytest.mark.parametrize("pinned", [True, False])
def test_reading_ahead_changes_no_number(recorder, monkeypatch, pinned):
    """Large batches, so that a copy that isn't waited for, or memory that is given away too early, would show."""
    inputs = torch.randn(256, 40_000, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(inputs, inputs[:, :1].clone()), batch_size=64, pin_memory=pinned)

    def curve():
        problem = problem_with(
            lambda: nn.Linear(40_000, 1), lambda params, lr: torch.optim.SGD(params, lr=lr), train_loader=loader
        )
        settings = dataclasses.replace(SETTINGS, min_lr=1e-8, max_lr=1e-6, repeats=1, steps=60)
        return run_sweep(problem, settings, device=CUDA, observer=recorder())[0].losses

    ahead = curve()
    monkeypatch.setattr(lrfinder.engine.preparation, "read_ahead", lambda _, batches, *__, **___: batches)
    assert ahead == pytest.approx(curve(), rel=1e-5)


def test_a_sweep_takes_no_more_device_memory_than_a_bare_loop(recorder):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 1))

    inputs = torch.randn(512, 512)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=128)

    def peak(work):
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def bare():
        model = make().cuda()
        optimizer = torch.optim.AdamW(model.parameters())
        for x, y in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), 20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x.cuda()), y.cuda()).backward()
            optimizer.step()

    def ours():
        problem = problem_with(make, lambda params, lr: torch.optim.AdamW(params, lr=lr), train_loader=loader)
        run_sweep(problem, dataclasses.replace(SETTINGS, repeats=1), device=CUDA, observer=recorder())

    bare()  # what the libraries keep for themselves is there
    assert peak(ours) <= 1.01 * peak(bare)


def test_auto():
    assert choose_device("auto") == CUDA
