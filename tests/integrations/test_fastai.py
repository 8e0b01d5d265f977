"""A real fastai Learner: its own fit is swept, with its callbacks, and it then fits as without it."""

from __future__ import annotations

import math
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import TensorDataset

import lrfinder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.callback.core import Callback
    from fastai.callback.progress import CSVLogger
    from fastai.callback.schedule import valley
    from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
    from fastai.callback.training import GradientAccumulation, GradientClip
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    from lrfinder.integrations.fastai import _evaluate, _unsmoothed, find_lr, follow, steepest

SHORT = {"max_lr": 10.0, "repeats": 1, "run_steps": 10}
INPUTS = torch.randn(80, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tanh(INPUTS.sum(1, keepdim=True))
ADAM_W = partial(OptimWrapper, opt=torch.optim.AdamW)


@pytest.fixture(autouse=True)
def _warnings_of_its_own():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def split(model: nn.Sequential) -> list[list[nn.Parameter]]:
    return [list(model[0].parameters()), [p for part in model[1:] for p in part.parameters()]]


def learner(tmp_path, *callbacks, opt_func=ADAM_W, lr: float = 1e-3, bs: int = 8, **options) -> Learner:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    data, valid = TensorDataset(INPUTS[:64], TARGETS[:64]), TensorDataset(INPUTS[64:], TARGETS[64:])
    loaders = DataLoaders(DataLoader(data, bs=bs, shuffle=True), DataLoader(valid, bs=8))
    for loader in loaders.loaders:
        loader.rng.seed(5)  # each draws a seed of its own when it is made
    given = {"loss_func": nn.MSELoss(), "splitter": split, "path": tmp_path, "cbs": list(callbacks)}
    return Learner(loaders, net, opt_func=opt_func, lr=lr, **(given | options))


def fitted(learn: Learner, epochs: int = 2, **options) -> tuple[list, list[torch.Tensor]]:
    """Fit from a fixed seed, and return the rates of every update, as torch's own hook sees them, and the weights."""
    rates: list = []
    hook = register_optimizer_step_pre_hook(lambda opt, *_: rates.append([g["lr"] for g in opt.param_groups]))
    torch.manual_seed(2)
    try:
        with learn.no_bar(), learn.no_logging():
            options.pop("fit", learn.fit)(epochs, **options)
    finally:
        hook.remove()
    return rates, [value.clone() for value in learn.model.state_dict().values()]


CALLBACKS = [(), (partial(GradientAccumulation, 16), partial(GradientClip, 0.5))]


@pytest.mark.parametrize("callbacks", CALLBACKS)
def test_a_fit_after_it_is_the_fit_without_it(tmp_path, callbacks) -> None:
    expected, there = fitted(learner(tmp_path, *(make() for make in callbacks)))
    learn = learner(tmp_path, *(make() for make in callbacks))
    attributes, names = dict(vars(learn)), [type(each).__name__ for each in learn.cbs]
    generator, order = torch.get_rng_state(), learn.dls.train.rng.getstate()
    advice = find_lr(learn, epochs=2, **SHORT)
    assert vars(learn).keys() == attributes.keys()
    assert learn.opt is None
    assert [type(each).__name__ for each in learn.cbs] == names
    assert torch.equal(torch.get_rng_state(), generator)
    assert learn.dls.train.rng.getstate() == order
    assert advice.schedule.schedule.steps == (8 if callbacks else 16)
    assert advice.result.runs[0].metric == "val"
    rates, weights = fitted(learn)
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_a_fit_that_goes_on_begins_where_it_was(tmp_path) -> None:
    plain, learn = learner(tmp_path), learner(tmp_path)
    fitted(plain)
    fitted(learn)
    values, optimizer = list(learn.recorder.values), learn.opt
    find_lr(learn, lr=0.01, **SHORT)
    assert list(learn.recorder.values) == values
    assert learn.opt is optimizer
    assert learn.opt.hypers[0]["lr"] == 1e-3
    rates, weights = fitted(learn)
    expected, there = fitted(plain)
    assert rates == expected
    assert all(map(torch.equal, weights, there))


@pytest.mark.parametrize(("size", "judged"), [(8, 4), (1, 32)])
def test_torchs_own_loaders_are_judged_by_as_many_samples(tmp_path, size: int, judged: int) -> None:
    data, valid = TensorDataset(INPUTS, TARGETS), TensorDataset(INPUTS, TARGETS)
    loaders = DataLoaders(*(torch.utils.data.DataLoader(each, batch_size=size) for each in (data, valid)))
    learn = learner(tmp_path)
    learn.dls = loaders
    seen = []

    def loss(output, target):
        seen.append(len(target) * (not torch.is_grad_enabled()))
        return nn.functional.mse_loss(output, target)

    learn.loss_func = loss
    learn.model.eval()
    evaluate = _evaluate(learn)
    with torch.no_grad():
        evaluate()
    assert seen == [size] * judged


def test_callbacks_that_save_and_log_stay_out(tmp_path) -> None:
    learn = learner(tmp_path, CSVLogger(), SaveModelCallback(every_epoch=True), EarlyStoppingCallback(patience=1))
    find_lr(learn, **SHORT)
    assert not list(tmp_path.rglob("*.*"))
    fitted(learn)
    assert (tmp_path / "history.csv").exists()
    assert len(list(tmp_path.rglob("*.pth"))) == 2


@pytest.mark.parametrize("lr", [None, slice(1e-5, 1e-3)])
def test_its_curve_is_that_of_fastais_own_fit_at_those_rates(tmp_path, lr) -> None:
    """With one batch and nothing random; clipped, so that what callbacks do is in it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    data = TensorDataset(INPUTS, TARGETS)
    loaders = DataLoaders(DataLoader(data, bs=80), DataLoader(TensorDataset(INPUTS[:0], TARGETS[:0]), bs=8))
    learn = Learner(
        loaders, net, loss_func=nn.MSELoss(), opt_func=ADAM_W, splitter=split, path=tmp_path, cbs=[GradientClip(0.01)]
    )
    advice = find_lr(learn, lr=lr, repeats=1, steps=40, max_lr=1.0)
    swept = advice.result.traces[0]
    ratio = 0.01 if lr else 1.0
    assert advice.result.setup.optimizer.group_ratios == pytest.approx((ratio, 1.0))
    assert advice.result.settings.mode == "continuous"
    losses = []
    for rate in swept.lrs:
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, lr=slice(rate * ratio, rate))
        losses.append(float(learn.recorder.losses[-1]))
    assert [swept.initial_loss, *swept.losses[:-1]] == pytest.approx(losses, rel=1e-5)


def test_given_to_fit_one_cycle_it_is_the_fit_of_that_rate(tmp_path) -> None:
    learn = learner(tmp_path)
    advice = find_lr(learn, epochs=2, **SHORT)
    assert advice.lr is not None, advice.why
    rates, weights = fitted(learn, fit=learn.fit_one_cycle, lr_max=advice.lr)
    other = learner(tmp_path)
    expected, there = fitted(other, fit=other.fit_one_cycle, lr_max=advice.lr)
    assert rates == expected
    assert max(map(max, rates)) == pytest.approx(advice.lr, rel=0.05)
    assert all(map(torch.equal, weights, there))


@pytest.mark.parametrize("callbacks", CALLBACKS)
def test_its_schedule_is_what_fastai_records(tmp_path, callbacks) -> None:
    learn = learner(tmp_path, *(make() for make in callbacks))
    advice = find_lr(learn, epochs=2, lr=slice(1e-4, 1e-3), schedule="cosine", **SHORT)
    rates, _ = fitted(learn, cbs=follow(advice))
    planned = advice.schedule.lrs()
    assert [rate for _, rate in rates] == pytest.approx(planned, rel=1e-12)
    assert [rate for rate, _ in rates] == pytest.approx([0.1 * rate for rate in planned], rel=1e-6)
    logged = learn.recorder.hps["lr"]
    each = 2 if callbacks else 1  # batches an update
    assert logged == pytest.approx([rate for rate in planned for _ in range(each)], rel=1e-12)


def test_the_losses_behind_fastais_smoothed_ones_are_found(tmp_path) -> None:
    learn, told = learner(tmp_path), []

    class Note(Callback):
        def after_loss(self):
            if self.training:
                told.append(float(self.learn.loss))

    fitted(learn, cbs=Note())
    smooth = [float(loss) for loss in learn.recorder.losses]
    assert _unsmoothed(smooth, before=0, beta=0.98) == pytest.approx(told[1:], rel=1e-4)
    assert _unsmoothed(smooth[5:], before=5, beta=0.98) == pytest.approx(told[6:], rel=1e-4)


def test_lr_find_takes_the_rule_beside_its_own(tmp_path) -> None:
    learn = learner(tmp_path, opt_func=partial(OptimWrapper, opt=torch.optim.SGD), bs=64)
    torch.manual_seed(0)
    with learn.no_bar():
        found = learn.lr_find(suggest_funcs=(steepest, valley), show_plot=False)
    assert found._fields == ("steepest", "valley")
    picks = {pick.rule: pick.lr for pick in find_lr(learn, max_lr=10.0, run_steps=10).picks}
    assert 1 / 3 < found.steepest / picks["steepest"] < 3
    with pytest.warns(UserWarning, match="no rate: the loss never fell"):
        rate, _ = steepest([1e-7 * 1.2**i for i in range(85)], [1.0] * 85, 100)
    assert math.isnan(rate)


def test_what_to_pass_in_place_of_fastais_own_optimizer_is_said(tmp_path) -> None:
    from fastai.optimizer import Adam

    learn = learner(tmp_path, opt_func=Adam)
    with pytest.raises(lrfinder.UsageError, match="fastai's own Optimizer") as caught:
        find_lr(learn)
    assert "opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)" in caught.value.hint
    assert learn.opt is None
