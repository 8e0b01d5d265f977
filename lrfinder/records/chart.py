"""What a picture of a sweep shows, as one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lrfinder.records.measured import SweepResult
from lrfinder.records.picks import Band, Fit, Pick


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A sweep with its fit, picks and trainable band; `chosen` is the rule whose pick is the recommended one.

    Whatever is missing is left out of the picture. Raises ValueError if `chosen` is not the rule of one of the picks.
    """

    result: SweepResult
    fit: Fit | None = None
    picks: tuple[Pick, ...] = ()
    band: Band | None = None
    chosen: str | None = None

    def __post_init__(self) -> None:
        chosen_pick(self.picks, self.chosen)

    @property
    def pick(self) -> Pick | None:
        """The chosen rule's pick; None if no rule is chosen."""
        return chosen_pick(self.picks, self.chosen)

    @property
    def steepest(self) -> Pick | None:
        """The pick where the fit as it is drawn falls fastest, of the rule `steepest-raw`; None if there is none."""
        return next((pick for pick in self.picks if pick.rule == "steepest-raw"), None)

    @property
    def refusal(self) -> str | None:
        """Why no rate is recommended: the chosen rule's reason, or the first rule's if every rule refused."""
        if self.pick is not None:
            return self.pick.why if self.pick.lr is None else None
        return self.picks[0].why if self.picks and all(pick.lr is None for pick in self.picks) else None


def chosen_pick(picks: Sequence[Pick], chosen: str | None) -> Pick | None:
    """Return the pick of the rule `chosen`; None if that is None. Raises ValueError for a rule without a pick."""
    if chosen is None:
        return None
    for pick in picks:
        if pick.rule == chosen:
            return pick
    rules = ", ".join(pick.rule for pick in picks) or "none"
    raise ValueError(f"chosen must be the rule of one of the picks ({rules}), got {chosen!r}")
