"""Members of a stack train as each would by itself, with torch's own optimizers."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrfinder.engine.vectorized.models import VmappedModels
from lrfinder.engine.vectorized.optimizers import NotStackable
from lrfinder.task.problem import BuiltProblem, SweptOptimizer

RATES = (1e-4, 0.02, 0.3)
UPDATES = 6


def mse(model, batch):
    inputs, target = batch
    return nn.functional.mse_loss(model(inputs), target)


def trial_of(model, optimizer, ratios=(1.0,), loss=mse):
    return BuiltProblem(
        model=model,
        optimizer=optimizer,
        group_ratios=ratios,
        loader=(),
        loss=loss,
        loss_note=lambda: "",
        optimizer_note="model file",
    )


def data(dtype=torch.float64):
    draw = torch.Generator().manual_seed(4)
    return [
        (torch.randn(8, 3, generator=draw, dtype=dtype), torch.randn(8, 2, generator=draw, dtype=dtype))
        for _ in range(UPDATES)
    ]


def alone(trial, rate, batches):
    """Train a copy with torch's own optimizer; return the losses, the last one after all updates."""
    model, optimizer = copy.deepcopy((trial.model, trial.optimizer))  # together, so that they stay a pair
    losses = []
    for batch in batches:
        for group, ratio in zip(optimizer.param_groups, trial.group_ratios, strict=True):
            group["lr"] = rate * ratio
        optimizer.zero_grad()
        loss = trial.loss(model, batch)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return [*losses, trial.loss(model, batches[0]).item()]


def together(trial, rates, batches):
    stack = VmappedModels(trial, len(rates))
    losses = []
    for batch in batches:
        losses.append(stack.train_losses(batch).tolist())
        stack.update(rates)
    losses.append(stack.train_losses(batches[0]).tolist())
    return [list(member) for member in zip(*losses, strict=True)]


def check_alike(trial, batches, rates=RATES, rel=1e-9):
    found = together(trial, rates, batches)
    for rate, losses in zip(rates, found, strict=True):
        assert losses == pytest.approx(alone(trial, rate, batches), rel=rel)


