"""Has the trainable band moved since an earlier sweep?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lrfinder.advice.advise import Request, advise
from lrfinder.advice.sweep.evidence import gather_evidence
from lrfinder.errors import UsageError
from lrfinder.formatting import format_loss, format_lr
from lrfinder.records import Band, OptimizerFacts, SweepResult, losses_differ

# Decades up to which an end of the band differs by chance alone, whatever the bootstrap of two repeats says: between
# sweeps of other seeds it moves by more. Measured: tests/benchmarks/README.md#checks-in-ci.
CHANCE = 0.8
NOTHING = 0.05  # of what trial runs of the baseline gained: less is nothing. Measured: in the same place
AGAIN = 2  # more sweeps, with other seeds, that must learn nothing as well
LEAST_GAIN = 0.02  # of the loss, in the baseline's; a smaller one may be chance itself
# Times; the numbers in batches of other seeds differ by less. Measured: in the same place
OTHER_SIZE = 4.0
WITHOUT_INTERVAL = 1.0  # decades, for an end that only short runs tell, which have no repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how many decades an end of the band has moved, and how many the noise of both sweeps leaves open."""

    end: str  # lower or upper
    before: float
    now: float
    decades: float
    noise: float

    @property
    def moved(self) -> bool:
        """Whether it moved by more than noise."""
        return abs(self.decades) > self.noise


@dataclass(frozen=True, slots=True, kw_only=True)
class BandShift:
    """The band of a sweep beside that of its baseline; `moved` if an end did, by more than noise, or something else.

    Losses may begin elsewhere, nothing may be learned any more, and the numbers of the data may be of another size.
    """

    moved: bool
    shifts: tuple[Shift, ...]
    why: str
    warnings: tuple[str, ...]


def compare_bands(
    now: Band | None, result: SweepResult, baseline: SweepResult, *, name: str, others: Sequence[SweepResult] = ()
) -> BandShift | None:
    """Compare the band `now` of `result` with that of the sweep `baseline`, which messages call `name`.

    noise = max(CHANCE, sqrt(a^2 + b^2)), with a and b the widths of the two ends' intervals towards each other, or
    WITHOUT_INTERVAL

    With another optimizer, or other ratios of its param groups, the band counts as moved: a rate is another thing then.
    So it does if the first loss is another one (`records.losses_differ`), if the numbers of the first batch are
    OTHER_SIZE times as large or as small, or if nothing is learned any more (`learns_nothing`), neither in `result` nor
    in AGAIN `others`, sweeps with other seeds. Without a band here, and if none of these tells, the answer is None.
    Raises UsageError if the baseline has no band.
    """
    before = advise(gather_evidence(baseline), Request())
    if before.band is None:
        hint = "take a sweep that found a rate"
        raise UsageError(f"{name}: no trainable band was found there: {before.why}", hint=hint)
    old, new = baseline.setup.optimizer, result.setup.optimizer
    warnings = _differences(result, baseline, name)
    if _described(old) != _described(new):
        what = f"{_described(new)}, and {name} was made with {_described(old)}"
        return BandShift(moved=True, shifts=(), why=f"this is a sweep of {what}", warnings=warnings)
    learned = _nothing_learned((result, *others), baseline, name)
    sizes = _other_sizes(result, baseline, name)
    other = "; ".join(filter(None, (_another_start(result, baseline, name), sizes, learned)))
    if now is None:
        return BandShift(moved=True, shifts=(), why=other, warnings=warnings) if other else None
    shifts = (
        _shift("lower", before.band.low, before.band.low_interval, now.low, now.low_interval),
        _shift("upper", before.band.high, before.band.high_interval, now.high, now.high_interval),
    )
    moved = [shift for shift in shifts if shift.moved]
    if moved:
        why = f"the trainable band has moved since {name}: {' and '.join(map(_sentence, moved))}"
    else:
        why = f"the trainable band is where it was in {name}, within noise"
    if other:
        why = f"{other}; {why}"
    return BandShift(moved=bool(moved or other), shifts=shifts, why=why, warnings=warnings)


def _another_start(result: SweepResult, baseline: SweepResult, name: str) -> str:
    """Say where the losses begin, if they can't be of one thing; nothing if they can."""
    now, before = _first_loss(result), _first_loss(baseline)
    if now is None or before is None or not losses_differ(now, before):
        return ""
    return f"the loss begins at {format_loss(now)}, and in {name} it began at {format_loss(before)}"


def _other_sizes(result: SweepResult, baseline: SweepResult, name: str) -> str:
    """Say how large the numbers in a batch are, if they are of another size; nothing if that can't be told.

    That is what a lost normalization, or another unit, does.
    """
    now, before = result.setup.sizes, baseline.setup.sizes
    if len(now) != len(before):
        return ""
    for place, (one, other) in enumerate(zip(now, before, strict=True), start=1):
        if one and other and max(one / other, other / one) > OTHER_SIZE:
            return (
                f"the numbers of a batch's tensor {place} are {format_loss(one)} in size (median), and in {name} they "
                f"were {format_loss(other)}, as after a lost or another normalization"
            )
    return ""


