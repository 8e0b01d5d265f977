"""Memory that runs out: the same update from parts of the batch, from the beginning, or the clear failure."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
import lrfinder.engine.attempt
import lrfinder.engine.preparation
from helpers.problems import CPU, regression
from lrfinder.api.sweeping.measure import measure
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.runtime.memory import free_memory
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, Mode, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.store import load_run
from lrfinder.task.problem import Problem

INPUTS = torch.randn(96, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = INPUTS.sum(1, keepdim=True)
SETTINGS = SweepSettings(steps=12, repeats=2, min_lr=1e-4, max_lr=0.1, run_steps=10)
ERRORS = {
    "CUDA": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    "cuDNN": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "CPU": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate"),
}


class Limited:
    """The mean squared error, where `fits` says so; else an allocator gives up, as where training takes the memory."""

    def __init__(self, most: int, *, after: int = 0, error: str = "CUDA", always: bool = False) -> None:
        self.most, self.after, self.error, self.always = most, after, error, always
        self.calls = 0
        self.sizes: list[int] = []

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if len(output) > self.most and self.calls > self.after and (self.always or torch.is_grad_enabled()):
            failure = ERRORS[self.error]()
            raise failure
        if torch.is_grad_enabled():
            self.sizes.append(len(output))
        return nn.functional.mse_loss(output, target)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def problem(loss, **changes) -> Problem:
    return regression(
        **(
            {
                "model": net,
                "train_loader": lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=16, shuffle=True),
                "loss_fn": loss,
                "optimizer": lambda params, lr: torch.optim.Adam(params, lr=lr),
            }
            | changes
        )
    )


def sweep(recorder, loss, settings=SETTINGS, **changes):
    observer = recorder()
    traces = run_sweep(problem(loss, **changes), settings, device=CPU, observer=observer)
    assert tuple(observer.traces) == traces
    return traces


@pytest.mark.parametrize(("error", "most", "parts"), [("CUDA", 8, 2), ("cuDNN", 3, 8), ("CPU", 8, 2)])
def test_the_curve_is_that_of_whole_batches(recorder, error, most, parts) -> None:
    whole = sweep(recorder, nn.functional.mse_loss)
    limited = Limited(most, error=error)
    split = sweep(recorder, limited)
    assert max(limited.sizes) == 16 // parts
    for one, other in zip(whole, split, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-9)
        assert other.initial_loss == pytest.approx(one.initial_loss, rel=1e-12)
        assert (other.stop, other.updates, other.micro_batches) == (Stop.COMPLETED, 12, parts)
        assert f"computed in {parts} parts" in other.note
        assert "BatchNorm" not in other.note
        assert "not checked" not in other.note


@pytest.mark.parametrize("after", [1, 12, 20])
def test_wherever_memory_runs_out_the_repeat_begins_again_and_the_rest_is_split_alike(recorder, after) -> None:
    from_the_beginning = sweep(recorder, Limited(8))
    limited = Limited(8, after=after)
    traces = sweep(recorder, limited)
    began = 0 if after < 13 else 1  # thirteen losses a repeat
    assert [trace.micro_batches for trace in traces] == [2, 2] if began == 0 else [1, 2]
    assert [trace.losses for trace in traces][began:] == [trace.losses for trace in from_the_beginning][began:]
    spent = max(0, after - 13 * began)  # losses of the attempt that is void, and so its updates
    assert traces[began].updates == 12 + (spent if spent < 13 else 12)


@pytest.mark.parametrize(("metric", "accumulate"), [(Metric.TRAIN, 3), (Metric.PROBE, 1), (Metric.VAL, 3)])
def test_every_metric_and_accumulated_batches(recorder, metric, accumulate) -> None:
    changes = {
        "training": UpdateOptions(accumulate=accumulate, clip_norm=0.5),
        "val_loader": lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=40),
    }
    settings = dataclasses.replace(SETTINGS, metric=metric)
    whole = sweep(recorder, nn.functional.mse_loss, settings, **changes)
    split = sweep(recorder, Limited(4), settings, **changes)
    for one, other in zip(whole, split, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-9)
        assert other.micro_batches == 4


@pytest.mark.parametrize("kind", ["live", "LBFGS", "short last batch"])
def test_live_objects_closures_and_a_batch_that_is_shorter_than_the_parts(recorder, kind) -> None:
    def changes():
        torch.manual_seed(0)
        model = net()
        if kind == "live":
            return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)}
        if kind == "LBFGS":
            return {"optimizer": lambda params, lr: torch.optim.LBFGS(params, lr=lr, max_iter=3)}
        return {"train_loader": [(INPUTS[:16], TARGETS[:16]), (INPUTS[16:17], TARGETS[16:17])]}

    whole = sweep(recorder, nn.functional.mse_loss, **changes())
    given = changes()
    before = [value.clone() for value in given["model"].parameters()] if kind == "live" else []
    split = sweep(recorder, Limited(4, after=9), **given)
    for one, other in zip(whole, split, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-6)
    if before:
        assert all(map(torch.equal, before, given["model"].parameters()))
        assert given["optimizer"].state == {}


def test_batch_norm_is_warned_of_and_sees_parts(recorder) -> None:
    seen: list[int] = []

    class Norm(nn.BatchNorm1d):
        def forward(self, x):
            if self.training:
                seen.append(len(x))
            return super().forward(x)

    traces = sweep(
        recorder, Limited(8), model=lambda: nn.Sequential(nn.Linear(3, 8), Norm(8), nn.Linear(8, 1)).double()
    )
    assert set(seen[1:]) == {8}
    assert "BatchNorm saw 8 samples at a time" in traces[0].note


def test_batch_norm_never_gets_a_single_sample(recorder) -> None:
    def model():
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).double()

    limited = Limited(4)
    batches = [(INPUTS[:16], TARGETS[:16]), (INPUTS[16:19], TARGETS[16:19])]
    sweep(recorder, limited, model=model, train_loader=batches)
    assert set(limited.sizes) == {4, 3}
    with pytest.raises(EnvironmentFailure, match="out of memory: CUDA"):
        sweep(recorder, Limited(1), model=model)


def test_a_sweep_that_is_carried_on_gives_batch_norm_no_single_sample_either() -> None:
    trial = SimpleNamespace(model=nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8)))
    carried = MicroBatching()
    carried.carry_on(SimpleNamespace(micro_batches=4, note="in 4 parts"))
    carried.check(trial, CPU, seed=0)
    assert [len(inputs) for _, (inputs, _) in carried.split((INPUTS[:5], TARGETS[:5]))] == [2, 3]
    assert carried.note == "in 4 parts"


def test_steps_in_the_backward_pass_have_no_parts(recorder) -> None:
    def in_backward(params, lr):
        optimizers = {p: torch.optim.SGD([p], lr=lr) for p in params}

        def step(p):
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in params:
            p.register_post_accumulate_grad_hook(step)
        return list(optimizers.values())

    (whole,) = sweep(recorder, Limited(16), dataclasses.replace(SETTINGS, repeats=1), optimizer=in_backward)
    assert whole.stop is Stop.COMPLETED
    with pytest.raises(EnvironmentFailure, match=r"^memory ran out, and batches can't be computed in parts: optimizer"):
        sweep(recorder, Limited(8), optimizer=in_backward)


def test_a_loss_that_is_a_sum_is_not_split(recorder) -> None:
    limited = Limited(8)
    loss = lambda output, target: limited(output, target) * output.numel()  # noqa: E731
    observer = recorder()
    with pytest.raises(EnvironmentFailure, match=r"out of memory: CUDA.*not a mean over samples.*50% off"):
        run_sweep(problem(loss), SETTINGS, device=CPU, observer=observer)
    assert observer.traces[0].stop is Stop.FAILED


def test_a_loss_that_is_nearly_a_mean_over_samples_is_told_of(recorder) -> None:
    limited = Limited(8)
    weights = torch.linspace(1.0, 1.1, 16, dtype=torch.float64)[:, None]

    def loss(output, target):
        limited(output, target)
        share = weights[: len(output)]
        return (share * (output - target).square()).sum() / share.sum()

    (trace, _) = sweep(recorder, loss)
    assert "is no mean over samples" in trace.note


def test_where_the_whole_batch_never_fits_the_note_says_that_it_was_not_checked(recorder) -> None:
    traces = sweep(recorder, Limited(1, always=True))  # a single sample has no halves
    assert "was not checked" in traces[0].note
    assert [trace.micro_batches for trace in traces] == [16, 16]


def test_where_the_whole_batch_never_fits_a_part_and_its_halves_tell_a_sum_from_a_mean(recorder) -> None:
    assert "was not checked" not in sweep(recorder, Limited(8, always=True))[0].note
    limited = Limited(8, always=True)
    loss = lambda output, target: limited(output, target) * output.numel()  # noqa: E731
    with pytest.raises(EnvironmentFailure, match=r"not a mean over samples.*50% off"):
        sweep(recorder, loss)


@pytest.mark.parametrize(
    "batches", [[(INPUTS[:1], TARGETS[:1])], [[INPUTS, TARGETS, object()]]], ids=["one sample", "an unknown object"]
)
def test_what_can_t_be_split_is_the_failure_that_it_was(recorder, batches) -> None:
    observer = recorder()
    step = lambda model, batch: Limited(0)(model(batch[0]), batch[1])  # noqa: E731
    changes = {"train_loader": batches, "training_step": step}
    with pytest.raises(EnvironmentFailure, match="out of memory: CUDA out of memory") as raised:
        run_sweep(problem(None, **changes), SETTINGS, device=CPU, observer=observer)
    assert "--batch-size" in raised.value.hint
    assert [trace.stop for trace in observer.traces] == [Stop.FAILED]
    assert observer.traces[0].micro_batches == 1


def test_memory_of_the_loader_and_of_the_model_is_no_matter_of_the_batch(recorder) -> None:
    calls: list[int] = []

    def batches():
        calls.append(1)
        yield INPUTS[:16], TARGETS[:16]
        raise MemoryError

    with pytest.raises(EnvironmentFailure, match="out of memory"):
        sweep(recorder, nn.functional.mse_loss, train_loader=batches)
    assert len(calls) == 1


def test_nothing_of_the_failed_attempt_is_alive_when_the_next_one_begins(recorder) -> None:
    import weakref

    alive: list[weakref.ref] = []

    def make():
        assert all(reference() is None for reference in alive)
        model = net()
        alive.append(weakref.ref(model))
        return model

    sweep(recorder, Limited(8, after=5), SweepSettings(steps=12, repeats=1), model=make)
    assert len(alive) == 2


def test_short_runs_carry_on_with_the_split_and_the_folder_is_whole(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = lrfinder.sweep(
            net,
            train_loader=lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=16, shuffle=True),
            loss_fn=Limited(8, after=30),
            out=tmp_path / "run",
            steps=20,
            min_lr=1e-4,
            max_lr=1.0,
            run_steps=10,
            device="cpu",
        )
    assert [trace.micro_batches for trace in result.traces] == [1, 2]
    assert {run.micro_batches for run in result.runs} == {2}
    assert len(result.notes) == 1
    stored = load_run(tmp_path / "run")
    assert stored.traces == result.traces
    assert stored.runs == result.runs


def test_a_short_run_that_runs_out_begins_again() -> None:
    whole = measure(problem(nn.functional.mse_loss), dataclasses.replace(SETTINGS, mode=Mode.RESTART), device="cpu")
    split = measure(problem(Limited(8, after=35)), dataclasses.replace(SETTINGS, mode=Mode.RESTART), device="cpu")
    assert [run.plan for run in split.runs] == [run.plan for run in whole.runs]
    assert [run.loss for run in split.runs] == pytest.approx([run.loss for run in whole.runs], rel=1e-6)
    assert {run.micro_batches for run in split.runs} == {1, 2}
    assert split.updates > whole.updates


FULL_GPU = """
import torch
from helpers.problems import Recorder
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import SweepSettings
from lrfinder.task.problem import Problem

