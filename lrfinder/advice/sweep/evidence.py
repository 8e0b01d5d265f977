"""What a sweep shows: the curve of its continuous part, the profile of its short runs, or why there is neither.

It is gathered once for each command, and handed on to whatever reads it: `advise`, `conclude`, `check_rate`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from dataclasses import dataclass

from lrfinder.advice.sweep.doubts import late_onset, weak_fall
from lrfinder.advice.sweep.refusal import ROUNDING, Refusal, refuse_beginning, refuse_curve, refuse_points
from lrfinder.advice.sweep.trouble import (
    disagreement,
    doubts_of_sweep,
    known_cause,
    lagging_statistics,
    nothing_learned,
)
from lrfinder.fit import Curve, fit_curve, usual_arithmetic
from lrfinder.formatting import format_loss, round_lr
from lrfinder.records import Band, ShortRun, SweepResult
from lrfinder.rules.band import trainable_band
from lrfinder.rules.trials import shift_alone, trainable_range
from lrfinder.search.lr_profile import ALIKE as ALIKE_RISES
from lrfinder.search.lr_profile import LrProfile, RunLoss, begins, lr_profile

CLEAR = 5.0  # times the falls of rates too small to learn at: what counts as learning
TOO_SMALL = 2.0  # decades below the best rate: there nothing is learned in a short run
LOWEST = 3  # of such runs: those at higher rates may have learned, if the valley is wide
FAR = 0.6  # decades: 1.5 times what lies between the runs of the search; farther off, nothing is read between two
FIRST = 3  # runs around the sweep's pick; with fewer the best one has no neighbour on either side
LITTLE, ALIKE = 0.05, 0.1  # a fall that any rate finds at first: rules/README.md#little-alike
NOTHING = 0.01  # of the loss: without a curve, a smaller fall is none: rules/README.md#nothing


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SweepEvidence:
    """What `result` shows. `pick_source` is what the picks are made from (see `SweepResult.pick_source`).

    `refusal` says why the curve allows no pick; `curve` may be there all the same. `profile` is that of the short runs,
    None if they learned nothing. `doubts` keep every pick from being confident.
    """

    result: SweepResult
    pick_source: SweepResult
    curve: Curve | None
    refusal: Refusal | None
    profile: LrProfile | None
    doubts: tuple[str, ...] = ()

    @property
    def usable_curve(self) -> Curve | None:
        """The curve, if a pick can be made from it."""
        return self.curve if self.refusal is None else None

    @property
    def chance_onset(self) -> str:
        """Why it may be chance when a run begins to learn: the sweep saw nothing clear, or a plateau; empty if not."""
        if self.refusal is not None or (self.curve is not None and weak_fall(self.curve)):
            why = "the continuous sweep saw nothing clear, so when a run begins to learn may be chance"
            return f"{why}: try another --seed"
        if self.curve is None or not late_onset(self.curve):
            return ""
        return "after a plateau a run's end depends on its seed as much as on the rate: verify with another --seed, too"

    @property
    def band(self) -> Band | None:
        """The trainable band of the curve, wider if short runs learned well beyond it.

        Without a curve it is that of the short runs, and reaches up to what the runs they stand for may tolerate.
        """
        if self.usable_curve is None:
            if self.profile is None:
                return None
            return trainable_range(self.profile, shift_alone(self.profile, self.result.setup.optimizer))
        band = trainable_band(self.usable_curve)
        return band if self.profile is None else _widened(band, trainable_range(self.profile))


@usual_arithmetic()
def gather_evidence(result: SweepResult, seed: int = 0) -> SweepEvidence:
    """Fit the curve of `result`, and read its short runs; `seed` is the bootstrap's."""
    source, profile = result.pick_source, profile_if_learned(result)
    curve, refusal = read_curve(source, seed)
    if refusal is None and curve is not None and found_nothing(source):
        refusal = refuse_beginning()
    if refusal is not None and profile is not None and not is_significant(profile):
        profile = None  # no curve confirms so small a fall
    if profile is None and (refusal is not None or curve is None):
        refusal = _cause_first(known_cause(result) or lagging_statistics(result) or _not_chance(result), refusal)
    elif refusal is not None and profile is not None and profile.drift:
        refusal = dataclasses.replace(refusal, why="the loss rises by itself, whatever the rate")
    if (nothing := nothing_learned(result)) is not None and not (refusal is not None and refusal.known):
        refusal, profile = _cause_first(disagreement(result), nothing), None
    return SweepEvidence(
        result=result,
        pick_source=source,
        curve=curve,
        refusal=refusal,
        profile=profile,
        doubts=doubts_of_sweep(result, short_runs_learned=profile is not None),
    )


