"""What is suspicious about a schedule config, told without running anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_interval, format_lr
from lrfinder.optimizers import classes_of, decoupled_decay, not_taken, traits_of

# An adaptive optimizer moves each weight by about the rate in an update, and weights are seldom larger than 1.
LARGEST_ADAPTIVE = 0.5
LARGEST_PLAIN = 100.0  # for gradient descent, momentum's factor included: the end of the sweep's default range
SMALLEST = 1e-8  # below the least significant digit of a weight near 1 in single precision
SMALLEST_ADADELTA = 0.01  # torch's default is 1; 0.001 is Keras's, whose update is another
LARGEST_LION = 0.01  # its updates are of the rate's size for every weight: a third to a tenth of AdamW's rate
WHOLE = (0.1, 10.0)  # rates of optimizers that estimate their own: 1, and what people scale it by
LONGEST_WARMUP = 0.5  # of the run
ERASED = 100  # updates: weights that forget within so many hold nothing of the data
OVER, LEFT = 1e-4, 0.1  # a rate below OVER of the peak for more than LEFT of the run; of a decay that is usual
_SAMPLES = 1000  # updates at which a long schedule is looked at
_OWN_RATE = ("prodigy", "dadapt", "dog")  # parts of the names of optimizers that estimate their rate
_OWN_SCHEDULE = "schedulefree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """One thing that looks like a mistake: where it is in the config, what it is, and what to do."""

    where: str
    what: str
    hint: str


def lint(config: ScheduleConfig) -> tuple[Suspicion, ...]:
    """Return what looks like a mistake in a config that is valid; nothing if all looks well."""
    return tuple(found for check in _CHECKS for found in check(config))


def _rate(config: ScheduleConfig) -> Iterator[Suspicion]:
    peak, name = config.optimizer.lr, config.optimizer.name
    if _all_are(name, *_OWN_RATE):
        if not WHOLE[0] <= peak <= WHOLE[1]:
            yield _of_rate(peak, f"{name} estimates its rate itself, and `lr` scales that", "begin with lr: 1")
    elif peak < SMALLEST:
        yield _of_rate(peak, "no weight near 1 would change in single precision", "look for a missing digit")
    elif name.rpartition(".")[2].lower() == "adadelta" and peak < SMALLEST_ADADELTA:
        yield _of_rate(peak, "Adadelta's rate is about 1 in torch; 0.001 is Keras's", "try lr: 1")
    elif _all_are(name, "lion") and peak > LARGEST_LION:
        yield _of_rate(peak, f"{name} wants a third to a tenth of AdamW's rate", "sweep it")
    else:
        yield from _too_high(config)


def _all_are(name: str, *parts: str) -> bool:
    """Tell whether each of the optimizers has one of the parts in the name of its class."""
    plain = [one.rpartition(".")[2].lower().replace("_", "") for one in classes_of(name)]
    return all(any(part in one for part in parts) for one in plain)


def _too_high(config: ScheduleConfig) -> Iterator[Suspicion]:
    peak, name, traits = config.optimizer.lr, config.optimizer.name, traits_of(config.optimizer.name)
    if not traits.known or traits.accumulates or traits.no_decay is not None or name == "Adadelta":
        return
    if traits.norm == "l1" and peak > LARGEST_ADAPTIVE:
        yield _of_rate(peak, f"{name} moves each weight by about that much in every update", "sweep it")
    momentum = config.optimizer.settings.get("momentum")
    gathered = 1 - momentum if traits.adds_momentum and isinstance(momentum, float) and 0 < momentum < 1 else 1.0
    if traits.norm == "l2" and peak / gathered > LARGEST_PLAIN:
        with_momentum = f", and momentum makes {format_lr(peak / gathered)} of it" if gathered < 1 else ""
        yield _of_rate(peak, f"gradient descent diverges at such rates{with_momentum}", "sweep it")


def _of_rate(peak: float, why: str, hint: str) -> Suspicion:
    return Suspicion(where="optimizer.lr", what=f"{format_lr(peak)}: {why}", hint=hint)


def _band(config: ScheduleConfig) -> Iterator[Suspicion]:
    band = None if config.evidence is None else config.evidence.band
    if band is not None and not band[0] <= config.optimizer.lr <= band[1]:
        what = f"{format_lr(config.optimizer.lr)} is outside the band that was measured, {format_interval(*band)}"
        hint = "was the rate changed by hand? `lrfinder check MODEL --config CONFIG` tells whether it trains"
        yield Suspicion(where="optimizer.lr", what=what, hint=hint)


def _decay_for_nothing(config: ScheduleConfig) -> Iterator[Suspicion]:
    name, schedule = config.optimizer.name, config.followed
    why = traits_of(name).no_decay
    if _all_are(name, _OWN_SCHEDULE):
        why = f"{name} averages its weights in place of a decay"
    if why is not None and schedule.factor(schedule.steps) < schedule.factor(schedule.warmup):
        what = f"{schedule.name}: {why}"
        yield Suspicion(where="schedule.name", what=what, hint="use constant")


def _warmup(config: ScheduleConfig) -> Iterator[Suspicion]:
    schedule = config.followed
    if schedule.warmup > LONGEST_WARMUP * schedule.steps:
        rest = "the whole run" if schedule.warmup == schedule.steps else f"most of the run's {schedule.steps} updates"
        what = f"{schedule.warmup} updates are {rest}"
        hint = "5 to 10 % of the run is usual; is it in epochs, or is `steps` of another run?"
        yield Suspicion(where="schedule.warmup", what=what, hint=hint)


def _early_end(config: ScheduleConfig) -> Iterator[Suspicion]:
    schedule = config.followed
    if schedule.reads_losses or schedule.warmup == schedule.steps:
        return
    count = min(_SAMPLES, schedule.steps)
    updates = [i * schedule.steps // count for i in range(count)]
    over = next((t for t in reversed(updates) if schedule.factor(t) >= OVER), 0)
    idle = schedule.steps - 1 - over
    if idle > LEFT * schedule.steps:
        what = f"from update {over + 1} of {schedule.steps} on, the rate is below {OVER:.2%} of the peak"
        hint = "nothing is learned there: let the decay end with the run, or give it a `final`"
        yield Suspicion(where="schedule", what=what, hint=hint)


def _erasing_decay(config: ScheduleConfig) -> Iterator[Suspicion]:
    name, settings = config.optimizer.name, config.optimizer.settings
    decay, momentum = settings.get("weight_decay"), settings.get("momentum")
    if not isinstance(decay, int | float) or decay <= 0 or traits_of(name).accumulates:
        return
    if not_taken(name, ["weight_decay"]):  # `_settings` says so
        return
    shrinks = decoupled_decay(name, settings) or traits_of(name).norm == "l2"
    gathered = traits_of(name).adds_momentum and isinstance(momentum, float) and 0 < momentum < 1
    rate = config.optimizer.lr / (1 - momentum) if gathered and isinstance(momentum, float) else config.optimizer.lr
    if shrinks and 1 / (rate * decay) < ERASED:
        what = (
            f"{decay:g} times the rate: at the peak every update takes {min(1.0, rate * decay):.1%} of each weight, so "
            f"that nothing learned lasts {ERASED} updates"
        )
        hint = "decay is mostly 0.0001 with SGD and 0.01 to 0.1 with AdamW"
        yield Suspicion(where="optimizer.settings.weight_decay", what=what, hint=hint)


def _settings(config: ScheduleConfig) -> Iterator[Suspicion]:
    name = config.optimizer.name
    for key in not_taken(name, config.optimizer.settings):
        what = f"torch's {name.removeprefix('torch.optim.')} takes no {key}, and can't be made with it"
        hint = "remove it; of another package's class give the module, too: package.Name"
        yield Suspicion(where=f"optimizer.settings.{key}", what=what, hint=hint)


_CHECKS: tuple[Callable[[ScheduleConfig], Iterator[Suspicion]], ...] = (
    _rate,
    _band,
    _decay_for_nothing,
    _warmup,
    _early_end,
    _erasing_decay,
    _settings,
)
