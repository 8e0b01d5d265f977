"""Repeats, seeds, what the observer is told, and failures of the user's code and of the machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers.problems import CPU
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure, ModelFileError, user_code_location
from lrfinder.records import Precision, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

INPUTS = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True)
SHORT = SweepSettings(steps=6, repeats=1, min_lr=1e-4, max_lr=1e-2)


def regression(**changes):
    given = {
        "name": "regression",
        "where": "model.py",
        "model": lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.Linear(4, 1)),
        "train_loader": lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8, shuffle=True),
        "loss_fn": nn.functional.mse_loss,
    }
    return Problem(**(given | changes))


def test_the_same_seed_gives_the_same_bits_and_repeats_and_seeds_differ(recorder):
    def sweep(seed):
        torch.rand(seed + 1), torch.manual_seed(torch.seed())  # wherever the generators were before
        settings = SweepSettings(steps=15, repeats=3, max_lr=1e-2, seed=seed)
        return run_sweep(regression(), settings, device=CPU, observer=recorder())

    once, again, other = sweep(0), sweep(0), sweep(1)
    assert once == again
    starts = [trace.initial_loss for trace in (*once, *other)]
    assert len(set(starts)) == len(starts) == 6
    assert len({trace.seed for trace in (*once, *other)}) == 6


def test_repeats_of_a_live_model_see_other_batches_although_the_loader_has_its_own_generator(recorder):
    loader = DataLoader(
        TensorDataset(INPUTS, TARGETS), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    problem = regression(model=nn.Linear(3, 1), train_loader=loader)
    sweeps = [run_sweep(problem, SweepSettings(steps=9, repeats=3), device=CPU, observer=recorder()) for _ in range(2)]
    assert sweeps[0] == sweeps[1]
    assert len({trace.initial_loss for trace in sweeps[0]}) == 3


def test_repeats_have_epochs_of_their_own_for_samplers_that_shuffle_by_epoch(recorder):
    dataset = TensorDataset(INPUTS, TARGETS)
    sampler = torch.utils.data.DistributedSampler(dataset, num_replicas=1, rank=0)
    problem = regression(model=nn.Linear(3, 1), train_loader=DataLoader(dataset, batch_size=8, sampler=sampler))
    traces = run_sweep(problem, SweepSettings(steps=20, repeats=3), device=CPU, observer=recorder())
    assert len({trace.initial_loss for trace in traces}) == 3
    assert sampler.epoch == 0


def test_what_the_observer_is_told_and_when(recorder):
    observer = recorder()
    settings = SweepSettings(steps=2, repeats=2)
    traces = run_sweep(regression(), settings, device=CPU, observer=observer)
    each = ["measured 0", "measured 1"]
    assert observer.calls == ["started 0", "prepared", *each, "ended 0", "started 1", *each, "ended 1"]
    assert tuple(observer.traces) == traces
    (setup,) = observer.setups
    assert (setup.model, setup.parameters, setup.loss) == ("regression", 21, "loss_fn mse_loss")
    assert (setup.batch_size, setup.batches_per_epoch) == (8, 8)
    assert (setup.optimizer.name, setup.optimizer.chosen_by) == ("AdamW", "default")
    assert setup.optimizer.settings["betas"] == (0.9, 0.999)
    assert (setup.device, setup.torch) == ("cpu", torch.__version__)


def test_the_setup_is_known_before_the_first_update_and_after_an_inferred_loss(recorder):
    updates = []

    class Counting(torch.optim.SGD):
        def step(self, closure=None):
            updates.append(1)
            return super().step(closure)

    class Listener(recorder):
        def prepared(self, setup):
            super().prepared(setup)
            assert not updates

    observer = Listener()
    problem = regression(loss_fn=None, optimizer=lambda params, lr: Counting(params, lr=lr))
    run_sweep(problem, SHORT, device=CPU, observer=observer)
    assert observer.setups[0].loss == "mean squared error (inferred: the target is float32)"
    assert observer.setups[0].optimizer.name == "Counting"


def failing_at(call, error):
    calls = [0]

    def function(output, target):
        calls[0] += 1
        if calls[0] == call:
            raise error
        return nn.functional.mse_loss(output, target)

    return function


def test_an_exception_of_the_user_s_code_passes_through_as_it_is_with_the_trace_kept(recorder):
    observer = recorder()
    error = KeyError("no such thing")
    with pytest.raises(KeyError) as raised:
        run_sweep(regression(loss_fn=failing_at(5, error)), SHORT, device=CPU, observer=observer)
    assert raised.value is error
    assert user_code_location(error) == "calling loss_fn(output, target)"
    (trace,) = observer.traces
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.FAILED, 4, 3)
    assert trace.why == "KeyError: 'no such thing' (while calling loss_fn(output, target))"


def test_places_of_backward_step_and_batch(recorder):
    class BadBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("backward")

    class BadStep(torch.optim.SGD):
        def step(self, closure=None):
            raise ValueError("step")

    def bad_batches():
        yield INPUTS, TARGETS
        raise ValueError("batch")

    places = {
        "running loss.backward() before update 0": {
            "loss_fn": lambda output, target: BadBackward.apply(nn.functional.mse_loss(output, target))
        },
        "calling optimizer.step() for update 0": {"optimizer": lambda params, lr: BadStep(params, lr=lr)},
        "getting batch 1 of train_loader": {"train_loader": bad_batches},
    }
    for place, changes in places.items():
        with pytest.raises(ValueError, match=r"^(backward|step|batch)$") as raised:
            run_sweep(regression(**changes), SHORT, device=CPU, observer=recorder())
        assert user_code_location(raised.value) == place


def test_an_exception_of_the_observer_ends_the_sweep_and_everything_is_restored(recorder):
    class FullDisk(recorder):
        def measured(self, point):
            raise OSError(28, "No space left on device")

    model = nn.Linear(3, 1)
    weights = model.weight.detach().clone()
    with pytest.raises(OSError, match="No space left"):
        run_sweep(regression(model=model), SHORT, device=CPU, observer=FullDisk())
    assert torch.equal(model.weight, weights)


def test_model_that_returns_the_same_object_each_time_is_refused(recorder):
    net = nn.Linear(3, 1)
    with pytest.raises(ModelFileError, match=r"model.py: model\(\) returned the same object"):
        run_sweep(regression(model=lambda: net), SweepSettings(steps=3), device=CPU, observer=recorder())


def test_an_empty_loader_is_an_error_and_not_an_endless_loop(recorder):
    empty = DataLoader(TensorDataset(INPUTS[:3], TARGETS[:3]), batch_size=8, drop_last=True)
    for loader in (empty, [], iter([]), lambda: iter([])):
        with pytest.raises(ModelFileError, match=r"model.py: train_loader gave no batch"):
            run_sweep(regression(train_loader=loader), SHORT, device=CPU, observer=recorder())


def test_a_live_generator_runs_dry_and_ends_the_sweep(recorder):
    batches = ((INPUTS, TARGETS) for _ in range(10))
    traces = run_sweep(
        regression(train_loader=batches), SweepSettings(steps=6, repeats=5), device=CPU, observer=recorder()
    )
    assert [(trace.stop, trace.updates, len(trace.losses)) for trace in traces] == [
        (Stop.COMPLETED, 6, 6),
        (Stop.OUT_OF_DATA, 3, 2),
    ]
    assert "3 of 6 updates made" in traces[1].why
    spent = run_sweep(regression(train_loader=iter([(INPUTS, TARGETS)])), SHORT, device=CPU, observer=recorder())
    assert (spent[0].updates, spent[0].losses, spent[0].stop) == (1, (), Stop.OUT_OF_DATA)


def test_a_generator_function_is_called_again_when_its_data_ends(recorder):
    def batches():
        for rows in range(0, 24, 8):
            yield INPUTS[rows : rows + 8], TARGETS[rows : rows + 8]

    settings = SweepSettings(steps=10, repeats=2, max_lr=1e-2)
    traces = run_sweep(regression(train_loader=batches), settings, device=CPU, observer=recorder())
    assert [(trace.stop, len(trace.losses)) for trace in traces] == [(Stop.COMPLETED, 10)] * 2


def test_memory_that_ran_out_is_the_environment_s_failure(recorder):
    observer = recorder()
    problem = regression(loss_fn=lambda output, target: (output - target).mean() + torch.empty(10**15).sum())
    with pytest.raises(EnvironmentFailure, match="out of memory") as raised:
        run_sweep(problem, SHORT, device=CPU, observer=observer)
    assert "batch" in raised.value.hint
    assert observer.traces[0].stop is Stop.FAILED


class Deadly(Dataset):
    """Ends the worker that reads sample 40 in the way that is asked for."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index >= 40:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "exits":
                os._exit(7)
            if self.how == "hangs":
                time.sleep(60)
            raise ValueError("sample 40")
        return INPUTS[index], TARGETS[index]


