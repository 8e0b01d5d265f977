"""What binds a config's rate: momentum, weight decay, the second moment, and other frameworks' defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_lr
from lrfinder.optimizers import (
    classes_of,
    decoupled_decay,
    not_taken,
    second_moment_decay,
    second_moment_updates,
    traits_of,
)

# What a name means elsewhere, if it isn't the same: keyword -> default. torch's and Keras's own are held equal to
# their signatures in the tests; TensorFlow 1's are those of its documentation.
DEFAULTS: Mapping[str, Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "RMSprop": {
            "torch": {"lr": 0.01, "alpha": 0.99, "eps": 1e-8},
            "keras": {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-7},
            "tensorflow 1": {"decay": 0.9, "momentum": 0.0, "epsilon": 1e-10},
        },
        "Adadelta": {
            "torch": {"lr": 1.0, "rho": 0.9, "eps": 1e-6},
            "keras": {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7},
        },
        "Adagrad": {
            "torch": {"lr": 0.01, "initial_accumulator_value": 0.0, "eps": 1e-10},
            "keras": {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7},
        },
        "Adam": {
            "torch": {"lr": 0.001, "eps": 1e-8},
            "keras": {"learning_rate": 0.001, "epsilon": 1e-7},
        },
        "AdamW": {
            "torch": {"lr": 0.001, "weight_decay": 0.01, "eps": 1e-8},
            "keras": {"learning_rate": 0.001, "weight_decay": 0.004, "epsilon": 1e-7},
        },
        "SGD": {
            "torch": {"lr": 0.001, "momentum": 0.0},
            "keras": {"learning_rate": 0.01, "momentum": 0.0},
        },
    }
)
_MOST_SAMPLES = 10_000  # updates at which a long schedule is summed; its mean is exact to four digits then


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that binds the rate: what it is called, its number with its unit if it has one, and what follows."""

    name: str
    value: float | None
    unit: str
    text: str


def explain(config: ScheduleConfig, *, of_a_run: bool = True) -> tuple[Fact, ...]:
    """Return what binds the peak rate of a config, and what its decay changes about it.

    Without `of_a_run` the config describes no run, only an optimizer (see `bare_config`): the facts that need
    a length are left out.

    effective rate      lr / (1 - m)            SGD with momentum m, v = m v + g, without dampening
    decay's timescale   1 / (lr wd) updates     how long weights remember (Wang & Aitchison, arXiv:2405.13698)
    weights left        exp(-wd sum_t f(t))     of what they began with, without gradients, for decoupled decay
    warm-up need        2 / (1 - beta2)         updates (Ma & Yarats, arXiv:1910.04209)

    Nothing follows from a setting that the optimizer's class doesn't take.
    """
    optimizer = config.optimizer
    refused = not_taken(optimizer.name, optimizer.settings)
    settings = {key: value for key, value in optimizer.settings.items() if key not in refused}
    taken = config.model_copy(update={"optimizer": optimizer.model_copy(update={"settings": settings})})
    decay = _weight_decay(taken, of_a_run=of_a_run)
    facts = [*_momentum(taken), *decay, *_warmup(taken, of_a_run=of_a_run), _loss_scale(taken)]
    return (*(_refused(optimizer.name, key) for key in refused), *facts, *_elsewhere(optimizer.name))


def _refused(name: str, key: str) -> Fact:
    text = f"{name} takes no {key}: torch would refuse to make it with that, and nothing follows from it"
    return Fact(name=key.replace("_", " "), value=None, unit="", text=text)


def _not_known(name: str) -> str:
    """Say that a fact isn't known of an optimizer, or not of several as one."""
    each = classes_of(name)
    return (
        f"isn't known here for {name}"
        if len(each) == 1
        else f"differs between {' and '.join(each)}, or isn't known here"
    )


def _decays_of(name: str) -> str:
    """Say what each of several optimizers does with a weight decay."""
    what = {
        True: "shrinks the weights by lr x decay in each update (decoupled)",
        False: "adds it to the gradient (L2)",
        None: "isn't known here",
    }
    each = ", ".join(f"{one} {what[decoupled_decay(one, {})]}" for one in classes_of(name))
    return f"{each}; which of them has it isn't known here"


def _momentum(config: ScheduleConfig) -> list[Fact]:
    settings, peak = config.optimizer.settings, config.optimizer.lr
    given = settings.get("momentum")
    momentum = given if isinstance(given, float) and 0 < given < 1 else None
    name, traits = config.optimizer.name, traits_of(config.optimizer.name)
    if not traits.known and (momentum is not None or "betas" in settings):
        text = f"how momentum changes the size of an update {_not_known(name)}"
        return [Fact(name="effective rate", value=None, unit="", text=text)]
    if momentum is not None and traits.adds_momentum:
        dampening = settings.get("dampening")
        damped = dampening if isinstance(dampening, float) else 0.0
        factor = (1 - damped) / (1 - momentum)
        text = (
            "dampening averages the gradients, so momentum doesn't raise the rate"
            if damped == momentum
            else f"momentum {momentum:g} adds up gradients: in a steady direction each counts {factor:g} times. Change "
            "one, and the rate changes by the same factor"
        )
        return [Fact(name="effective rate", value=peak * factor, unit="", text=text)]
    if "betas" in settings:
        text = "beta1 averages the gradients, it doesn't raise the rate: an update is at most about the rate itself"
        return [Fact(name="effective rate", value=peak, unit="", text=text)]
    return []


