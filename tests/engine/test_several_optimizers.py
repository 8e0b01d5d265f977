"""Several optimizers: as one, by name with one swept, and those that step in the backward pass."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest
import torch
from torch import nn

from helpers.pictures import picture
from helpers.problems import CPU
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import LrfinderError, ModelFileError, UsageError
from lrfinder.records import Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

SETTINGS = SweepSettings(repeats=1, steps=15, min_lr=1e-3, max_lr=0.2)
REFERENCE_LR = 1e-3


class Pair(nn.Module):
    """loss = 2 x^2 + (y - x)^2: two quadratics that hang together."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
        self.y = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))


def own_losses(model, batch):
    return {"x": batch * (2 * model.x**2 + (model.y.detach() - model.x) ** 2), "y": (model.y - model.x) ** 2}


def common_loss(model, batch):
    return batch * (2 * model.x**2 + (model.y - model.x) ** 2)


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr)


def pair(**changes):
    given = {
        "name": "pair",
        "where": "model.py",
        "model": Pair,
        "train_loader": [torch.ones((), dtype=torch.float64)],
        "training_step": own_losses,
        "optimizers": lambda model, lr: {"x": sgd([model.x], lr), "y": sgd([model.y], 0.05)},
    }
    return Problem(**(given | changes))


def repeat_of(problem, recorder, settings=SETTINGS):
    observer = recorder()
    (trace,) = run_sweep(problem, settings, device=CPU, observer=observer)
    return trace, observer.setups[0]


def losses_by_turns(rates_x, rates_y, measured, order="xy"):
    """The updates by hand: each variable moves down its own loss, at what the one before it has left."""
    x, y, losses = 3.0, -1.0, []
    for rate_x, rate_y in zip(rates_x, rates_y, strict=True):
        for name in order:
            if name == "x":
                x -= rate_x * (4 * x - 2 * (y - x))
            else:
                y -= rate_y * 2 * (y - x)
        losses.append(2 * x**2 + (y - x) ** 2 if measured == "x" else (y - x) ** 2)
    return losses


def test_one_rate_is_swept_and_the_other_held(recorder):
    trace, setup = repeat_of(pair(), recorder)
    assert trace.initial_loss == 2 * 9 + 16
    assert trace.losses == pytest.approx(losses_by_turns(trace.lrs, [0.05] * 15, "x"), rel=1e-12)
    assert (setup.optimizer.name, setup.optimizer.group_ratios) == ("SGD", (1.0,))
    assert setup.optimizer.chosen_by == "of 2: x"


def test_the_order_of_the_losses_is_that_of_the_updates(recorder):
    backwards = lambda model, batch: dict(reversed(own_losses(model, batch).items()))  # noqa: E731
    trace, _ = repeat_of(pair(training_step=backwards), recorder)
    assert trace.losses == pytest.approx(losses_by_turns(trace.lrs, [0.05] * 15, "x", order="yx"), rel=1e-12)


@pytest.mark.parametrize("live", [True, False])
def test_with_rates_of_their_own_a_name_says_which_one_is_swept(recorder, live):
    def build(model):
        return {"x": sgd([model.x], 0.01), "y": sgd([model.y], 0.04)}

    model = Pair()
    given = {"model": model, "optimizers": build(model)} if live else {"optimizers": build}
    held, _ = repeat_of(pair(**given, training=UpdateOptions(swept_optimizer="y")), recorder)
    assert held.losses == pytest.approx(losses_by_turns([0.01] * 15, held.lrs, "y"), rel=1e-12)
    scaled, _ = repeat_of(pair(**given, training=UpdateOptions(swept_optimizer="y", scale_others=True)), recorder)
    quarter = [rate / 4 for rate in scaled.lrs]
    assert scaled.losses == pytest.approx(losses_by_turns(quarter, scaled.lrs, "y"), rel=1e-12)