def learns_nothing(result: SweepResult, baseline: SweepResult) -> bool:
    """Tell whether the trial runs learn nothing, where those of the baseline did: of one seed that may be chance.

    gain = (reference - lowest loss of a trial run) / |reference| < NOTHING * gain of the baseline

    The reference is the loss of the best constant prediction for the held-out data, which needs no inputs: if labels
    don't belong to theirs, nothing ends lower, but for chance. Where one of the sweeps doesn't know it, it is the loss
    before any update. Only runs of one length, judged by data of one kind, are compared.
    """
    now, before, _ = _gains(result, baseline)
    return now is not None and before is not None and before >= LEAST_GAIN and now < NOTHING * before


def _gains(result: SweepResult, baseline: SweepResult) -> tuple[float | None, float | None, str]:
    """Return the gains of both, None for both if they can't be compared, and what they are measured from."""
    both = (result, baseline)
    known = all(run.constant is not None for one in both for run in one.runs)
    reference = "the best constant prediction" if known else "the loss before any update"
    if len({(one.settings.run_steps, *{run.metric for run in one.runs}) for one in both}) > 1:
        return None, None, reference
    return _gain(result, known=known), _gain(baseline, known=known), reference


def _nothing_learned(sweeps: Sequence[SweepResult], baseline: SweepResult, name: str) -> str:
    """Say that nothing is learned any more, if enough sweeps with other seeds show it."""
    if len(sweeps) <= AGAIN or not all(learns_nothing(one, baseline) for one in sweeps):
        return ""
    gains = [_gains(one, baseline) for one in sweeps]
    now, before, reference = max(gain[0] or 0.0 for gain in gains), gains[0][1] or 0.0, gains[0][2]
    return (
        f"nothing is learned any more: in {name} the best trial run ended {before:.1%} below {reference}, and in "
        f"{len(sweeps)} sweeps with other seeds none ended more than {max(now, 0.0):.1%} below it "
        f"(up to {NOTHING * before:.1%} may be chance)"
    )


def _gain(result: SweepResult, *, known: bool) -> float | None:
    """Return the gain of the best trial run; None if none ended."""
    pairs = [(run.constant if known else run.initial_loss, run.loss) for run in result.runs]
    gains = [(start - loss) / abs(start) for start, loss in pairs if start and loss is not None]
    return max(gains, default=None)


def _first_loss(result: SweepResult) -> float | None:
    """Return the loss before any update."""
    begun = [trace.initial_loss for trace in result.traces] + [run.initial_loss for run in result.runs]
    known = [loss for loss in begun if loss is not None]
    return statistics.median(known) if known else None


def _described(optimizer: OptimizerFacts) -> str:
    ratios = ", ".join(f"{ratio:.6g}" for ratio in optimizer.group_ratios)  # all that isn't rounding
    return f"{optimizer.name} at {ratios} times the rate that is asked for"


def _shift(
    end: str, before: float, known: tuple[float, float] | None, now: float, found: tuple[float, float] | None
) -> Shift:
    decades = math.log10(now) - math.log10(before)
    toward = 1 if decades > 0 else 0
    widths = (_width(before, known, toward), _width(now, found, 1 - toward))
    return Shift(end=end, before=before, now=now, decades=decades, noise=max(CHANCE, math.hypot(*widths)))


def _width(end: float, interval: tuple[float, float] | None, side: int) -> float:
    return WITHOUT_INTERVAL if interval is None else abs(math.log10(interval[side] / end))


def _sentence(shift: Shift) -> str:
    return (
        f"its {shift.end} end from {format_lr(shift.before)} to {format_lr(shift.now)}, {abs(shift.decades):.1f} "
        f"decades {'up' if shift.decades > 0 else 'down'} ({shift.noise:.1f} may be chance)"
    )


def _differences(result: SweepResult, baseline: SweepResult, name: str) -> tuple[str, ...]:
    """Say what else is different, and may have moved the band."""
    pairs = {
        "metric": (baseline.settings.metric.value, result.settings.metric.value),
        "cached batches": (baseline.setup.cached_batches, result.setup.cached_batches),
        "batch size": (baseline.setup.batch_size, result.setup.batch_size),
        "parameters": (baseline.setup.parameters, result.setup.parameters),
        "loss": (baseline.setup.loss, result.setup.loss),
        **{
            key: (baseline.setup.optimizer.settings.get(key), value)
            for key, value in result.setup.optimizer.settings.items()
        },
    }
    return tuple(f"{what} is {old} in {name} and {new} here" for what, (old, new) in pairs.items() if old != new)
