"""The optimizer: by function, live, by name; ratios between groups; what is recorded of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrfinder.config import OptimizerConfig
from lrfinder.errors import LrfinderError, ModelFileError, UsageError
from lrfinder.importing import import_schedule
from lrfinder.records import UpdateOptions
from lrfinder.task.optimizers.build import REFERENCE_LR, make_optimizer, optimizer_facts
from lrfinder.task.optimizers.by_name import named_optimizer
from lrfinder.task.problem import BuiltProblem, Problem, SweptOptimizer

FILE = "def model():\n    return nn.Linear(3, 2)\ntrain_loader = [(torch.ones(4, 3), torch.zeros(4, 2))]\n"


def problem(net: nn.Module, optimizer: object) -> Problem:
    return Problem(name="net", model=net, train_loader=[], optimizer=optimizer)  # type: ignore[arg-type]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_ratios_of_a_function_are_those_it_multiplies_lr_by(factors: list[float]) -> None:
    net = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in factors])

    def optimizer(params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        groups = [{"params": [p], "lr": factor * lr} for p, factor in zip(params, factors, strict=True)]
        return torch.optim.SGD(groups, lr=lr)

    made = make_optimizer(problem(net, optimizer), net)
    assert made.group_ratios == pytest.approx(factors)
    assert [g["lr"] / REFERENCE_LR for g in made.optimizer.param_groups] == pytest.approx(factors)
    assert made.chosen_by == "model file"


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5))
def test_ratios_of_a_live_optimizer_are_to_its_largest_rate(rates: list[float]) -> None:
    net = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in rates])
    groups = [{"params": [p], "lr": rate} for p, rate in zip(net.parameters(), rates, strict=True)]
    live = torch.optim.Adam(groups)
    made = make_optimizer(problem(net, live), net)
    assert made.optimizer is live
    assert made.group_ratios == pytest.approx([rate / max(rates) for rate in rates])
    assert [g["lr"] for g in live.param_groups] == rates


def test_a_schedulers_warm_up_does_not_hide_the_rate() -> None:
    net = nn.Linear(1, 1)
    live = torch.optim.SGD([{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.01}])
    torch.optim.lr_scheduler.LambdaLR(live, lambda step: min(1.0, step / 10))
    assert [g["lr"] for g in live.param_groups] == [0.0, 0.0]
    assert make_optimizer(problem(net, live), net).group_ratios == pytest.approx((1.0, 0.1))


def with_a_default(params: list[nn.Parameter], lr: float = 0.3) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=lr)


OWN = {  # what makes the optimizer, and the user's own rate
    "live": (lambda net: torch.optim.SGD(net.parameters(), lr=0.2), 0.2),
    "live, the default of its class": (lambda net: torch.optim.AdamW(net.parameters()), 1e-3),
    "groups": (
        lambda net: torch.optim.SGD([{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.01}]),
        0.1,
    ),
    "several": (lambda net: [torch.optim.SGD([net.weight], lr=0.1), torch.optim.Adam([net.bias], lr=0.4)], 0.4),
    "function": (lambda _: lambda params, lr: torch.optim.SGD(params, lr=lr), None),
    "function with a default": (lambda _: with_a_default, 0.3),
    "function of any arguments": (lambda _: lambda *given: torch.optim.SGD(*given, momentum=0.9), None),
    "class": (lambda _: torch.optim.SGD, None),
    "nothing": (lambda _: None, None),
}


@pytest.mark.parametrize("case", OWN)
def test_the_rate_that_the_file_itself_gives_its_optimizer_is_recorded(case: str) -> None:
    net = nn.Linear(1, 1)
    make, rate = OWN[case]
    made = make_optimizer(problem(net, make(net)), net)
    assert optimizer_facts(made.parts, made.chosen_by, made.own_lr).own_lr == rate


def test_of_an_optimizer_that_a_scheduler_has_it_is_the_schedulers_peak() -> None:
    net = nn.Linear(1, 1)
    live = torch.optim.SGD(net.parameters(), lr=0.2)
    torch.optim.lr_scheduler.LinearLR(live, start_factor=0.1)
    assert make_optimizer(problem(net, live), net).own_lr == 0.2
    torch.optim.lr_scheduler.OneCycleLR(live := torch.optim.SGD(net.parameters(), lr=1.0), 0.7, total_steps=9)
    assert make_optimizer(problem(net, live), net).own_lr == 0.7


def test_of_named_optimizers_it_is_that_of_the_swept_one() -> None:
    net = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    named = {name: torch.optim.SGD(net[name].parameters(), lr=rate) for name, rate in (("a", 0.1), ("b", 0.9))}
    both = Problem(
        name="net", model=net, train_loader=[], optimizers=named, training=UpdateOptions(swept_optimizer="a")
    )
    assert make_optimizer(both, net).own_lr == pytest.approx(0.1)


def test_a_tensor_as_the_rate_is_a_rate() -> None:
    net = nn.Linear(1, 1)
    made = make_optimizer(problem(net, torch.optim.SGD(net.parameters(), lr=torch.tensor(0.5))), net)
    assert made.group_ratios == (1.0,)


@pytest.mark.parametrize(
    "optimizer",
    [
        "optimizer = torch.optim.SGD",
        "import functools\noptimizer = functools.partial(torch.optim.SGD, momentum=0.9)",
        "def optimizer(params, lr, momentum=0.9):\n    return torch.optim.SGD(params, lr=lr, momentum=momentum)",
        "optimizer = lambda params, lr: torch.optim.SGD(params, lr)",
        "class optimizer(torch.optim.SGD):\n    pass",
    ],
)
def test_forms_of_the_function(build: Callable[..., BuiltProblem], optimizer: str) -> None:
    trial = build(FILE + optimizer)
    assert isinstance(trial.optimizer, torch.optim.SGD)
    assert trial.group_ratios == (1.0,)
    assert trial.optimizer.param_groups[0]["lr"] == REFERENCE_LR


def test_a_function_may_go_through_the_parameters_twice(build: Callable[..., BuiltProblem]) -> None:
    trial = build(
        FILE + "def optimizer(params, lr):\n    return torch.optim.SGD([{'params': [p for p in params if p.ndim == n]} "
        "for n in (2, 1)], lr=lr)"
    )
    assert [len(group["params"]) for group in trial.optimizer.param_groups] == [1, 1]


def classes() -> dict[str, type[torch.optim.Optimizer]]:
    return {n: k for n, k in vars(torch.optim).items() if inspect.isclass(k) and issubclass(k, torch.optim.Optimizer)}


def test_every_optimizer_of_torch_is_known_by_name() -> None:
    net = nn.Linear(3, 2, bias=False)  # matrices only, which is what Muon takes
    for name in sorted(classes().keys() - {"Optimizer"}):
        for spelling in (name, name.lower(), name.upper()):
            made = named_optimizer(spelling, list(net.parameters()), 0.25, {})
            assert type(made) is classes()[name]
            assert made.param_groups[0]["lr"] == 0.25


def test_options_are_passed_to_the_optimizers_that_take_them(build: Callable[..., BuiltProblem]) -> None:
    trial = build(FILE, optimizer_name="sgd", optimizer_options={"momentum": 0.8, "weight_decay": 0.02})
    (group,) = trial.optimizer.param_groups
    assert (type(trial.optimizer), group["momentum"], group["weight_decay"]) == (torch.optim.SGD, 0.8, 0.02)
    assert trial.optimizer_note == "option"


def test_without_anything_it_is_adamw_as_torch_makes_it(build: Callable[..., BuiltProblem]) -> None:
    trial = build(FILE)
    reference = torch.optim.AdamW([nn.Parameter(torch.ones(1))])
    assert type(trial.optimizer) is torch.optim.AdamW
    assert trial.optimizer_note == "default"
    assert trial.optimizer.defaults == reference.defaults


@pytest.mark.parametrize(
    ("options", "file", "message", "hint"),
    [
        ({"optimizer_name": "adamm"}, "", "torch.optim has no optimizer 'adamm'", "did you mean Adam"),
        ({"optimizer_name": "Optimizer"}, "", "no optimizer 'Optimizer'", "Known: ASGD, Adadelta"),
        ({"optimizer_name": "Adam", "optimizer_options": {"momentum": 0.9}}, "", "Adam takes no momentum", "SGD"),
        ({"optimizer_options": {"momentum": 0.9}}, "", "AdamW takes no momentum", "RMSprop, SGD"),
        ({"optimizer_name": "Rprop", "optimizer_options": {"weight_decay": 0.1}}, "", "takes no weight decay", "AdamW"),
        ({"optimizer_name": "SGD", "optimizer_options": {"momentum": -1.0}}, "", "Invalid momentum value: -1.0", None),
        ({"optimizer_name": "muon"}, "", "Muon only supports 2D parameters", None),
        ({"optimizer_name": "SGD"}, "optimizer = torch.optim.Adam\n", "'SGD' was asked for", "remove one"),
        ({"optimizer_options": {"momentum": 0.9}}, "optimizer = torch.optim.Adam\n", "'momentum' was asked", "remove"),
    ],
)
def test_options_that_cant_be_followed(
    build: Callable[..., BuiltProblem], options: dict[str, object], file: str, message: str, hint: str | None
) -> None:
    if options == {"optimizer_name": "muon"} and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    with pytest.raises(LrfinderError) as caught:
        build(FILE + file, **options)
    assert type(caught.value) is UsageError
    assert message in str(caught.value)
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize("name", sorted(classes().keys() - {"Optimizer"}))
def test_facts_agree_with_the_group_and_the_signature(name: str) -> None:
    kind = classes()[name]
    made = kind(list(nn.Linear(3, 2, bias=False).parameters()), lr=0.5)  # type: ignore[call-arg]
    facts = optimizer_facts([SweptOptimizer(name="optimizer", optimizer=made, group_ratios=(1.0,))], "option")
    assert (facts.name, facts.group_ratios, facts.chosen_by) == (name, (1.0,), "option")
    assert facts.default_lr == inspect.signature(kind.__init__).parameters["lr"].default
    no_values = {key for key, value in made.param_groups[0].items() if isinstance(value, tuple) and None in value}
    assert no_values <= {"eps"}
    assert facts.settings.keys() == made.param_groups[0].keys() - no_values - {
        "params", "lr", "foreach", "fused", "capturable", "differentiable"
    }  # fmt: skip
    for key, value in facts.settings.items():
        assert value == made.param_groups[0][key]


def test_what_only_text_could_stand_for_is_left_out_if_nobody_chose_it() -> None:
    """torch's Adafactor has an eps of (None, 0.001), which no config can hold, and takes no text for it."""
    weights = [nn.Parameter(torch.zeros(2, 2))]
    for given_, eps in (({}, None), ({"eps": (None, 0.5)}, "(None, 0.5)"), ({"eps": (0.1, 0.5)}, (0.1, 0.5))):
        made = torch.optim.Adafactor(weights, **given_)
        facts = optimizer_facts([SweptOptimizer(name="optimizer", optimizer=made, group_ratios=(1.0,))], "model file")
        assert facts.settings.get("eps") == eps
        if eps is None:
            again = torch.optim.Adafactor(weights, **{k: v for k, v in facts.settings.items() if v is not None})
            assert again.defaults == made.defaults