def worker_problem(how, **options):
    return regression(train_loader=DataLoader(Deadly(how), batch_size=8, **({"num_workers": 2} | options)))


@pytest.mark.skipif(sys.platform == "win32", reason="signals between processes")
@pytest.mark.parametrize(
    ("how", "options"), [("killed", {}), ("exits", {}), ("hangs", {"timeout": 1, "num_workers": 1})]
)
def test_a_worker_that_dies_or_hangs_is_named_and_none_is_left(recorder, how, options):
    with pytest.raises(EnvironmentFailure, match="DataLoader") as raised:
        run_sweep(worker_problem(how, **options), SHORT, device=CPU, observer=recorder())
    assert "num_workers=0" in raised.value.hint
    assert multiprocessing.active_children() == []  # although the exception still holds the frames


def test_an_exception_in_a_worker_is_the_user_s_and_no_worker_is_left(recorder):
    with pytest.raises(ValueError, match="sample 40"):
        run_sweep(worker_problem("raises"), SHORT, device=CPU, observer=recorder())
    assert multiprocessing.active_children() == []


def end_workers_of(loader: DataLoader) -> None:
    """End the persistent workers here, or the next test would see them until their iterator is collected."""
    if loader._iterator is not None:
        loader._iterator._shutdown_workers()


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_end_with_the_sweep_and_the_loader_still_works(recorder, persistent):
    loader = DataLoader(
        TensorDataset(INPUTS, TARGETS), batch_size=16, num_workers=2, shuffle=True, persistent_workers=persistent
    )
    sweeps = [
        run_sweep(
            regression(train_loader=loader),
            SweepSettings(steps=9, repeats=2, max_lr=1e-2),
            device=CPU,
            observer=recorder(),
        )
        for _ in range(2)
    ]
    assert multiprocessing.active_children() == []
    assert sweeps[0] == sweeps[1]
    assert [trace.updates for trace in sweeps[0]] == [9, 9]
    assert len(list(loader)) == 4
    end_workers_of(loader)


