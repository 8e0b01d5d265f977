"""A real skorch net, swept as it is: `fit` then runs as without it, and at the rate that was found."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Freezer, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import lrfinder
from lrfinder.integrations.skorch import find_lr

SHORT = {"max_lr": 10.0, "repeats": 1, "run_steps": 10}
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(100, 4)).astype("float32")
CLASSES = (X.sum(1) > 0).astype("int64")
VALUES = np.tanh(X.sum(1, keepdims=True)).astype("float32")


class Net(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1))
        self.top = nn.Linear(8, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out = self.top(self.layers(inputs))
        return out if out.shape[1] == 1 else out.softmax(-1)  # as NeuralNetClassifier's NLLLoss expects it


def classifier(**options) -> NeuralNetClassifier:
    given = {"optimizer": torch.optim.AdamW, "lr": 1e-3, "batch_size": 16, "max_epochs": 2, "verbose": 0}
    return NeuralNetClassifier(Net, iterator_train__shuffle=True, **(given | options))


def fitted(net, *, again: bool = False) -> tuple[list, list[torch.Tensor]]:
    """Fit from a fixed seed, and return the rates of every update, as torch's own hook sees them, and the weights."""
    rates: list = []
    hook = register_optimizer_step_pre_hook(lambda opt, *_: rates.append([g["lr"] for g in opt.param_groups]))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global generator is what a split may draw from
    try:
        (net.partial_fit if again else net.fit)(X, CLASSES)
    finally:
        hook.remove()
    return rates, [value.clone() for value in net.module_.state_dict().values()]


KINDS = [
    {},
    {"callbacks": [Freezer("layers.*")]},
    {"callbacks": [GradientNormClipping(0.5)], "train_split": None},
    {"optimizer__param_groups": [("top.*", {"lr": 1e-4})]},
]


@pytest.mark.parametrize("options", KINDS)
def test_a_fit_after_it_is_the_fit_without_it(options: dict) -> None:
    expected, there = fitted(classifier(**options))
    net = classifier(**options)
    generator = torch.get_rng_state()
    advice = find_lr(net, X, CLASSES, **SHORT)
    assert not net.initialized_
    assert torch.equal(torch.get_rng_state(), generator)
    assert advice.result.runs[0].metric == ("probe" if "train_split" in options else "val")
    rates, weights = fitted(net)
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_a_fit_that_goes_on_begins_where_it_was() -> None:
    plain, net = (classifier(lr=0.05, max_epochs=10) for _ in range(2))
    fitted(plain)
    fitted(net)
    before = pickle.dumps((net.module_.state_dict(), net.optimizer_.state_dict(), list(net.history)))
    advice = find_lr(net, X, CLASSES, goes_on=True, **SHORT)
    assert pickle.dumps((net.module_.state_dict(), net.optimizer_.state_dict(), list(net.history))) == before
    assert advice.result.traces[0].initial_loss < 0.4  # fresh weights: some 0.7
    rates, weights = fitted(net, again=True)
    expected, there = fitted(plain, again=True)
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_set_as_lr_the_fit_is_that_of_a_net_which_was_given_it() -> None:
    net = classifier()
    advice = find_lr(net, X, CLASSES, **SHORT)
    assert advice.lr is not None, advice.why
    net.set_params(lr=advice.lr)
    rates, weights = fitted(net)
    expected, there = fitted(classifier(lr=advice.lr))
    assert rates == expected
    assert set(map(tuple, rates)) == {(advice.lr,)}
    assert all(map(torch.equal, weights, there))


def test_its_schedule_is_what_skorch_logs() -> None:
    advice = find_lr(classifier(), X, CLASSES, schedule="cosine", **SHORT)
    net = classifier(callbacks=[LRScheduler(policy=advice.schedule.scheduler, step_every="batch")])
    rates, _ = fitted(net)
    planned = advice.schedule.lrs()
    assert len(planned) == 10
    assert [rate for (rate,) in rates] == pytest.approx(planned, rel=1e-12)
    logged = [batch["event_lr"] for epoch in net.history for batch in epoch["batches"] if "event_lr" in batch]
    assert logged == pytest.approx(planned, rel=1e-12)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_losses_are_those_of_its_own_steps(clip: float | None) -> None:
    """Against skorch's own `train_step` at the same rates, on one batch."""
    callbacks = [GradientNormClipping(clip)] if clip else []

    def made() -> NeuralNetRegressor:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        return NeuralNetRegressor(
            module, optimizer=torch.optim.SGD, optimizer__momentum=0.9, batch_size=100, train_split=None,
            verbose=0, callbacks=callbacks, max_epochs=100,
        )  # fmt: skip

    swept = find_lr(made(), X, VALUES, repeats=1, mode="continuous", max_lr=1.0).result.traces[0]
    net = made().initialize()
    losses = []
    for rate in swept.lrs:
        net.set_params(lr=rate)
        losses.append(net.train_step((torch.tensor(X), torch.tensor(VALUES)))["loss"].item())
    assert [swept.initial_loss, *swept.losses[:-1]] == pytest.approx(losses, rel=1e-5)


def test_a_validation_set_of_its_own_judges_the_short_runs() -> None:
    from skorch.dataset import Dataset

    net = classifier(train_split=predefined_split(Dataset(X[:40], CLASSES[:40])))
    advice = find_lr(net, X, CLASSES, **SHORT)
    assert advice.result.runs[0].metric == "val"
    assert advice.result.setup.batches_per_epoch == 7


def test_what_can_t_be_taken_apart_is_refused() -> None:
    class OwnStep(NeuralNetClassifier):
        def train_step_single(self, batch, **options):
            return super().train_step_single(batch, **options)

    with pytest.raises(lrfinder.UsageError, match="OwnStep has a train_step_single of its own"):
        find_lr(OwnStep(Net, verbose=0), X, CLASSES)
    by_largest = GradientNormClipping(1.0, gradient_clip_norm_type=float("inf"))
    with pytest.raises(lrfinder.UsageError, match="by the 2-norm"):
        find_lr(classifier(callbacks=[by_largest]), X, CLASSES)


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_a_freezer_freezes_is_not_trained_and_thaws_again(goes_on: bool) -> None:
    net = classifier(callbacks=[Freezer("layers.*")])
    seen = []
    hook = register_optimizer_step_pre_hook(
        lambda opt, *_: seen.append([p.grad is not None for g in opt.param_groups for p in g["params"]])
    )
    net.initialize()
    before = [value.clone() for value in net.module_.state_dict().values()]
    try:
        find_lr(net, X, CLASSES, goes_on=goes_on, **SHORT, mode="continuous")
    finally:
        hook.remove()
    names = [name for name, _ in net.module_.named_parameters()]
    assert {tuple(each) for each in seen} == {tuple(not name.startswith("layers") for name in names)}
    assert all(parameter.requires_grad for parameter in net.module_.parameters())
    assert all(map(torch.equal, before, net.module_.state_dict().values()))
    assert len(net.history) == 0