def test_keys_that_are_no_text_are_no_settings() -> None:
    net = nn.Linear(2, 1)
    made = torch.optim.SGD([{"params": net.parameters(), 3: "x", ("a",): 1}], lr=0.1)
    facts = optimizer_facts([SweptOptimizer(name="optimizer", optimizer=made, group_ratios=(1.0,))], "model file")
    assert facts.settings["momentum"] == 0
    assert all(isinstance(key, str) for key in facts.settings)
    made.defaults[3] = "x"  # type: ignore[index] - where a class of the user's takes it from
    scheduler = torch.optim.lr_scheduler.ConstantLR(made, 0.5, total_iters=8)
    assert all(isinstance(key, str) for key in import_schedule(scheduler, steps=12).optimizer.settings)


def test_facts_of_unusual_settings() -> None:
    class Odd(torch.optim.SGD):
        def __init__(self, params: object, lr: float) -> None:
            super().__init__(params, lr=lr)  # type: ignore[arg-type]
            self.param_groups[0].update(betas=[0.9, torch.tensor(0.5)], table=torch.ones(2), hook=print, initial_lr=3.0)

    odd = Odd(nn.Linear(1, 1).parameters(), 1.0)
    facts = optimizer_facts([SweptOptimizer(name="optimizer", optimizer=odd, group_ratios=(1.0,))], "model file")
    assert facts.settings["betas"] == (0.9, 0.5)
    assert facts.settings["table"] == "[1.0, 1.0]"
    assert "hook" not in facts.settings
    assert "initial_lr" not in facts.settings
    assert facts.default_lr is None


