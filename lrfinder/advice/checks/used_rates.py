"""Did a run use the rates of its config? What it logged, against f(t)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.formatting import format_lr
from lrfinder.importing.rate_log import LoggedRate, RateColumn
from lrfinder.options import SAME_RATE

_MOST_TIMES = 64  # processes, or batches of an update, by which a scheduler may be stepped too often or too seldom
_LATEST = 100  # updates that mixed precision may have skipped
_ENOUGH = 3  # rates; fewer show no pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRates:
    """Whether the logged rates are f(t), and if not, the first that differs.

    `sane` is True or False, as of a check. `rates` logged rates of the steps `first` to `last` were compared. `t_of_0`
    is the update whose rate the log names at step 0: 0, or -1 if it counts the updates that are done.
    """

    sane: bool
    rates: int
    first: int
    last: int
    t_of_0: int
    step: int | None = None
    group: str | None = None
    logged: float | None = None
    expected: float | None = None
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Logged:
    """A logged rate of the param group `group`, whose rate is f(t) times `ratio`."""

    point: LoggedRate
    group: str
    ratio: float


@dataclass(frozen=True, slots=True)
class _Reading:
    """The logged rates, read as those of the updates `step + shift`, beside f(t) = `rate(t)`."""

    logged: Sequence[_Logged]
    shift: int
    rate: Callable[[int], float]
    distance: float  # up to which two rates of the fastest group are the same

    def update(self, it: _Logged) -> int:
        return it.point.step + self.shift

    def expected(self, it: _Logged) -> float:
        return it.ratio * self.rate(max(0, self.update(it)))

    def is_rate_of(self, it: _Logged, t: int) -> bool:
        return t >= 0 and abs(it.point.rate - it.ratio * self.rate(t)) <= self.distance * it.ratio

    def first_other(self) -> int:
        """Return the place of the first rate that isn't f(t); their number if all are."""
        found = (index for index, it in enumerate(self.logged) if not self.is_rate_of(it, self.update(it)))
        return next(found, len(self.logged))


def compare_rates(columns: Sequence[RateColumn], config: ScheduleConfig, *, tolerance: float = SAME_RATE) -> UsedRates:
    """Compare logged rates with a config's f(t), times the ratio of each param group.

    Without `groups` in the config the fastest group must follow f(t), and the others keep their ratios to it. A log
    names, at step s, the rate of update s (Lightning) or of the last update done, s - 1 (Hugging Face): it is read in
    the way that fits for longer. `tolerance` is a share of the peak.

    Raises UsageError for a plateau, whose rates follow the losses, and for a log of other param groups.
    """
    if config.schedule.reads_losses:
        raise UsageError(f"the rates of a {config.schedule.name} follow the losses: the config alone doesn't tell them")
    if not 0 <= tolerance < 1:
        raise UsageError(f"tolerance must be at least 0 and below 1, a share of the peak, got {tolerance:g}")
    logged = list(_logged(columns, config))
    readings = [_Reading(logged, shift, config.rate, tolerance * config.optimizer.lr) for shift in (0, -1)]
    reading = max(readings, key=_Reading.first_other)
    steps = [it.point.step for it in logged]
    first, last = min(steps), max(steps)
    where = reading.first_other()
    if where == len(logged):
        why = f"the {len(logged)} logged rates, of steps {first} to {last}, are the config's"
        return UsedRates(sane=True, rates=len(logged), first=first, last=last, t_of_0=reading.shift, why=why, hint="")
    wrong = logged[where]
    expected, name = reading.expected(wrong), "" if len(columns) == 1 else f" of {wrong.group}"
    return UsedRates(
        sane=False,
        rates=len(logged),
        first=first,
        last=last,
        t_of_0=reading.shift,
        step=wrong.point.step,
        group=wrong.group,
        logged=wrong.point.rate,
        expected=expected,
        why=f"the first step with another rate{name} is {wrong.point.step}: {format_lr(wrong.point.rate)} was used, "
        f"and the config says {format_lr(expected)}",
        hint=_pattern(reading),
    )


def _logged(columns: Sequence[RateColumn], config: ScheduleConfig) -> Iterator[_Logged]:
    groups = config.optimizer.groups
    if groups is not None and len(columns) not in {1, len(groups)}:
        raise UsageError(
            f"the log has the rates of {len(columns)} param groups ({', '.join(it.name for it in columns)}), and the "
            f"config has {len(groups)}",
            hint="name the log of a run of this config",
        )
    if groups is not None:
        ratios = groups[: len(columns)]  # a Trainer logs its first group alone
    else:
        tops = [max(point.rate for point in column.points) for column in columns]
        ratios = tuple(top / max(tops) if max(tops) else 1.0 for top in tops)
    for column, ratio in zip(columns, ratios, strict=True):
        yield from (_Logged(point, column.name, ratio) for point in column.points)


def _pattern(reading: _Reading) -> str:
    """Return what would explain all of the logged rates, and what to do."""
    told = (explain(reading) for explain in _EXPLANATIONS) if len(reading.logged) >= _ENOUGH else ()
    return next((text for text in told if text), "look for a second scheduler, or a trainer that sets rates itself")


def _stayed(reading: _Reading) -> str | None:
    used = [it.point.rate for it in reading.logged]
    if not math.isclose(min(used), max(used), rel_tol=SAME_RATE):
        return None
    return f"the rate stayed at {format_lr(used[0])}: call scheduler.step() after every optimizer.step()"


def _scaled(reading: _Reading) -> str | None:
    pairs = [(it.point.rate, reading.expected(it)) for it in reading.logged]
    shares = [rate / expected for rate, expected in pairs if expected > reading.distance]
    if len(shares) < _ENOUGH or not math.isclose(min(shares), max(shares), rel_tol=SAME_RATE):
        return None
    return f"every rate is {shares[0]:.3g} times the config's: another peak, or another param group's rate"


def _stepped(reading: _Reading) -> str | None:
    for often, told in itertools.chain(*((_often(times), _seldom(times)) for times in range(2, _MOST_TIMES + 1))):
        if all(reading.is_rate_of(it, often(reading.update(it))) for it in reading.logged):
            return f"the scheduler was stepped {told}: call its step() once after every optimizer.step()"
    if all(_is_of_epoch(reading, it) for it in reading.logged):
        return "the scheduler was stepped once an epoch: call its step() after every optimizer.step()"
    return None


def _late(reading: _Reading) -> str | None:
    for late in range(1, _LATEST):
        if all(any(reading.is_rate_of(it, reading.update(it) - by) for by in (0, late)) for it in reading.logged):
            return f"from there on the schedule is {late} updates late: mixed precision may have skipped so many"
    return None


_EXPLANATIONS = (_stayed, _scaled, _stepped, _late)


def _often(times: int) -> tuple[Callable[[int], int], str]:
    return lambda update: update * times, f"{times} times an update"


def _seldom(times: int) -> tuple[Callable[[int], int], str]:
    return lambda update: update // times, f"once in {times} updates"


def _is_of_epoch(reading: _Reading, it: _Logged) -> bool:
    """Tell whether a rate is f(epoch); an epoch's last update may be logged as the beginning of the next."""
    epoch = it.point.epoch
    return epoch is not None and any(reading.is_rate_of(it, math.floor(epoch) - by) for by in (0, 1))