def test_others_that_follow_lr_are_scaled_where_that_is_asked_for(recorder):
    follow = lambda model, lr: {"x": sgd([model.x], lr), "y": sgd([model.y], 3 * lr)}  # noqa: E731
    training = UpdateOptions(swept_optimizer="x", scale_others=True)
    trace, setup = repeat_of(pair(optimizers=follow, training=training), recorder)
    thrice = [3 * rate for rate in trace.lrs]
    assert trace.losses == pytest.approx(losses_by_turns(trace.lrs, thrice, "x"), rel=1e-12)
    assert setup.optimizer.group_ratios == pytest.approx((1.0, 3.0))


def test_a_common_loss_moves_all_of_them_at_once(recorder):
    trace, _ = repeat_of(pair(training_step=common_loss), recorder)
    x, y, expected = 3.0, -1.0, []
    for rate in trace.lrs:
        x, y = x - rate * (4 * x - 2 * (y - x)), y - 0.05 * 2 * (y - x)
        expected.append(2 * x**2 + (y - x) ** 2)
    assert trace.losses == pytest.approx(expected, rel=1e-12)


def test_a_function_of_params_gets_the_parameters(recorder):
    by_params = lambda params, lr: {"x": sgd(params[:1], lr), "y": sgd(params[1:], 0.05)}  # noqa: E731
    one, _ = repeat_of(pair(optimizers=by_params), recorder)
    other, _ = repeat_of(pair(), recorder)
    assert one.losses == other.losses


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.5}])
def test_accumulation_clipping_and_a_loss_scaler_hold_for_each(recorder, clip):
    batches = [torch.tensor(1.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)]
    parts, _ = repeat_of(pair(train_loader=batches, training=UpdateOptions(accumulate=2, **clip)), recorder)
    whole, _ = repeat_of(pair(train_loader=[torch.tensor(2.0)], training=UpdateOptions(**clip)), recorder)
    scaled, _ = repeat_of(
        pair(train_loader=[torch.tensor(2.0)], training=UpdateOptions(precision=Precision.FP16, **clip)), recorder
    )
    assert parts.losses == pytest.approx(whole.losses, rel=1e-6)
    assert scaled.losses == pytest.approx(whole.losses, rel=1e-9)


def test_only_a_skipped_step_of_the_swept_one_uses_up_no_rate(recorder):
    def overflowing(bad):
        def step(model, batch):
            losses = own_losses(model, torch.ones((), dtype=torch.float64))
            if batch == 3:
                losses[bad] = losses[bad] + (0 * getattr(model, bad)).sqrt()  # its gradient is NaN
            return losses

        return step

    batches = [torch.tensor(float(i), dtype=torch.float64) for i in range(40)]
    fp16 = UpdateOptions(precision=Precision.FP16)
    own, _ = repeat_of(pair(train_loader=batches, training_step=overflowing("x"), training=fp16), recorder)
    assert (own.skipped, own.updates, own.stop) == (1, 15, Stop.COMPLETED)
    other, _ = repeat_of(pair(train_loader=batches, training_step=overflowing("y"), training=fp16), recorder)
    assert (other.skipped, other.updates, other.stop) == (0, 15, Stop.COMPLETED)
    still = [0.05] * 3 + [0.0] + [0.05] * 11
    assert other.losses == pytest.approx(losses_by_turns(other.lrs, still, "x"), rel=1e-12)


def test_each_loss_is_computed_in_the_precision(recorder):
    seen = []

    def step(model, batch):
        seen.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
        return own_losses(model, batch)

    repeat_of(pair(training_step=step, training=UpdateOptions(precision=Precision.BF16)), recorder)
    assert seen == [torch.bfloat16] * 31  # two an update, and one after the last


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))


def gan_losses(model, batch):
    real = batch[0]
    made = model.generator(torch.randn(len(real), 2))
    judge = lambda points, label: nn.functional.softplus((1 - 2 * label) * model.discriminator(points)).mean()  # noqa: E731
    return {"discriminator": judge(real, 1) + judge(made.detach(), 0), "generator": judge(made, 1)}


def gan_optimizers(model):
    return {
        "generator": torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        "discriminator": torch.optim.Adam(model.discriminator.parameters(), lr=4e-3, betas=(0.5, 0.999)),
    }


