"""The rates that a live torch scheduler would set, found by running a copy of it on an optimizer without weights."""

from __future__ import annotations

import contextlib
import copy
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, SequentialLR

from lrfinder.errors import UsageError, error_text

_SAME = 1e-6  # relative: a rate that a float32 tensor held


class _Stub(Optimizer):
    """An optimizer's param groups without their weights; it makes no update."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRates:
    """What updates 0, 1, 2, ... use, a list for each param group: rates, and momentums if they are moved."""

    rates: list[list[float]]
    momentums: list[list[float]] | None


def replay_rates(scheduler: LRScheduler, steps: int) -> ReplayedRates:
    """Return what updates 0 ... steps - 1 use.

    `scheduler.step()` is called once between two updates, on a copy: the live scheduler, its optimizer, the global
    random number generators and the filters of warnings stay as they are. Functions that the user wrote are called,
    from update 0 on; objects are copied first, but what a function keeps in a closure can't be. Rates that are held as
    tensors are computed in double precision.

    If the scheduler has advanced already, its copy begins again: each group at `initial_lr`, and each scheduler set
    up in the order in which it is listed. Raises UsageError if that doesn't lead to the rates that it has now: they
    were set by hand, or hang on more than the scheduler shows.
    """
    with warnings.catch_warnings(), _kept_generators():
        warnings.simplefilter("ignore")  # torch's advice on the order of the steps, which the copy has no use for
        twin, stub = _copied(scheduler)
        position = _position(scheduler)
        if position:
            for group in stub.param_groups:
                group["lr"] = group.get("initial_lr", group["lr"])
            _begin_again(twin, stub)
        rates, momentums = [_rates(stub)], [_momentums(stub)]
        while len(rates) < max(steps, position + 1):
            twin.step()
            rates.append(_rates(stub))
            momentums.append(_momentums(stub))
    if position:
        _check_present(scheduler, rates[position])
    columns = _columns(momentums[:steps])
    moved = any(len(set(column)) > 1 for column in columns)
    return ReplayedRates(rates=_columns(rates[:steps]), momentums=columns if moved else None)


def held(used: ReplayedRates, each: int, steps: int) -> ReplayedRates:
    """Return what updates 0 ... steps - 1 use if what is listed holds for `each` updates."""

    def spread(columns: list[list[float]]) -> list[list[float]]:
        return [[value for value in column for _ in range(each)][:steps] for column in columns]

    return ReplayedRates(rates=spread(used.rates), momentums=None if used.momentums is None else spread(used.momentums))


def _copied(scheduler: LRScheduler) -> tuple[LRScheduler, _Stub]:
    optimizer = scheduler.optimizer
    groups = [
        {key: _plain(value) for key, value in group.items() if key not in {"params", "param_names"}}
        | {"params": [torch.nn.Parameter(torch.zeros((), device="cpu"))]}
        for group in optimizer.param_groups
    ]
    stub = _Stub(groups, {key: _plain(value) for key, value in optimizer.defaults.items()})
    try:
        twin = copy.deepcopy(scheduler, {id(optimizer): stub})
    except Exception as error:
        raise UsageError(
            f"{type(scheduler).__name__} can't be copied, and its own state must not be touched: {error_text(error)}",
            hint="give it a function of the update alone, not one bound to an object with files, locks or a model",
        ) from error
    for each in _leaves(twin):
        for key in ("base_lrs", "max_lrs"):
            if hasattr(each, key):
                setattr(each, key, [_plain(rate) for rate in getattr(each, key)])
    return twin, stub


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _momentums(optimizer: Optimizer) -> list[float]:
    """Return each group's momentum, where a scheduler moves it, or one did: its bounds stay in the groups."""
    moved = [group for group in optimizer.param_groups if "base_momentum" in group]
    return [float(group["betas"][0] if "betas" in group else group["momentum"]) for group in moved]


def _columns(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _parts(scheduler: LRScheduler) -> list[LRScheduler]:
    """Return the schedulers that a composite one is made of."""
    return list(getattr(scheduler, "_schedulers", []))


def _leaves(scheduler: LRScheduler) -> Iterator[LRScheduler]:
    parts = _parts(scheduler)
    if not parts:
        yield scheduler
    for part in parts:
        yield from _leaves(part)


def _position(scheduler: LRScheduler) -> int:
    """Return the index of the update whose rate is set now."""
    if isinstance(scheduler, ChainedScheduler):
        return _position(_parts(scheduler)[0])
    return int(scheduler.last_epoch)


def _begin_again(twin: LRScheduler, stub: _Stub) -> None:
    """Set `twin` up as at first, as its constructor and those of its parts do."""
    for part in _parts(twin):
        _begin_again(part, stub)
    if isinstance(twin, SequentialLR):
        SequentialLR.__init__(twin, stub, _parts(twin), twin._milestones)  # noqa: SLF001 - torch has no other way
    elif isinstance(twin, ChainedScheduler):
        ChainedScheduler.__init__(twin, _parts(twin), stub)
    else:
        twin.last_epoch = -1
        twin._initial_step()  # noqa: SLF001


def _check_present(scheduler: LRScheduler, rates: list[float]) -> None:
    now = [float(rate) for rate in scheduler.get_last_lr()]
    for group, (rate, expected) in enumerate(zip(now, rates, strict=True)):
        if abs(rate - expected) > _SAME * max(rate, expected):
            raise UsageError(
                f"{type(scheduler).__name__} has advanced to update {_position(scheduler)}, where param group {group} "
                f"has the rate {rate:g}; from its beginning it would come to {expected:g} there",
                hint="import it right after it is made, before its first step()",
            )


@contextlib.contextmanager
def _kept_generators() -> Iterator[None]:
    """Put the random number generators back: a function of the user's may draw from them."""
    numpy = sys.modules.get("numpy")  # nobody draws from one that isn't loaded
    python = random.getstate()
    array = numpy.random.get_state() if numpy is not None else None
    # Asking a CUDA that nobody has started for its state would start it.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None:
                numpy.random.set_state(array)
