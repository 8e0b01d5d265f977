"""Models and optimizers of every kind: trained as a bare loop trains them, and given back bit for bit."""

from __future__ import annotations

import copy
import itertools

import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn
from torch.nn.utils import parametrizations

from helpers.pictures import picture
from helpers.problems import CPU
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import RunPlan, Stop, SweepSettings
from lrfinder.task.problem import Problem

# torch's own Adagrad makes sparse tensors that it doesn't check, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
SETTINGS = SweepSettings(repeats=2, steps=12, min_lr=1e-4, max_lr=3e-2)
draw = torch.Generator().manual_seed(0)
ROWS = [torch.randn(8, 6, generator=draw) for _ in range(3)]
IMAGES = [torch.randn(4, 3, 8, 8, generator=draw) for _ in range(3)]
WORDS = [torch.randint(0, 20, (8, 4), generator=draw) for _ in range(3)]


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 5, sparse=True)

    def forward(self, batch):
        return self.table(batch).sum(1)


class Tied(nn.Module):
    """A weight under two names, one used across, and a part that is frozen."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.still = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.across = self.first.weight
        self.still.requires_grad_(False)

    def forward(self, batch):
        return self.still(self.second(self.first(batch).tanh())) @ self.across


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.phases = nn.Parameter(torch.randn(6, 3, dtype=torch.complex64))

    def forward(self, batch):
        return (batch.to(torch.complex64) @ self.phases).abs()


class Averaged(nn.Module):
    """A model with its exponential moving average beside it, moved on in each training pass."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        self.average = torch.optim.swa_utils.AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)

    def forward(self, batch):
        if self.training:
            self.average.update_parameters(self.net)
        return self.net(batch) + 0.1 * self.average(batch).detach()


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def norms():
    """Normalizations, one of them frozen in its mode for evaluation, and a dropout that is off."""
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    model[1].eval()
    model[3].eval()
    return model


def channels_last():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    return model.to(memory_format=torch.channels_last)


def parametrized():
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(6, 6)),
        parametrizations.spectral_norm(nn.Linear(6, 6)),
        parametrizations.orthogonal(nn.Linear(6, 6)),
    )


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def with_a_group_at_zero(parameters):
    first, *others = parameters
    return torch.optim.AdamW([{"params": [first], "lr": 0.0}, {"params": others, "lr": 0.01}], weight_decay=0.1)


KINDS = {
    "sparse, SGD": (Words, lambda p: torch.optim.SGD(p, lr=0.01), WORDS),
    "sparse, SparseAdam": (Words, lambda p: torch.optim.SparseAdam(list(p), lr=0.01), WORDS),
    "sparse, Adagrad": (Words, lambda p: torch.optim.Adagrad(p, lr=0.01), WORDS),
    "tied and frozen": (Tied, lambda p: sgd([q for q in p if q.requires_grad]), ROWS),
    "complex, SGD": (Waves, sgd, ROWS),
    "complex, AdamW": (Waves, lambda p: torch.optim.AdamW(p, lr=0.01), ROWS),
    "average": (Averaged, lambda p: torch.optim.Adam([q for q in p if q.requires_grad], lr=0.01), ROWS),
    "modes": (norms, sgd, ROWS),
    "channels last": (channels_last, sgd, [x.to(memory_format=torch.channels_last) for x in IMAGES]),
    "parametrized": (parametrized, lambda p: torch.optim.Adam(p, lr=0.01), ROWS),
    "a group at 0": (mlp, with_a_group_at_zero, ROWS),
    "Prodigy": (mlp, lambda p: prodigyopt.Prodigy(p, lr=1.0, weight_decay=0.01), ROWS),
    "schedule-free AdamW": (mlp, lambda p: schedulefree.AdamWScheduleFree(p, lr=0.01), ROWS),
    "schedule-free SGD": (mlp, lambda p: schedulefree.SGDScheduleFree(p, lr=0.01, warmup_steps=3), ROWS),
}


def step(model, batch):
    return (model(batch) - 1).square().mean()


def used(kind, *, mode="train"):
    """Return a model of this kind and its optimizer after a few updates."""
    make_model, make_optimizer, batches = KINDS[kind]
    torch.manual_seed(1)
    model = make_model()
    optimizer = make_optimizer(model.parameters())
    if hasattr(optimizer, "train"):
        optimizer.train()
    for batch in batches:
        bare_update(model, optimizer, step(model, batch))
    if hasattr(optimizer, "eval"):
        getattr(optimizer, mode)()
    return model, optimizer, batches