POINTS = [(torch.randn(16, 2, generator=torch.Generator().manual_seed(i)) + 2,) for i in range(5)]


@pytest.mark.parametrize("swept", ["generator", "discriminator"])
def test_a_gan_is_trained_as_a_bare_loop_trains_it_and_comes_back(recorder, swept):
    model = Gan()
    optimizers = gan_optimizers(model)
    mine = (model, optimizers)
    start, before = copy.deepcopy(model), picture(mine, set())
    problem = Problem(
        name="gan", model=model, optimizers=optimizers, train_loader=POINTS, training_step=gan_losses,
        training=UpdateOptions(swept_optimizer=swept),
    )  # fmt: skip
    trace, setup = repeat_of(problem, recorder)
    assert setup.optimizer.chosen_by == f"of 2: {swept}"
    with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:
        assert runs.run(RunPlan(lr=1e-2, steps=10)).stop is Stop.COMPLETED
    assert picture(mine, set()) == before

    torch.manual_seed(trace.seed)
    others = gan_optimizers(start)
    losses = []
    for rate, batch in zip([*trace.lrs, None], itertools.cycle(POINTS), strict=False):
        computed = gan_losses(start, batch)
        losses.append(computed[swept].item())
        if rate is None:
            break
        for group in others[swept].param_groups:
            group["lr"] = rate
        for name in ("discriminator", "generator"):
            loss = computed[name] if name == "discriminator" else gan_losses(start, batch)[name]
            others[name].zero_grad()
            loss.backward()
            others[name].step()
    assert [trace.initial_loss, *trace.losses] == pytest.approx(losses, rel=1e-5)


BOTH = lambda model, lr: {"x": sgd([model.x], lr), "y": sgd([model.y], lr)}  # noqa: E731


@pytest.mark.parametrize(
    ("changes", "kind", "message", "hint"),
    [
        (
            {"optimizers": BOTH},
            UsageError,
            "2 optimizers whose rate could be swept",
            "--sweep-optimizer x, --sweep-optimizer y",
        ),
        (
            {"optimizers": BOTH, "training": UpdateOptions(swept_optimizer="x")},
            UsageError,
            "'y' follows lr too",
            "--scale-others",
        ),
        (
            {"training": UpdateOptions(swept_optimizer="z")},
            UsageError,
            "has no optimizer 'z' to sweep",
            "--sweep-optimizer x",
        ),
        (
            {"training": UpdateOptions(swept_optimizer="y")},
            ModelFileError,
            "optimizer 'y' doesn't follow lr",
            "as a number",
        ),
        (
            {"training": UpdateOptions(scale_others=True)},
            ModelFileError,
            "optimizer 'y' doesn't follow lr",
            "as a number",
        ),
        ({"optimizer_name": "sgd"}, UsageError, "'sgd' was asked for", "remove one"),
        (
            {"training_step": lambda model, batch: {"x": model.x**2}},
            ModelFileError,
            "losses called 'x', and the optimizers are called 'x', 'y'",
            "in the order of the updates",
        ),
        (
            {"training_step": lambda model, batch: {"x": model.x**2, "y": 1.0}},
            ModelFileError,
            "the loss of 'y' is a float",
            "training_step",
        ),
        (
            {"optimizers": None, "optimizer": sgd, "training": UpdateOptions(swept_optimizer="x")},
            UsageError,
            "no `optimizers` by name, and swept_optimizer 'x' was asked for",
            "leave",
        ),
        (
            {"optimizers": None, "optimizer": sgd, "training": UpdateOptions(scale_others=True)},
            UsageError,
            "no `optimizers` by name, and scale_others was asked for",
            "leave",
        ),
    ],
)
def test_what_cant_be_swept(recorder, changes, kind, message, hint):
    with pytest.raises(LrfinderError) as caught:
        repeat_of(pair(**changes), recorder)
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_losses_in_a_mapping_now_and_alone_then_are_refused(recorder):
    count = itertools.count()
    changing = lambda model, batch: own_losses(model, batch) if next(count) == 0 else common_loss(model, batch)  # noqa: E731
    with pytest.raises(ModelFileError, match="a mapping of losses for one batch and a single loss for another"):
        repeat_of(pair(training_step=changing), recorder)