cuda = torch.device("cuda")
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 8)), batch_size=64)

def step(model, batch):
    filled = batch[0][:, :1] * torch.ones(2**20, device=cuda)  # 4 MiB a sample
    return model(batch[0]).square().mean() + 0 * filled.mean()

for share in (1.0, 200 * 2**20 / torch.cuda.get_device_properties(0).total_memory):  # room for half of them
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(share)
    what = Problem(name="p", model=lambda: torch.nn.Linear(8, 8), train_loader=loader, training_step=step)
    trace = run_sweep(what, SweepSettings(steps=5, repeats=1, max_lr=1e-3), device=cuda, observer=Recorder())[0]
    print(trace.micro_batches, *trace.losses)
"""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_real_gpu_that_is_full() -> None:
    """In a process of its own: what other tests left in the device's memory would count."""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", FULL_GPU],
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    (one, *whole), (two, *split) = ([*map(float, line.split())] for line in done.stdout.splitlines())
    assert (one, two) == (1, 2), done.stderr
    assert split == pytest.approx(whole, rel=1e-3)


def test_what_begins_anew_begins_from_the_same_weights_with_the_memory_freed(recorder, monkeypatch) -> None:
    freed = []
    monkeypatch.setattr(lrfinder.engine.attempt, "free_memory", freed.append)
    parts = []
    monkeypatch.setattr(
        lrfinder.engine.preparation,
        "read_ahead",
        lambda _, batches, *__, micro_batches: parts.append(micro_batches) or batches,
    )
    model, batch = net(), (INPUTS[:16], TARGETS[:16])

    def made(loss):
        what = problem(loss, model=model, train_loader=[batch], val_loader=[batch])
        (trace,) = run_sweep(
            what, SweepSettings(steps=4, repeats=1, min_lr=1e-4, max_lr=0.1), device=CPU, observer=recorder()
        )
        loss.calls = 0
        observer = recorder()
        with ShortRuns(what, seed=0, device=CPU, observer=observer) as runs:
            run = runs.run(RunPlan(lr=0.01, steps=4))
        assert observer.runs == [run]
        return trace, run

    whole, whole_run = made(Limited(16))
    assert (freed, parts) == ([], [1, 1])
    parts.clear()
    trace, run = made(Limited(8, after=3))
    assert freed == [CPU, CPU]
    assert parts == [1, 2, 1, 2], "a GPU reads no whole batch ahead that it has no room for"
    assert (trace.initial_loss, *trace.losses) == pytest.approx((whole.initial_loss, *whole.losses), rel=1e-9)
    assert (run.initial_loss, run.loss) == pytest.approx((whole_run.initial_loss, whole_run.loss), rel=1e-9)
    # The fourth loss had no room; of a short run one was that of the held-out batch.
    assert (trace.updates, run.updates) == (3 + 4, 2 + 4)
    assert {made.note for made in (trace, run)} == {
        "memory ran out, so each batch was computed in 2 parts and its gradient summed"
    }


@pytest.mark.parametrize(("device", "emptied"), [("cpu", []), ("cuda:1", ["cuda"]), ("mps", ["mps"])])
def test_what_nothing_refers_to_goes_and_the_cache_of_the_device_with_it(monkeypatch, device, emptied) -> None:
    did = []
    monkeypatch.setattr("gc.collect", lambda: did.append("collected"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: did.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: did.append("mps"))
    free_memory(torch.device(device))
    assert did == ["collected", *emptied]