def test_a_setting_that_no_config_could_hold_is_left_out() -> None:
    net = nn.Linear(2, 1)
    live = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    odd = {
        "clip": float("inf"),
        "scale": torch.tensor(float("nan")),
        "seed": 2**64 - 1,
        "betas": (0.9, float("inf")),
        "title": "\x1b[2J",
        "half": "\ud800",
        "steps": tuple(range(10_000)),
        "trace": torch.ones(100, 100),
    }
    live.param_groups[0].update(odd, depth=3)
    facts = optimizer_facts(make_optimizer(problem(net, live), net).parts, "model file")
    assert not odd.keys() & facts.settings.keys()
    assert (facts.settings["momentum"], facts.settings["depth"]) == (0.9, 3)
    config = OptimizerConfig(
        name=facts.name, lr=0.1, settings={k: v for k, v in facts.settings.items() if v is not None}
    )
    assert config.settings["momentum"] == 0.9


@pytest.mark.parametrize("rate", [None, [0.1, 0.2], "fast", torch.ones(2), math.inf, torch.tensor(math.nan), 10**400])
def test_an_optimizer_that_takes_no_rate_can_t_be_swept(rate: object) -> None:
    net = nn.Linear(1, 1)

    def own_steps(params: object, lr: float) -> torch.optim.Optimizer:
        made = torch.optim.SGD(params, lr=lr)  # type: ignore[arg-type]
        made.param_groups[0]["lr"] = rate
        return made

    given = [{"optimizer": own_steps}, {"optimizer": own_steps(net.parameters(), 0.1)}]
    given += [{"optimizers": lambda model, lr: {"net": own_steps(model.parameters(), lr)}}]
    for names in given:
        with pytest.raises(ModelFileError, match=r"param group 0 of SGD has .* so there is none to sweep"):
            make_optimizer(Problem(name="net", model=net, train_loader=[], **names), net)  # type: ignore[arg-type]


