"""The gradients after a short run are those of plain torch at the same weights, and they change nothing."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from helpers.problems import CPU
from lrfinder.engine.gradient_noise import EACH, GROUPS, measure_noise
from lrfinder.engine.observer import Observer
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.errors import UsageError
from lrfinder.records import RunPlan, Stop, UpdateOptions
from lrfinder.schedules import SCHEDULES
from lrfinder.task.problem import Problem

PLAN = RunPlan(lr=0.05, steps=20, schedule="constant")
DRAWS = torch.Generator().manual_seed(0)


def batches(count):
    return [(torch.randn(8, 3, generator=DRAWS), torch.randn(8, 1, generator=DRAWS)) for _ in range(count)]


TRAIN, VAL = batches(7), batches(3)


def momentum(params):
    return torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01)


def adamw(params):
    return torch.optim.AdamW(params, lr=0.1, weight_decay=0.1)


def by_group(params):
    first, *rest = params
    return torch.optim.Adam([{"params": [first], "lr": 0.01}, {"params": rest}], lr=0.1)


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))


def noise(model, optimizer, plan=PLAN, **training):
    problem = Problem(
        name="noise", model=model, train_loader=TRAIN, val_loader=VAL, loss_fn=nn.functional.mse_loss,
        optimizer=optimizer, training=UpdateOptions(**training),
    )  # fmt: skip
    with ShortRuns(problem, seed=0, device=CPU, observer=Observer()) as runs:
        return measure_noise(runs, plan, batch=8 * problem.training.accumulate)


def update_gradient(model, source, accumulate):
    """Return the mean gradient of the next batches, as one vector in double precision."""
    model.zero_grad()
    for inputs, target in itertools.islice(source, accumulate):
        (nn.functional.mse_loss(model(inputs), target) / accumulate).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()]).double()


def by_hand(model, optimizer, accumulate):
    """Return the squared norms of plain torch: single gradients, and the means of groups."""
    model = copy.deepcopy(model)
    steps, source = optimizer(model.parameters()), itertools.cycle(TRAIN)
    ratios = [group["lr"] / max(group["lr"] for group in steps.param_groups) for group in steps.param_groups]
    factor = SCHEDULES["constant"].for_run(steps=PLAN.steps, warmup=1).factor
    for step in range(PLAN.steps):
        for group, ratio in zip(steps.param_groups, ratios, strict=True):
            group["lr"] = PLAN.lr * factor(step) * ratio
        update_gradient(model, source, accumulate)
        steps.step()
    squares, means = [], []
    for _ in range(GROUPS):
        group = torch.stack([update_gradient(model, source, accumulate) for _ in range(EACH)])
        squares.append(group.square().sum(1).mean().item())
        means.append(group.mean(0).square().sum().item())
    return squares, means


@pytest.mark.parametrize("optimizer", [momentum, adamw, by_group])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradients_are_those_of_plain_torch_where_the_run_ended(optimizer, accumulate):
    model = net()
    made, found = noise(model, optimizer(model.parameters()), accumulate=accumulate)
    squares, means = by_hand(model, optimizer, accumulate)
    assert made.stop is Stop.COMPLETED
    assert made.updates == PLAN.steps + GROUPS * EACH
    assert found.squares == pytest.approx(squares, rel=1e-5)
    assert found.means == pytest.approx(means, rel=1e-5)
    assert (found.lr, found.updates, found.seed, found.batch, found.each) == (0.05, 20, 0, 8 * accumulate, EACH)


def test_live_objects_come_back_and_nothing_stays_on_the_optimizer():
    model = net()
    optimizer = adamw(model.parameters())
    before = copy.deepcopy([*model.parameters()])
    noise(model, optimizer)
    assert all(map(torch.equal, before, model.parameters()))
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_sparse_and_half_precision_gradients_count_in_full():
    model = nn.Sequential(nn.EmbeddingBag(10, 4, sparse=True), nn.Linear(4, 1))
    rows = [(torch.randint(10, (8, 3), generator=DRAWS), torch.randn(8, 1, generator=DRAWS)) for _ in range(7)]

    def found(model, rows):
        problem = Problem(
            name="noise", model=model, train_loader=rows, val_loader=rows, loss_fn=nn.functional.mse_loss,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1), training=UpdateOptions(),
        )  # fmt: skip
        with ShortRuns(problem, seed=0, device=CPU, observer=Observer()) as runs:
            return measure_noise(runs, PLAN, batch=8)[1]

    dense = copy.deepcopy(model)
    dense[0].sparse = False
    assert found(model, rows).means == pytest.approx(found(dense, rows).means, rel=1e-5)
    half = copy.deepcopy(dense).bfloat16()
    coarse = found(half, [(index, target.bfloat16()) for index, target in rows])
    assert coarse.squares == pytest.approx(found(dense, rows).squares, rel=0.2)


def test_a_run_that_diverges_measures_nothing():
    model = net()
    made, found = noise(model, momentum(model.parameters()), RunPlan(lr=1e9, steps=20, schedule="constant"))
    assert found is None
    assert made.stop.blew_up
    assert made.why


def test_one_of_several_optimizers_is_refused_since_the_others_move_the_weights():
    model = net()
    weights = [*model.parameters()]
    several = [torch.optim.SGD(weights[:2], lr=0.1), torch.optim.SGD(weights[2:], lr=0.1)]
    with pytest.raises(UsageError, match="several optimizers"):
        noise(model, several)
    assert not any(optimizer._optimizer_step_pre_hooks for optimizer in several)
