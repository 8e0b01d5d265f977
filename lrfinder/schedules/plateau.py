"""Keep the rate while the validation loss falls, and cut it when it stalls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateauState:
    """Where a plateau schedule is: the best loss, the evaluations since, those still to be ignored, the cuts made."""

    best: float = math.inf
    stalled: int = 0
    cooling: int = 0
    cuts: int = 0


def decay(u: int, length: int) -> float:  # noqa: ARG001 - losses cut it, not updates
    """Return 1: the factor before any cut."""
    return 1.0


def observe(
    state: tuple[float, int, int, int], loss: float, *, patience: int, threshold: float, mode: str, cooldown: int
) -> tuple[float, int, int, int]:
    """Return (best loss, evaluations stalled, evaluations to ignore, cuts) after an evaluation with this loss."""
    best, stalled, cooling, cuts = state
    better = loss < (best * (1 - threshold) if mode == "relative" else best - threshold)
    best = loss if better else best
    if cooling:
        return best, 0, cooling - 1, cuts
    stalled = 0 if better else stalled + 1
    if stalled <= patience:
        return best, stalled, 0, cuts
    return best, 0, cooldown, cuts + 1


def share(cuts: int, *, drop: float, floor: float) -> float:
    """Return max(drop ** cuts, floor)."""
    return max(float(drop**cuts), floor)


class Plateau(Schedule):
    """Multiply the rate by `factor` when the validation loss has not improved for more than `patience` evaluations.

    factor(t) = max(factor ** k, floor)        k: the cuts made before update t

    A loss L is an improvement on the best one b if L < b * (1 - threshold), for `mode` "relative" (default), or
    L < b - threshold for "absolute"; NaN never is. The evaluation that makes more than `patience` (default 10) in a row
    without one cuts; the `cooldown` (default 0) evaluations behind a cut don't count. `factor` (default 0.1; the
    attribute is `drop`) and `floor` (default 0) are shares. Unlike any other schedule it is no function of the update
    alone: `observe` goes from state to state, and before any loss is seen the rate is the peak.

    torch's `ReduceLROnPlateau` with eps = 0. Keras's cuts after as many evaluations as its patience have stalled, one
    sooner, counts the last one of a cooldown, and knows the absolute mode alone: its patience and cooldown are these
    and one.
    """

    advice: ClassVar[str] = (
        "runs of unknown length with a validation loss; a run of known length ends lower with linear"
    )
    reads_losses: ClassVar[bool] = True
    can_be_shortened: ClassVar[bool] = False
    in_evaluations: ClassVar[frozenset[str]] = frozenset({"patience", "cooldown"})
    formula = staticmethod(decay)
    name: Literal["plateau"] = "plateau"
    drop: float = Field(default=0.1, alias="factor", gt=0, lt=1)
    patience: int = Field(default=10, ge=0)
    threshold: float = Field(default=1e-4, ge=0)
    mode: Literal["relative", "absolute"] = "relative"
    cooldown: int = Field(default=0, ge=0)
    floor: float = Field(default=0.0, ge=0, le=1)

    def observe(self, state: PlateauState, loss: float) -> PlateauState:
        """Return the state after one more evaluation, whose validation loss is `loss`."""
        after = observe(
            (state.best, state.stalled, state.cooling, state.cuts),
            loss,
            patience=self.patience,
            threshold=self.threshold,
            mode=self.mode,
            cooldown=self.cooldown,
        )
        return PlateauState(best=after[0], stalled=after[1], cooling=after[2], cuts=after[3])

    def share(self, state: PlateauState) -> float:
        """Return max(factor ** cuts, floor)."""
        return share(state.cuts, drop=self.drop, floor=self.floor)