shares = st.floats(0, 0.99)
decays = st.sampled_from([0.0, 1e-3, 0.2])
sgds = st.builds(
    lambda momentum, dampening, nesterov, decay: lambda groups: torch.optim.SGD(
        groups,
        lr=0.1,
        momentum=momentum,
        dampening=0.0 if nesterov else dampening,
        nesterov=nesterov and momentum > 0,
        weight_decay=decay,
    ),
    shares, shares, st.booleans(), decays,
)  # fmt: skip
adams = st.builds(
    lambda kind, beta1, beta2, eps, decay: lambda groups: kind(
        groups, lr=0.1, betas=(beta1, beta2), eps=eps, weight_decay=decay
    ),
    st.sampled_from([torch.optim.Adam, torch.optim.AdamW]), shares, shares, st.sampled_from([1e-8, 1e-3]), decays,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(make=st.one_of(sgds, adams), before=st.integers(0, 2), ratio=st.sampled_from([1.0, 0.1, 0.0]))
def test_every_member_makes_torchs_own_updates(make, before, ratio):
    """With two param groups, of different rates, and from a state that the optimizer has already."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    optimizer = make([{"params": model[0].parameters()}, {"params": model[2].parameters()}])
    for batch in data()[:before]:
        optimizer.zero_grad()
        mse(model, batch).backward()
        optimizer.step()
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    check_alike(trial_of(model, optimizer, ratios=(1.0, ratio)), data())
    torch.testing.assert_close(kept, (model.state_dict(), optimizer.state_dict()), rtol=0, atol=0)


def test_batch_statistics_are_each_members_own():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    trial = trial_of(model, torch.optim.SGD(model.parameters(), lr=0.1))
    stack = VmappedModels(trial, len(RATES))
    for batch in data():
        stack.train_losses(batch)
        stack.update(RATES)
    model.eval()
    judged = stack.held_out_losses(model, data()[0]).tolist()
    for rate, found in zip(RATES, judged, strict=True):
        again = copy.deepcopy(trial)
        again.model.train()
        optimizer = torch.optim.SGD(again.model.parameters(), lr=rate)
        for batch in data():
            optimizer.zero_grad()
            mse(again.model, batch).backward()
            optimizer.step()
        assert found == pytest.approx(mse(again.model.eval(), data()[0]).item(), rel=1e-9)


def test_dropout_draws_what_a_run_by_itself_draws():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.Linear(64, 2)).double()
    trial = trial_of(model, torch.optim.Adam(model.parameters()))
    torch.manual_seed(11)
    found = together(trial, RATES, data())
    for rate, losses in zip(RATES, found, strict=True):
        torch.manual_seed(11)
        assert losses == pytest.approx(alone(trial, rate, data()), rel=1e-9)


def test_a_member_that_blows_up_touches_no_other():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    trial = trial_of(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    with_it = together(trial, (1e-4, float("inf"), 0.3), data())
    assert not all(torch.tensor(with_it[1]).isfinite())
    assert with_it[0] == pytest.approx(alone(trial, 1e-4, data()), rel=1e-9)
    assert with_it[2] == pytest.approx(alone(trial, 0.3, data()), rel=1e-9)


def test_tied_and_frozen_weights_and_members_that_leave():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2)).double()
    model[2].weight = model[0].weight
    model[3].weight.requires_grad_(False)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1)
    trial = trial_of(model, optimizer)
    check_alike(trial, data())
    stack = VmappedModels(trial, 3)
    stack.train_losses(data()[0])
    stack.update(RATES)
    stack.keep([2, 0])
    for batch in data()[1:]:
        left = stack.train_losses(batch).tolist()
        stack.update((RATES[2], RATES[0]))
    assert left == pytest.approx([alone(trial, RATES[2], data())[-2], alone(trial, RATES[0], data())[-2]], rel=1e-9)


GROUP = "a param group isn't of trainable parameters of the model, all of one kind"


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def adam(parameters):
    return torch.optim.Adam(parameters)


def capturable(model, optimizer):
    optimizer.param_groups[0]["capturable"] = True  # torch itself refuses it at once where there is no GPU


def tensor_betas(model, optimizer):
    optimizer.param_groups[0]["betas"] = (0.9, torch.tensor(0.999))


def updated(optimizer, *parameters):
    optimizer.zero_grad()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def one_used(model, optimizer):
    updated(optimizer, model[0].weight)


def unlike(model, optimizer):
    updated(optimizer, model[0].weight, model[0].bias)
    updated(optimizer, model[0].weight)


def before_hooked(model, optimizer):
    model[0].register_forward_pre_hook(lambda *_: None)


def back_hooked(model, optimizer):
    model[0].register_full_backward_hook(lambda *_: None)


def before_back_hooked(model, optimizer):
    model[0].register_full_backward_pre_hook(lambda *_: None)


def accumulation_hooked(model, optimizer):
    model[0].weight.register_post_accumulate_grad_hook(lambda _: None)


def before_step_hooked(model, optimizer):
    optimizer.register_step_pre_hook(lambda *_: None)


def compiled(model, optimizer):
    model.append(torch.compile(nn.Identity(), backend="eager"))


def frozen(model, optimizer):
    model[0].weight.requires_grad_(False)


def of_two_kinds(model, optimizer):
    model[0].bias.data = model[0].bias.data.double()


def hooked(model, optimizer):
    model[0].register_forward_hook(lambda *_: None)


def weight_hooked(model, optimizer):
    model[0].weight.register_hook(lambda gradient: gradient)


def step_hooked(model, optimizer):
    optimizer.register_step_post_hook(lambda *_: None)


@pytest.mark.parametrize(
    ("make", "change", "why"),
    [
        (lambda p: torch.optim.RMSprop(p, lr=0.1), None, "the update of RMSprop isn't known for several at once"),
        (lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True), None, "amsgrad=True isn't known for several at once"),
        (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), None, "maximize=True isn't known for several at once"),
        (
            lambda p: torch.optim.Adam(p, differentiable=True),
            None,
            "differentiable=True isn't known for several at once",
        ),
        (adam, capturable, "capturable=True isn't known for several at once"),
        (adam, tensor_betas, "betas that are tensors aren't known for several at once"),
        (adam, one_used, "some parameters of a group have been updated before, and some have not"),
        (adam, unlike, "parameters of one group have made different numbers of updates"),
        (sgd, hooked, "modules have hooks"),
        (sgd, before_hooked, "modules have hooks"),
        (sgd, back_hooked, "modules have hooks"),
        (sgd, before_back_hooked, "modules have hooks"),
        (sgd, weight_hooked, "parameters have hooks"),
        (sgd, accumulation_hooked, "parameters have hooks"),
        (sgd, step_hooked, "the optimizer has hooks"),
        (sgd, before_step_hooked, "the optimizer has hooks"),
        (sgd, compiled, "the model is compiled"),
        (lambda p: torch.optim.SGD([*p, torch.zeros(1, requires_grad=True)], lr=0.1), None, GROUP),
        (sgd, frozen, GROUP),
        (sgd, of_two_kinds, GROUP),
    ],
)
def test_what_would_not_be_the_same_is_refused_with_the_reason(make, change, why):
    model = nn.Sequential(nn.Linear(3, 2))
    optimizer = make(list(model.parameters()))
    if change is not None:
        change(model, optimizer)
    with pytest.raises(NotStackable) as raised:
        VmappedModels(trial_of(model, optimizer), 2)
    assert str(raised.value) == why


ONE_BY_ONE = {
    "sgd with decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.2),
    "sgd with all": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.2),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.2),
    "adam": lambda p: torch.optim.Adam(p, betas=(0.8, 0.95), eps=1e-3),
    "adam with decay": lambda p: torch.optim.Adam(p, weight_decay=0.2),
    "adamw": lambda p: torch.optim.AdamW(p, betas=(0.8, 0.95), weight_decay=0.2),
    "adamw without decay": lambda p: torch.optim.AdamW(p, weight_decay=0.0),
}


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("make", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_each_optimizer_s_updates_are_torch_s(make, before):
    """The property above at a few settings, in a moment; `before`: updates that the optimizer has made already."""
    model = nn.Linear(3, 2).double()
    optimizer = make(model.parameters())
    for batch in data()[:before]:
        mse(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    check_alike(trial_of(model, optimizer), data()[:3])


def test_several_optimizers_are_refused():
    model = nn.Linear(3, 2)
    trial = trial_of(model, sgd(model.parameters()))
    part = SweptOptimizer(name="other", optimizer=sgd(nn.Linear(2, 2).parameters()), group_ratios=(1.0,))
    with pytest.raises(NotStackable, match=r"^there are several optimizers$"):
        VmappedModels(dataclasses.replace(trial, others=(part,)), 2)