def _not_chance(result: SweepResult) -> Refusal | None:
    """Refuse if short runs fell, but by no more than may be chance; None if they didn't fall."""
    profile = lr_profile(valley_runs(result), result.settings.run_steps)
    if profile is None or profile.fall <= 0 or not is_significant(profile):
        return None
    fell = f"short runs fell from {format_loss(profile.start)} to {format_loss(profile.lowest.loss)}"
    changed = f"at rates too small to learn at they changed by {format_loss(_chance(profile, result))}"
    hint = "average more: larger batches, more validation data, or longer --run-steps"
    return Refusal(why=f"{fell}, and {changed}, so this may be chance", hint=hint, known=True)


def _cause_first(cause: Refusal | None, read: Refusal | None) -> Refusal | None:
    if cause is None or read is None or cause.why in read.why:
        return read or cause
    return dataclasses.replace(cause, why=f"{cause.why}; before that, {read.why}")


def read_curve(source: SweepResult, seed: int = 0) -> tuple[Curve | None, Refusal | None]:
    """Return the fitted curve of the continuous sweeps, and why it allows no pick; both None for short runs alone."""
    if not source.traces and source.runs:
        return None, None
    refusal = refuse_points(source.traces, source.settings)
    if refusal is not None:
        return None, refusal
    curve = fit_curve(source.traces, source.settings.lrs(), seed=seed)
    return curve, refuse_curve(curve, source.traces, source.settings)


def _widened(band: Band, tried: Band) -> Band:
    """Return `band`, wide enough to hold `tried`: a sweep loses what it has learned sooner than fresh runs do."""
    low, high = min(band.low, tried.low), max(band.high, tried.high)
    lows, highs = band.low_interval or (band.low, band.low), band.high_interval or (band.high, band.high)
    return Band(
        low=low,
        high=high,
        low_interval=(min(lows[0], low), min(lows[1], low) if low < band.low else lows[1]),
        high_interval=(max(highs[0], high) if high > band.high else highs[0], max(highs[1], high)),
    )


def valley_runs(result: SweepResult) -> tuple[ShortRun, ...]:
    """Return the short runs that tell where the valley is.

    The last one may have been made to compare with: at the rate where a run stopped that goes on. Far from the others
    it says nothing of the valley.
    """
    *others, last = result.runs or (None,)
    start = result.setup.start
    if last is None or start is None or not start.lr or last.plan.lr != round_lr(start.lr, 4):
        return result.runs
    near = (abs(math.log10(run.plan.lr / last.plan.lr)) <= FAR for run in others)
    return result.runs if any(near) else tuple(others)


def profile_if_learned(result: SweepResult) -> LrProfile | None:
    """Return the profile of the short runs, or None if none of them came clearly below the start.

    The held-out data, the initial weights and every draw of the evaluation are the same for all runs, so a fall comes
    from training alone. It is compared with runs whose rates are too small to learn at, if there are any.
    """
    profile = lr_profile(valley_runs(result), result.settings.run_steps)
    if profile is None or profile.fall <= ROUNDING * abs(profile.start):
        return None
    return profile if profile.fall > CLEAR * _chance(profile, result) else None


def _chance(profile: LrProfile, result: SweepResult) -> float:
    """Return by how much runs fall, or rise, at rates too small to learn at: the median of the LOWEST ones.

    If their falls grow with the rate, they have learned after all: then it is that of the lowest. If the two lowest
    rise alike, decades apart, the loss drifts by itself: chance is by how much their rises differ.
    """
    highest = profile.lowest.x - TOO_SMALL
    runs = sorted(valley_runs(result), key=lambda run: run.plan.lr)
    off = [
        began + profile.drift - run.loss
        for run, began in zip(runs, begins(runs), strict=True)
        if math.log10(run.plan.lr) <= highest and run.loss is not None and began is not None
    ][:LOWEST]
    if not off:
        return 0.0
    rises = [-fall for fall in off[:2]]
    if len(rises) > 1 and min(rises) > 0 and min(rises) >= ALIKE_RISES * max(rises) and disagreement(result) is None:
        return max(rises) - min(rises)
    growing = len(off) == LOWEST and all(2 * max(low, 0.0) < high for low, high in itertools.pairwise(off))
    return abs(off[0]) if growing else statistics.median(map(abs, off))


def is_significant(profile: LrProfile) -> bool:
    """Tell whether the runs fell so far that it is learning, even if no continuous sweep confirms it."""
    return profile.fall >= NOTHING * abs(profile.start)


def found_nothing(result: SweepResult) -> bool:
    """Tell whether the runs around the start of the search found nothing, or only what any rate finds at first.

    None of the FIRST runs fell at all; or all fell by nearly the same, and by less than LITTLE.
    """
    first = lr_profile(result.runs[:FIRST], result.settings.run_steps)
    if first is None or len(first.points) < FIRST:
        return False
    alike = max(point.loss for point in first.points) - first.lowest.loss <= ALIKE * first.fall
    return first.fall <= 0 or (alike and first.fall < LITTLE * abs(first.start))


def untrainable_runs(profile: LrProfile) -> tuple[RunLoss, ...]:
    """Return the runs whose rates are too small to learn at, if the best rate is right."""
    return tuple(point for point in profile.points if point.x <= profile.lowest.x - TOO_SMALL)
