"""What a sweep shows: the curve of its continuous part, the valley of its short runs, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from lrfinder.advice.learned import found_nothing, is_significant, profile_if_learned
from lrfinder.advice.refusal import Refusal, refuse_beginning, refuse_curve, refuse_points
from lrfinder.fit import Curve, fit_curve
from lrfinder.records import Band, SweepResult
from lrfinder.rules.band import trainable_band
from lrfinder.rules.short_runs import shift_alone, trainable_range
from lrfinder.search.valley import LrProfile


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SweepEvidence:
    """What `result` shows, by its basis. `curve` may be there where `refusal` says that no pick can be made from it."""

    result: SweepResult
    basis: SweepResult
    curve: Curve | None
    refusal: Refusal | None
    valley: LrProfile | None

    @property
    def usable_curve(self) -> Curve | None:
        """The curve, where a pick can be made from it."""
        return self.curve if self.refusal is None else None

    @property
    def band(self) -> Band | None:
        """The trainable band: of the curve, and wider where short runs of their own learned well beyond it.

        Without a curve it is that of the short runs, and reaches up to what the runs that they stand for may bear.
        """
        if self.usable_curve is None:
            if self.valley is None:
                return None
            return trainable_range(self.valley, shift_alone(self.valley, self.result.setup.optimizer))
        band = trainable_band(self.usable_curve)
        return band if self.valley is None else _with(band, trainable_range(self.valley))


def _with(band: Band, tried: Band) -> Band:
    """Return `band`, wide enough for `tried`: a sweep gives back what it has learned sooner than fresh runs do."""
    low, high = min(band.low, tried.low), max(band.high, tried.high)
    lows, highs = band.low_interval or (band.low, band.low), band.high_interval or (band.high, band.high)
    return Band(
        low=low,
        high=high,
        low_interval=(min(lows[0], low), min(lows[1], low) if low < band.low else lows[1]),
        high_interval=(max(highs[0], high) if high > band.high else highs[0], max(highs[1], high)),
    )


def gather_evidence(result: SweepResult, seed: int) -> SweepEvidence:
    """Fit what there is in the basis of `result`; `seed` is the bootstrap's."""
    basis, valley = result.basis, profile_if_learned(result)
    alone = valley if valley is not None and is_significant(valley) else None  # where no curve bears it out
    if not basis.traces and basis.runs:  # short runs alone have no curve to refuse
        return SweepEvidence(result=result, basis=basis, curve=None, refusal=None, valley=valley)
    refusal = refuse_points(basis.traces, basis.settings)
    if refusal is not None:
        return SweepEvidence(result=result, basis=basis, curve=None, refusal=refusal, valley=alone)
    curve = fit_curve(basis.traces, basis.settings.lrs(), seed=seed)
    refusal = refuse_curve(curve, basis.traces, basis.settings) or (
        refuse_beginning() if found_nothing(basis) else None
    )
    return SweepEvidence(
        result=result, basis=basis, curve=curve, refusal=refusal, valley=valley if refusal is None else alone
    )