def test_workers_that_the_user_started_are_left_alone(recorder):
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=16, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 4
    before = [child.pid for child in multiprocessing.active_children()]
    run_sweep(regression(train_loader=loader), SweepSettings(steps=9, repeats=2), device=CPU, observer=recorder())
    assert [child.pid for child in multiprocessing.active_children()] == before
    assert len(list(loader)) == 4
    end_workers_of(loader)


@pytest.mark.parametrize("taken", [1, 3])
def test_the_epochs_of_repeats_lie_side_by_side(recorder, taken):
    """A sampler shuffles by the epoch alone: no two repeats share one, and only that of a probe is left out."""

    class Told(list):
        epochs: list[int]

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    loader = Told([(INPUTS, TARGETS)])
    loader.epochs = told = []
    what = regression(train_loader=loader, training=UpdateOptions(accumulate=taken))
    run_sweep(what, SweepSettings(steps=4, repeats=3, max_lr=1e-2), device=CPU, observer=recorder())
    batches = 5 * taken  # those of the last update's loss too; each is a whole pass here
    assert told == [repeat * (batches + 1) + epoch for repeat in range(3) for epoch in range(batches)]


class ToData(torch.optim.Optimizer):
    """Writes to the data of the weights, as older optimizers do: torch doesn't count that."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.data -= group["lr"] * weight.grad


class Unused(nn.Linear):
    def __init__(self):
        super().__init__(3, 1)
        self.unused = nn.Linear(2, 2)


@pytest.mark.parametrize("precision", [Precision.AUTO, Precision.FP16])
@pytest.mark.parametrize("kind", [torch.optim.SGD, ToData])
@pytest.mark.parametrize("live", [False, True])
def test_weights_that_do_not_move_are_told_of_and_no_others(recorder, precision, kind, live):
    for name, moves in (("unused", False), ("", True)):
        problem = regression(
            model=Unused() if live else Unused,
            train_loader=[(torch.randn(8, 3), torch.randn(8, 1))],
            optimizer=lambda params, lr, name=name: kind([p for p in params if not name or p.shape[-1] == 2], lr=lr),
            training=UpdateOptions(precision=precision),
        )
        (trace,) = run_sweep(problem, SweepSettings(steps=8, repeats=1), device=CPU, observer=recorder())
        told = "no weight moved in 8 updates: optimizer.step() changed nothing, and no gradient is there"
        assert trace.note == ("" if moves else told)
        assert trace.updates == 8
