"""The torch scheduler that sets a live optimizer's rates to f(t)."""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrfinder.errors import UsageError
from lrfinder.gradient_norms.recorder import GradientNorms
from lrfinder.param_groups import own_tensor, set_peaks
from lrfinder.scheduler.owners import other_owners
from lrfinder.schedules import Schedule

_WATCHED = 16  # updates from the beginning, or from a loaded state, in which somebody else's rates are looked for
_SAME = 1e-6  # relative: a rate that went through single precision is the same


class ConfiguredScheduler(LRScheduler):
    """Set the rate of param group i at update t to `peak * ratio_i * schedule.factor(t)`.

    Call `step()` after each `optimizer.step()`. The rate is absolute and in closed form: it depends on the update
    index alone, neither on the rate that the optimizer was built with nor on any rate set in between.

    ratio_i: `ratios[i]`, if given. Otherwise group i's initial rate over the largest group's, so that the fastest
    group follows f(t) = peak * factor(t); a group at rate 0 stays at 0; if all are at 0, every ratio is 1.
    A group's initial rate is its `initial_lr`, if a scheduler (this or another) has left one, since `lr` may then
    be anywhere on that scheduler's way; else its `lr`. `initial_lr` is then set to `peak * ratio_i`. A group that was
    added after a scheduler was made has the ratio 1, or, if it was given an `lr` of its own, that one as its peak.

    Resuming: build the scheduler as at first, load its `state_dict` (plain numbers and text): the optimizer's rates
    are set at once, and go on bit for bit as without the break, whether the optimizer's own state is loaded before,
    after or not at all. Or, as with torch's own schedulers, pass `last_epoch`, the index of the last update done;
    the next one is then `last_epoch + 1`. Either way the config rules: a state saved with another schedule gives
    only its position, with a warning.

    A learning rate held as a tensor is filled in place; groups of different rates that share one get one each, also
    if they came to share it later, by the optimizer's `load_state_dict`. Past the end of the schedule the last value is
    held.

    `record` names a file that takes the gradient's norms at each update; `norms` is then their `GradientNorms`. A copy
    of the scheduler records nothing.

    The first steps look whether the rates are still those that were set: if a second scheduler or a trainer has changed
    them in between, one warning names it. Later steps don't look.

    Raises ConfigError if `ratios` doesn't have one entry per param group, UsageError for a rate in a tensor of whole
    numbers, a `last_epoch` that is none, and an added group's `lr` above the peak; UsageError from `step()` if a param
    group was added since: the scheduler is then to be made again.
    """

    _watched_until = 2  # steps; torch checks the order of the first two calls
    _listed = False  # whether the config lists the ratios

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        peak: float,
        schedule: Schedule,
        ratios: Sequence[float] | None = None,
        last_epoch: int = -1,
        record: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise UsageError(f"scheduler(optimizer) needs a torch.optim.Optimizer, got {type(optimizer).__name__}")
        hint = "give the index of the last update done, or leave it out to begin at update 0"
        done = _index(last_epoch, least=-1, said=f"last_epoch={last_epoch!r}", hint=hint)
        self.peak = peak
        self.schedule = schedule
        self.norms: GradientNorms | None = None
        self._watched_until = _WATCHED
        self._listed = ratios is not None
        set_peaks(optimizer, peak, ratios)
        super().__init__(optimizer, done)  # takes the `initial_lr`s as its `base_lrs`, and makes the first step
        if record is not None:
            self.norms = GradientNorms(optimizer, record, position=self._position)

    def step(self, epoch: int | None = None) -> None:
        """Go to the next update, and set the rates to it; to update `epoch`, if it is given, as with torch's own.

        Raises UsageError for an `epoch` that isn't a whole number, such as a loss.
        """
        self._check_groups()
        if self._step_count < self._watched_until or epoch is not None:
            if epoch is None and self._step_count:
                self._look_for_others()
            if self._step_count < 2 or epoch is not None:  # noqa: PLR2004 - see `_watched_until`
                super().step(None if epoch is None else _update(epoch))
                self._set_rates()  # torch's own may have filled a tensor that groups share
                return
        # The same without the book-keeping that closed forms don't need: it costs more than they do.
        self._step_count += 1
        self.last_epoch += 1
        self._set_rates()

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return each param group's rate at update `last_epoch`."""
        factor = self._factor()
        return [base * factor for base in self.base_lrs]

    def _check_groups(self) -> None:
        """Raise UsageError, before anything has changed, if the param groups aren't those that are known."""
        groups, known = len(self.optimizer.param_groups), len(self.base_lrs)
        if groups != known:
            record = "" if self.norms is None else ", record=..."
            first, last = "", ". A group that was given no lr of its own follows f(t), another has its lr as the peak"
            if self._listed:
                first, last = "write the ratio of each param group as `groups` of the config's optimizer, ", ""
            raise UsageError(
                f"the optimizer has {groups} param groups, but had {known} when its scheduler was made",
                hint=f"{first}make the scheduler again, new = config.scheduler(optimizer{record}), and go on where "
                f"this one is: new.load_state_dict(old.state_dict()), then new.step(){last}",
            )

    def _look_for_others(self) -> None:
        """Warn, once, if somebody has changed the rates since they were set."""
        for index, (group, own) in enumerate(zip(self.optimizer.param_groups, self._last_lr, strict=True)):
            found, expected = float(group["lr"]), float(own)
            if math.isclose(found, expected, rel_tol=_SAME):
                continue
            self._watched_until = 2
            owners = other_owners(self.optimizer, self)
            if owners is not None:
                known = f": {', '.join(owners)} has this optimizer" if owners else ""
                if not owners and isinstance(group["lr"], torch.Tensor):
                    known = ", perhaps for another optimizer whose rate is the same tensor"
                warnings.warn(
                    f"at update {self.last_epoch} the rate of param group {index} is {found:g}, but {expected:g} by "
                    f"this schedule: something else sets it, too{known}. Keep one of the two",
                    UserWarning,
                    stacklevel=3,
                )
            return

    def _factor(self) -> float:
        return self.schedule.factor(self.last_epoch)

    def _position(self) -> int:
        return self.last_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the position and what it is a position in, as plain data that loads with `weights_only=True`."""
        return {"last_epoch": self.last_epoch, "step_count": self._step_count, **self._identity()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the position in `state_dict` and set the optimizer's rates to it; warn if the schedule differs."""
        self._check_groups()
        last_epoch, step_count = (_count(state_dict, key) for key in ("last_epoch", "step_count"))
        own = self._identity()
        saved = {key: _without_none(state_dict.get(key)) for key in own}
        known = saved["peaks"]  # fewer, if param groups were added since
        fits = isinstance(known, list) and known == own["peaks"][: len(known)] and saved["schedule"] == own["schedule"]
        if not fits:
            warnings.warn(
                f"the saved state is of another schedule ({saved}); going on at update {last_epoch} of this one "
                f"({own})",
                UserWarning,
                stacklevel=2,
            )
        self.last_epoch = last_epoch
        self._step_count = step_count
        self._watched_until = step_count + _WATCHED
        self._set_rates()

    def _set_rates(self) -> None:
        """Do what torch's `step()` does with `get_lr()`, at the present position."""
        factor = self._factor()
        last: list[float | torch.Tensor] = []
        places: dict[int, float] = {}
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            rate = base * factor
            held = group["lr"]
            if isinstance(held, torch.Tensor):
                last.append(own_tensor(group, float(base), places).fill_(rate).clone())
            else:
                group["lr"] = rate
                last.append(rate)
        self._last_lr = last

    def _identity(self) -> dict[str, Any]:
        return {
            "peaks": [float(base) for base in self.base_lrs],
            # Without parameters that are left out: a state from before a shape had a parameter still fits it.
            "schedule": self.schedule.model_dump(mode="json", by_alias=True, exclude_none=True),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: no file that the norms go to, which stays this one's."""
        return {**self.__dict__, "norms": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or copied scheduler.

        torch checks the order of the first two `step()`s by a wrapper around `optimizer.step`, which is not pickled:
        the check would complain that the wrapper is missing, so it counts as done.
        """
        self.__dict__.update(state)
        self._step_count = max(self._step_count, 2)


def _without_none(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def _update(epoch: Any) -> int:
    hint = "call step() after every update; losses are for a plateau"
    return _index(epoch, least=0, said=f"step({epoch!r})", hint=hint)


def _index(value: Any, *, least: int, said: str, hint: str) -> int:
    try:
        found = int(operator.index(value))
    except TypeError:
        found = least - 1
    if found < least:
        raise UsageError(f"{said}: expected the index of an update, a whole number from {least}", hint=hint)
    return found


def _count(state: Mapping[str, Any], key: str) -> int:
    value = state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(
            f"not the state of a {ConfiguredScheduler.__name__}: {key!r} is {value!r}, expected a whole number",
            hint="load the state that this scheduler's state_dict() gave",
        )
    return value