def bare_update(model, optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def set_rates(optimizer, rate):
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["lr"] *= rate / largest


def problem(model, optimizer, batches, **changes):
    given = {"name": "p", "model": model, "optimizer": optimizer, "train_loader": batches, "training_step": step}
    return Problem(**(given | changes))


@pytest.mark.parametrize(
    ("kind", "mode"), [*((kind, "train") for kind in KINDS), *((k, "eval") for k in KINDS if "schedule-free" in k)]
)
def test_a_sweep_is_a_bare_loop_and_everything_comes_back(recorder, kind, mode):
    model, optimizer, batches = mine = used(kind, mode=mode)
    bare_model, bare_optimizer = copy.deepcopy((model, optimizer))
    before = picture(mine, set())
    traces = run_sweep(problem(model, optimizer, batches), SETTINGS, device=CPU, observer=recorder())
    assert picture(mine, set()) == before
    assert [trace.stop for trace in traces] == [Stop.COMPLETED] * 2

    if mode == "eval":
        bare_optimizer.train()
    losses = []
    for rate, batch in zip([*traces[0].lrs, None], itertools.cycle(batches), strict=False):
        loss = step(bare_model, batch)
        losses.append(loss.item())
        if rate is not None:
            set_rates(bare_optimizer, rate)
            bare_update(bare_model, bare_optimizer, loss)
    for trace in traces:
        assert [trace.initial_loss, *trace.losses] == pytest.approx(losses, rel=1e-5)
    assert len(set(losses)) > 9  # Prodigy's first steps are too small to see


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_run_is_a_bare_loop_and_everything_comes_back(recorder, kind):
    model, optimizer, batches = mine = used(kind)
    bare_model, bare_optimizer = copy.deepcopy((model, optimizer))
    before = picture(mine, set())
    plan = RunPlan(lr=0.01, steps=10, schedule="constant")
    with ShortRuns(
        problem(model, optimizer, batches, val_loader=batches), seed=0, device=CPU, observer=recorder()
    ) as runs:
        first, second = runs.run(plan), runs.run(plan)
    assert picture(mine, set()) == before
    assert first == second

    for batch in itertools.islice(itertools.cycle(batches), 10):
        set_rates(bare_optimizer, 0.01)
        bare_update(bare_model, bare_optimizer, step(bare_model, batch))
    bare_model.eval()
    if hasattr(bare_optimizer, "eval"):
        bare_optimizer.eval()  # a schedule-free optimizer judges other weights than it trains
    with torch.no_grad():
        judged = sum(step(bare_model, batch).item() for batch in batches) / len(batches)
    assert first.loss == pytest.approx(judged, rel=1e-5)


def test_a_schedule_free_optimizer_that_is_made_anew_is_trained_and_judged(recorder):
    anew = problem(mlp, lambda params, lr: schedulefree.AdamWScheduleFree(params, lr=lr), ROWS, val_loader=ROWS)
    (trace,) = run_sweep(anew, SweepSettings(repeats=1, steps=10), device=CPU, observer=recorder())
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 10)
    with ShortRuns(anew, seed=0, device=CPU, observer=recorder()) as runs:
        run = runs.run(RunPlan(lr=0.03, steps=20))
    assert run.loss < run.initial_loss


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_as_it_does_uncompiled(recorder, backend):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    plain = copy.deepcopy(model)
    compiled = torch.compile(model, backend=backend)
    optimizer = sgd(compiled.parameters())
    bare_update(compiled, optimizer, step(compiled, ROWS[0]))
    plain_optimizer = sgd(plain.parameters())
    bare_update(plain, plain_optimizer, step(plain, ROWS[0]))
    mine = (model, compiled, optimizer)
    before = picture(mine, set())
    with torch._dynamo.config.patch(error_on_recompile=True):  # not for any rate, nor for the end of a repeat
        swept = run_sweep(problem(compiled, optimizer, ROWS), SETTINGS, device=CPU, observer=recorder())
    assert picture(mine, set()) == before
    expected = run_sweep(problem(plain, plain_optimizer, ROWS), SETTINGS, device=CPU, observer=recorder())
    for one, other in zip(swept, expected, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
    torch.compiler.reset()


def test_complex_weights_move_by_the_rate_in_closed_form(recorder):
    """loss = |z|^2: torch's gradient is 2 z, so that SGD multiplies z by 1 - 2 * rate."""
    model = nn.ParameterDict({"z": torch.tensor(1.0 + 2.0j, dtype=torch.complex128)})
    given = problem(
        model, torch.optim.SGD(model.parameters(), lr=1.0), [torch.ones(())],
        training_step=lambda model, batch: model["z"].abs().square(),
    )  # fmt: skip
    trace, _ = run_sweep(given, SETTINGS, device=CPU, observer=recorder())
    loss, expected = 5.0, []
    for rate in trace.lrs:
        loss *= (1 - 2 * rate) ** 2
        expected.append(loss)
    assert trace.losses == pytest.approx(expected, rel=1e-12)


def test_a_group_at_zero_stays_and_the_others_move_in_closed_form(recorder):
    """loss = x^2 + y^2 with x held by a rate of 0 * lr."""
    model = nn.ParameterList([torch.tensor(3.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)])
    groups = lambda params, lr: torch.optim.SGD([{"params": params[:1], "lr": 0 * lr}, {"params": params[1:]}], lr=lr)  # noqa: E731
    given = problem(
        model, groups, [torch.ones(())], training_step=lambda model, batch: model[0].square() + model[1].square()
    )
    observer = recorder()
    trace, _ = run_sweep(given, SETTINGS, device=CPU, observer=observer)
    y, expected = 2.0, []
    for rate in trace.lrs:
        y *= 1 - 2 * rate
        expected.append(9 + y * y)
    assert trace.losses == pytest.approx(expected, rel=1e-12)
    assert observer.setups[0].optimizer.group_ratios == (0.0, 1.0)
