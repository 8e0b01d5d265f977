"""The scheduler of a plateau, which takes in validation losses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.optim import Optimizer

from lrfinder.errors import UsageError
from lrfinder.scheduler.configured import ConfiguredScheduler
from lrfinder.scheduler.owners import unheard_monitor
from lrfinder.schedules import Plateau
from lrfinder.schedules.plateau import PlateauState

_HEARD_BY = 3  # calls of step(), torch's own one first: Lightning validates behind the first of its own
_UNHEARD = 1000  # updates after the warm-up, and half of the run: a plateau that has had no loss by then gets none
_COUNT = "call step() after every update, and step(loss) or observe(loss) after every validation"


class PlateauScheduler(ConfiguredScheduler):
    """The scheduler of a `plateau`: call `observe(loss)` after every validation, and `step()` after every update.

    A cut acts at once, on the next update. The state, the best loss among it, is in the `state_dict`. `step(loss)` is
    `observe(loss)`, for what was written for torch's `ReduceLROnPlateau`; without a warm-up `step()` may be left out.

    Warns, once, in the second half of a run in which no loss has come for a thousand updates; and after the second
    epoch if Lightning was given a `monitor` for it that it doesn't hand over.
    """

    schedule: Plateau
    _heard_at: int | None = None  # the update at which the last loss came
    _asks_at = -1  # the update at which a loss must have come

    def __init__(self, optimizer: Optimizer, **keywords: Any) -> None:
        self.state = PlateauState()
        super().__init__(optimizer, **keywords)
        self._asks_at = max(self.schedule.warmup + _UNHEARD, self.schedule.steps // 2 + 1)

    def step(self, metrics: float | torch.Tensor | None = None) -> None:
        """Go to the next update; with a validation loss, `observe` it.

        Raises UsageError for a loss before the first `step()` if there is a warm-up: it would never end.
        """
        if metrics is None or self.last_epoch < 0:  # the latter in a SequentialLR alone, whose step(0) is a beginning
            super().step(metrics)  # type: ignore[arg-type]
            if self._step_count == _HEARD_BY:
                self._look_for_a_monitor()
            if self.last_epoch == self._asks_at and self.state == PlateauState():
                warnings.warn(
                    f"no validation loss has come in {self.last_epoch} updates, and a plateau cuts the rate by nothing "
                    "else: call observe(loss) after every validation",
                    UserWarning,
                    stacklevel=2,
                )
        elif self.schedule.warmup and self.last_epoch == 0:
            raise UsageError("a loss came before any update was counted, which the warm-up needs", hint=_COUNT)
        else:
            self.observe(metrics)

    def _look_for_a_monitor(self) -> None:
        """Warn if Lightning has a `monitor` for this scheduler, and its first validation brought no loss."""
        monitor = unheard_monitor(self) if self.state == PlateauState() else None
        if monitor is not None:
            way = '"reduce_on_plateau": True beside it'
            if self.schedule.warmup:
                way = '"interval": "step" in its place, and call observe(loss) in on_validation_epoch_end'
            warnings.warn(
                f'"monitor": {monitor!r} is given to Lightning, which hands its value to torch\'s own plateau alone: '
                f"this one has had no loss. Write {way}",
                UserWarning,
                stacklevel=3,
            )

    def observe(self, loss: float | torch.Tensor) -> None:
        """Take in a validation loss, and set the rates if it makes a cut.

        Raises UsageError for a second loss at the same update of a warm-up, which would never end.
        """
        self._check_groups()
        if self.last_epoch < self.schedule.warmup and self.last_epoch == self._heard_at:
            what = f"two losses came at update {self.last_epoch}, with no update counted between them"
            raise UsageError(f"{what}: the warm-up would never end", hint=_COUNT)
        state = self.schedule.observe(self.state, float(loss))
        cut = state.cuts != self.state.cuts
        self.state = state
        self._heard_at = self.last_epoch
        if cut:
            self._set_rates()

    def _factor(self) -> float:
        return self.schedule.factor(self.last_epoch) * self.schedule.share(self.state)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, what it is a position in, and where the plateau is."""
        return {**super().state_dict(), "plateau": asdict(self.state)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the position and the plateau's state in `state_dict`; see `ConfiguredScheduler`."""
        self.state, before = _plateau_state(state_dict), self.state
        try:
            super().load_state_dict(state_dict)
        except BaseException:
            self.state = before
            raise
        self._heard_at = None  # what was saved behind a validation may be validated again


def _plateau_state(state: Mapping[str, Any]) -> PlateauState:
    try:
        return PlateauState(**state["plateau"])
    except (KeyError, TypeError):
        raise UsageError(
            f"not the state of a plateau's scheduler: 'plateau' is {state.get('plateau')!r}",
            hint="load the state that this scheduler's state_dict() gave",
        ) from None