@pytest.mark.parametrize("form", [list, tuple, lambda found: dict(enumerate(found))])
def test_a_sequence_or_a_mapping_is_swept_as_one_with_its_ratios(recorder, form):
    several = lambda params, lr: form([sgd(params[:1], lr), sgd(params[1:], 0.5 * lr)])  # noqa: E731
    one = lambda params, lr: sgd([{"params": params[:1]}, {"params": params[1:], "lr": 0.5 * lr}], lr)  # noqa: E731
    given = {"optimizers": None, "training_step": common_loss}
    apart, setup = repeat_of(pair(**given, optimizer=several), recorder)
    together, _ = repeat_of(pair(**given, optimizer=one), recorder)
    assert apart.losses == together.losses
    assert setup.optimizer.group_ratios == pytest.approx((1.0, 0.5))


def in_backward(params, lr, *, zero=True):
    """As in torch's tutorial on fusing the optimizer step into the backward pass."""
    optimizers = {p: torch.optim.Adam([p], lr=lr, foreach=False) for p in params}

    def hook(parameter):
        optimizers[parameter].step()
        if zero:
            optimizers[parameter].zero_grad()

    for p in params:
        p.register_post_accumulate_grad_hook(hook)
    return optimizers


INPUTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def regression(**changes):
    given = {
        "name": "net",
        "where": "model.py",
        "model": net,
        "train_loader": [(INPUTS, INPUTS.sum(1, keepdim=True))],
        "loss_fn": nn.functional.mse_loss,
        "optimizer": in_backward,
    }
    return Problem(**(given | changes))


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("live", ["callables", "a live model", "all live"])
def test_steps_in_the_backward_pass_are_made_once_and_the_hooks_go(recorder, live, zero):
    model = net()
    given = {} if live == "callables" else {"model": model}
    if live == "all live":
        given["optimizer"] = in_backward(list(model.parameters()), 0.1, zero=zero)
    else:
        given["optimizer"] = functools.partial(in_backward, zero=zero)
    mine = (model, given["optimizer"])
    before = picture(mine, set())
    settings = SweepSettings(repeats=2, steps=10, min_lr=1e-3, max_lr=0.1)
    given_initial = copy.deepcopy(model) if live != "callables" else None
    fused = run_sweep(regression(**given), settings, device=CPU, observer=recorder())
    assert picture(mine, set()) == before
    plain = {"optimizer": lambda params, lr: torch.optim.Adam(params, lr=lr, foreach=False)}
    if given_initial is not None:
        for parameter in given_initial.parameters():
            parameter._post_accumulate_grad_hooks = None
        plain["model"] = given_initial
    expected = run_sweep(regression(**plain), settings, device=CPU, observer=recorder())
    assert [trace.losses for trace in fused] == [trace.losses for trace in expected]
    assert [trace.updates for trace in fused] == [10, 10]


@pytest.mark.parametrize(
    ("training", "option"),
    [
        (UpdateOptions(accumulate=2), "accumulate"),
        (UpdateOptions(clip_norm=1.0), "clip_norm"),
        (UpdateOptions(clip_value=1.0), "clip_value"),
        (UpdateOptions(precision=Precision.FP16), "precision fp16"),
    ],
)
def test_steps_in_the_backward_pass_leave_no_room_for_what_comes_before_a_step(recorder, training, option):
    with pytest.raises(UsageError, match=f"{option} can't be followed: optimizer . steps in a hook of the backward"):
        repeat_of(regression(training=training), recorder)


def test_hooks_that_only_look_change_nothing(recorder):
    seen = []

    def looking(params, lr):
        params[0].register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.norm().item()))
        return sgd(params, lr)

    looked, _ = repeat_of(regression(optimizer=looking, training=UpdateOptions(accumulate=2)), recorder)
    plain, _ = repeat_of(regression(optimizer=sgd, training=UpdateOptions(accumulate=2)), recorder)
    assert looked.losses == plain.losses
    assert len(seen) == 30