def _weight_decay(config: ScheduleConfig, *, of_a_run: bool) -> list[Fact]:
    settings, peak = config.optimizer.settings, config.optimizer.lr
    decay = settings.get("weight_decay")
    if not isinstance(decay, int | float) or isinstance(decay, bool) or decay <= 0:
        return []
    name, decoupled = config.optimizer.name, decoupled_decay(config.optimizer.name, settings)
    if decoupled is None and len(classes_of(name)) > 1:
        text = f"weight decay {decay:g}: {_decays_of(name)}"
        return [Fact(name="weight decay", value=float(decay), unit="", text=text)]
    if decoupled is None:
        text = (
            f"whether {name} adds the weight decay {decay:g} to the gradient (L2), or shrinks the weights by lr x "
            "decay in each update (decoupled), isn't known here: its documentation says"
        )
        return [Fact(name="weight decay", value=float(decay), unit="", text=text)]
    if not decoupled:
        text = f"weight decay {decay:g} is added to the gradient (L2): " + (
            f"with {name} the weights shrink by lr x decay in each update, so it follows the schedule"
            if traits_of(name).norm == "l2"
            else "an adaptive optimizer divides it by the gradient's size, so it is no steady shrinking"
        )
        return [Fact(name="weight decay", value=float(decay), unit="", text=text)]
    timescale = 1 / (peak * decay)
    remembered = Fact(
        name="weight decay's timescale",
        value=timescale,
        unit="updates",
        text=f"decoupled: each update shrinks the weights by the rate times {decay:g}, so they remember about "
        f"1/(lr x decay) = {timescale:,.0f} updates at the peak, and more as the rate falls. Halve the rate alone, "
        "and that doubles",
    )
    return [remembered, _weights_left(config, decay)] if of_a_run else [remembered]


def _weights_left(config: ScheduleConfig, decay: float) -> Fact:
    left = math.exp(-decay * _sum_of_rates(config))
    return Fact(
        name="weights left by decay",
        value=left,
        unit="",
        text=f"over the run's {config.steps} updates decay alone would leave {left:.1%} of the initial "
        "weights: much above a half and it hardly acts, near zero and the weights are the run's own",
    )


def _sum_of_rates(config: ScheduleConfig) -> float:
    """Return the sum of f(t) over the run, by the midpoints of as many stretches as are affordable."""
    steps, schedule = config.steps, config.followed
    count = min(steps, _MOST_SAMPLES)
    stretch = steps / count
    return config.optimizer.lr * stretch * math.fsum(schedule.factor(int((i + 0.5) * stretch)) for i in range(count))


def _warmup(config: ScheduleConfig, *, of_a_run: bool) -> list[Fact]:
    settings, warmup = config.optimizer.settings, config.schedule.warmup
    beta2 = second_moment_decay(config.optimizer.name, settings)
    if beta2 is None:
        return []
    needed = second_moment_updates(beta2)
    if warmup >= needed:
        follows = f"{warmup} updates of warm-up are enough"
    elif not (of_a_run or warmup):
        follows = "a warm-up of as many bridges that, where the run is long enough for it"
    else:
        follows = f"there are {warmup} of warm-up: a compromise if the run is short, a risk if the first steps diverge"
    return [
        Fact(
            name="warm-up need",
            value=needed,
            unit="updates",
            text=f"{_whose(config.optimizer.name)} second moment averages about 2/(1 - {beta2:g}) = {needed:.0f} "
            f"updates; before, its estimate rests on few gradients; {follows}",
        )
    ]


def _whose(name: str) -> str:
    each = classes_of(name)
    return "the" if len(each) == 1 else f"{each[0]}'s"


def _loss_scale(config: ScheduleConfig) -> Fact:
    settings, name, traits = config.optimizer.settings, config.optimizer.name, traits_of(config.optimizer.name)
    plain = name == "SGD" and not settings.get("momentum") and not settings.get("weight_decay")
    if plain:
        text = "scaling the loss by f(t)/peak at a constant rate is the same as this decay: plain SGD"
    elif name == "SGD":
        text = (
            "scaling the loss by f(t)/peak is not the same as this decay: momentum keeps gradients at their old scale, "
            "and weight decay isn't scaled"
        )
    elif traits.known and traits.norm == "l1":
        text = f"scaling the loss instead does next to nothing with {name}: it divides the gradient by its own size"
    else:
        text = f"whether scaling the loss by f(t)/peak is the same as this decay {_not_known(name)}"
    return Fact(name="loss scaling", value=None, unit="", text=text)


def _elsewhere(name: str) -> list[Fact]:
    """Say which of an optimizer's defaults differ between frameworks."""
    frameworks = DEFAULTS.get(name)
    if frameworks is None:
        return []
    each = "; ".join(
        f"{framework}: {', '.join(f'{key} {format_lr(value) if value else 0}' for key, value in defaults.items())}"
        for framework, defaults in frameworks.items()
    )
    return [
        Fact(name="defaults elsewhere", value=None, unit="", text=f"{each}. A rate found in one is not one for another")
    ]
