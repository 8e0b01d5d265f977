"""Is a configured rate still sane? A sweep's answer, for continuous integration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lrfinder.advice.advise import Request, advise
from lrfinder.advice.checks.baseline import BandShift, compare_bands
from lrfinder.advice.sweep.evidence import gather_evidence
from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_interval, format_lr
from lrfinder.optimizers import same_classes
from lrfinder.records import MAX_LR, MIN_LR, Band, Metric, Mode, SweepResult, SweepSettings

# Decades around the configured rate that a check must see, whatever the default range: the flat start of the curve and
# the rise at its end, if the rate is right.
MARGIN = 3.0
FAR_OFF = 0.7  # decades; picks of other seeds, lengths and schedules differ by less
OPEN = 10.0  # a factor; an end of the band that is known no better doesn't tell what is beyond its estimate


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckResult:
    """Whether the configured peak is inside the trainable band; `sane` is None if the sweep can't tell.

    With a baseline it is False, too, if the band has moved since then.
    """

    sane: bool | None
    lr: float
    band: Band | None
    suggested: float | None
    why: str
    hint: str
    warnings: tuple[str, ...]
    shift: BandShift | None = None  # against the baseline

    def __str__(self) -> str:
        answer = {True: "Sane", False: "Not sane", None: "Can't tell"}[self.sane]
        to_do = [f"What to do: {self.hint}"] if self.hint else []
        return " ".join(f"{sentence}." for sentence in (f"{answer}: {self.why}", *to_do, *self.warnings))

    def __repr__(self) -> str:
        return f"CheckResult(lr {format_lr(self.lr)}, sane: {self.sane})"


def settings_around(
    lr: float,
    *,
    repeats: int,
    seed: int,
    max_seconds: float,
    metric: Metric = Metric.TRAIN,
    cache_batches: int | None = None,
) -> SweepSettings:
    """Return the settings of a check's sweep: the default range, widened if `lr` lies near or beyond its ends."""
    return SweepSettings(
        min_lr=min(MIN_LR, lr / 10**MARGIN),
        max_lr=max(MAX_LR, lr * 10**MARGIN),
        repeats=repeats,
        mode=Mode.AUTO,
        metric=metric,
        cache_batches=cache_batches,
        seed=seed,
        max_seconds=max_seconds,
    )


def check_rate(result: SweepResult, configured: ScheduleConfig | float) -> CheckResult:
    """Compare a config's peak rate, or a rate, with the trainable band of a sweep.

    The band's ends are taken at the outer bound of their intervals: a rate is called insane only if the sweep is
    sure of it, since a check that fails by chance is soon ignored. If a bound is farther than OPEN from its end, a rate
    between the two is neither.
    """
    advice = advise(gather_evidence(result), Request())
    if isinstance(configured, ScheduleConfig):
        lr, warnings = configured.optimizer.lr, _differences(result, configured)
    else:
        lr, warnings = configured, ()
    if advice.band is None or advice.lr is None:
        return CheckResult(
            sane=None, lr=lr, band=None, suggested=None, why=advice.why, hint=advice.hint, warnings=warnings
        )
    low = (advice.band.low_interval or (advice.band.low,))[0]
    high = (advice.band.high_interval or (advice.band.high,))[-1]
    band = f"the trainable band, {format_interval(low, high)}"
    open_end = _open_end(lr, advice.band.low, low) or _open_end(lr, advice.band.high, high)
    if open_end:
        why = f"the peak rate {format_lr(lr)} is where the end of the trainable band may be, {open_end}: can't tell"
        hint = f"the loss falls fastest at {format_lr(advice.lr)}; `lrfinder sweep` with more --repeats tells more"
    elif low <= lr <= high:
        why, hint = f"the peak rate {format_lr(lr)} is inside {band}", ""
    else:
        side = "below" if lr < low else "above"
        danger = "training would crawl" if lr < low else "training would be unstable"
        why = f"the peak rate {format_lr(lr)} is {side} {band}: {danger}"
        hint = f"the loss falls fastest at {format_lr(advice.lr)}; run `lrfinder sweep` and `lrfinder recommend` again"
    return CheckResult(
        sane=None if open_end else low <= lr <= high,
        lr=lr,
        band=advice.band,
        suggested=advice.lr,
        why=why,
        hint=hint,
        warnings=warnings,
    )


def with_baseline(
    checked: CheckResult, result: SweepResult, baseline: SweepResult, *, name: str, others: Sequence[SweepResult] = ()
) -> CheckResult:
    """Return the answer with what has become of the band since the sweep `baseline`, which messages call `name`.

    `others` are sweeps with other seeds, as in `compare_bands`. Where this sweep finds no band, its losses and its
    optimizer are compared all the same. Raises UsageError if the baseline has no band.
    """
    shift = compare_bands(checked.band, result, baseline, name=name, others=others)
    if shift is None:
        return checked
    to_do = "look for what changed; if it should have, sweep again for a new baseline" if shift.moved else ""
    return replace(
        checked,
        sane=False if shift.moved else checked.sane,
        why=f"{checked.why}; {shift.why}",
        hint=checked.hint or to_do,
        warnings=(*checked.warnings, *shift.warnings),
        shift=shift,
    )


def with_found_rate(checked: CheckResult, found: float, *, name: str) -> CheckResult:
    """Return the answer for a config that says its rate was found, where the run `name` found `found`.

    A rate more than FAR_OFF from that isn't sane, even if it trains: it was changed by hand, or by a mistake.
    """
    if abs(math.log10(checked.lr / found)) <= FAR_OFF:
        return checked
    times = checked.lr / found if checked.lr > found else found / checked.lr
    side = "above" if checked.lr > found else "below"
    told = f"the peak rate {format_lr(checked.lr)} is {times:.3g} times {side} the {format_lr(found)} found in {name}"
    hint = f"put {format_lr(found)} back; or, if the other rate is meant, take `evidence` out of the config"
    return replace(checked, sane=False, why=f"{told}; {checked.why}", hint=checked.hint or hint)


def _open_end(lr: float, end: float, outer: float) -> str:
    """Return between which rates an end of the band may be, if `lr` is there and they are more than OPEN apart."""
    low, high = min(end, outer), max(end, outer)
    return format_interval(low, high) if low < lr < high and high > OPEN * low else ""


def _differences(result: SweepResult, config: ScheduleConfig) -> tuple[str, ...]:
    swept, configured = result.setup.optimizer, config.optimizer
    found = []
    if not same_classes(swept.name, configured.name):
        found.append(f"the config's rate is for {configured.name}, and {swept.name} was swept")
    for name, value in configured.settings.items():
        if name in swept.settings and swept.settings[name] != value:
            found.append(f"{name} is {value} in the config and {swept.settings[name]} in what was swept")
    return tuple(found)