def test_a_setting_that_holds_itself_is_in_no_record() -> None:
    net = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.param_groups[0]["clip"] = endless = []
    endless.append(endless)
    made = make_optimizer(problem(net, optimizer), net)
    assert "clip" not in optimizer_facts(made.parts, "model file").settings


def test_an_optimizer_that_maximizes_is_swept_only_beside_another() -> None:
    net = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    up = torch.optim.SGD(net[1].parameters(), lr=0.1, maximize=True)
    with pytest.raises(ModelFileError, match="SGD maximizes"):
        make_optimizer(problem(net, up), net)
    pair = {"down": torch.optim.SGD(net[0].parameters(), lr=0.1), "up": up}
    beside = Problem(
        name="net", model=net, train_loader=[], optimizers=pair, training=UpdateOptions(swept_optimizer="down")
    )
    assert [part.name for part in make_optimizer(beside, net).parts] == ["down", "up"]


def multipliers_climb(net: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": -lr}], lr=lr)  # torch takes it


@pytest.mark.parametrize("form", ["function", "live", "by name"])
def test_a_param_group_that_climbs_is_refused(form: str) -> None:
    net = nn.Linear(1, 1)
    given = {
        "function": {"optimizer": lambda params, lr: multipliers_climb(net, lr)},
        "live": {"optimizer": multipliers_climb(net, 0.1)},
        "by name": {"optimizers": lambda model, lr: {"net": multipliers_climb(model, lr)}},
    }[form]
    with pytest.raises(ModelFileError, match="param group 1 of SGD has a rate below 0") as refused:
        make_optimizer(Problem(name="net", model=net, train_loader=[], **given), net)
    assert "register_hook" in refused.value.hint


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_what_a_scheduler_keeps_in_a_group_is_no_setting_of_the_optimizer(kind: type) -> None:
    net = nn.Linear(1, 1)
    live = kind(net.parameters(), lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(live, 0.5, total_steps=100)
    torch.optim.swa_utils.SWALR(live, swa_lr=0.05)
    facts = optimizer_facts(make_optimizer(problem(net, live), net).parts, "model file")
    assert facts.settings.keys() <= live.defaults.keys()
