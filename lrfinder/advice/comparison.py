"""Whether runs may be compared, and whether their picks really differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from lrfinder.advice.answer import RunAnswer
from lrfinder.formatting import format_count, format_interval
from lrfinder.records import JUDGED, Pick, Setup, Status

_NOT_SET, _LENGTH, _SAMPLES = "not set", "length of the coming run", "samples of an epoch"
_FIRST = "digest of the first batch"
COVERAGE = 0.9  # of an interval; two picks that are the same are told apart in one comparison of ten


class Bears(StrEnum):
    """What a difference between runs bears on."""

    LOSSES = "losses"  # the heights of the curves mean different things
    RATES = "rates"  # the numbers of the rates mean different things
    CONDITIONS = "conditions"  # what may be behind a difference of the picks


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A condition that is not the same for all runs, with its value in each of them."""

    what: str
    bears_on: Bears
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PickPair:
    """Two picks: by which factor they lie apart, and by which at least they must to differ clearly.

    `clear` is None if one of them has no rate or no interval, or if a rate means something else in each of them.
    """

    first: str
    second: str
    factor: float | None
    needed: float | None
    clear: bool | None
    uncertain: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """Runs side by side; `verdict` says it in sentences."""

    runs: tuple[RunAnswer, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[PickPair, ...]
    losses_comparable: bool
    rates_comparable: bool
    verdict: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.verdict)

    def __repr__(self) -> str:
        clear = sum(pair.clear is True for pair in self.pairs)
        return f"Comparison({len(self.runs)} runs, {clear} of {format_count(len(self.pairs), 'pair')} differ clearly)"


def compare_answers(runs: Sequence[RunAnswer]) -> Comparison:
    """Compare two runs or more, all pairs of picks at once."""
    conditions = [_conditions(run) for run in runs]
    names = list(dict.fromkeys(itertools.chain.from_iterable(conditions)))
    if len({run.result.setup.optimizer.name for run in runs}) > 1:  # other optimizers have other settings
        names = [each for each in names if not any(each[0] in run.result.setup.optimizer.settings for run in runs)]
    differences = tuple(
        Difference(what=what, bears_on=bears_on, values=values)
        for what, bears_on in names
        if len(set(values := tuple(each.get((what, bears_on), _NOT_SET) for each in conditions))) > 1
        and not (what == _LENGTH and _NOT_SET in values)  # nobody asked: that is no other length
        and not (what == _SAMPLES and _same_samples([run.result.setup for run in runs]))
        and not (what == _FIRST and (_NOT_SET in values or not _drawn_alike(runs)))
    )
    couples = tuple(itertools.combinations(runs, 2))
    among = sum(_can_be_judged(first, second) for first, second in couples)
    pairs = tuple(_pair(first, second, among=max(among, 1)) for first, second in couples)
    kinds = {difference.bears_on for difference in differences}
    return Comparison(
        runs=tuple(runs),
        differences=differences,
        pairs=pairs,
        losses_comparable=Bears.LOSSES not in kinds,
        rates_comparable=Bears.RATES not in kinds,
        verdict=(*_on_conditions(differences), *_on_picks(runs, pairs)),
    )


def _conditions(run: RunAnswer) -> dict[tuple[str, Bears], str]:
    """Return all under which a run was made, and what it bears on; seeds are left out, they are chance."""
    setup, settings, training = run.result.setup, run.result.settings, run.training
    optimizer, schedule, losses = setup.optimizer, run.advice.schedule, Bears.LOSSES
    length = format_count(settings.steps, "update")
    digest = "" if run.model_sha256 is None else f" ({run.model_sha256[:8]})"
    said: dict[tuple[str, Bears], object] = {
        ("loss", losses): setup.loss,
        ("measured on", losses): settings.metric.value,
        ("judged in", losses): (setup.judged or JUDGED).partition(":")[0],
        ("sweep", losses): f"{length} from {format_interval(settings.min_lr, settings.max_lr)}, {settings.spacing}",
        ("cached batches", losses): setup.cached_batches,
        ("begins at", losses): None if setup.start is None else f"{setup.start.file} ({setup.start.sha256[:8]})",
        (_SAMPLES, losses): _samples(setup),
        (_FIRST, losses): setup.first_batch,
        **{(name, Bears.RATES): value for name, value in _rate_unit(run).items()},
        ("batch size", Bears.CONDITIONS): setup.batch_size,
        ("processes", Bears.CONDITIONS): setup.processes or 1,
        ("model", Bears.CONDITIONS): f"{setup.model}, {setup.parameters} parameters",
        ("model file", Bears.CONDITIONS): f"{run.model_file}{digest}",
        ("mode", Bears.CONDITIONS): settings.mode.value,
        ("updates of a trial run", Bears.CONDITIONS): settings.run_steps,
        (_LENGTH, Bears.CONDITIONS): None if schedule is None else schedule.steps,
        ("rule of the pick", Bears.CONDITIONS): run.pick.rule,
        ("device", Bears.CONDITIONS): setup.device,
        ("torch", Bears.CONDITIONS): setup.torch,
        **{(name, Bears.CONDITIONS): value for name, value in optimizer.settings.items()},
        **{
            (name, Bears.CONDITIONS): getattr(training, name)
            for name in ("precision", "accumulate", "clip_norm", "clip_value", "swept_optimizer", "scale_others")
        },
    }
    return {key: _NOT_SET if value is None else str(value) for key, value in said.items()}


def _rate_unit(run: RunAnswer) -> dict[str, str]:
    """Return what a rate is of: only rates of the same can be compared as numbers."""
    optimizer = run.result.setup.optimizer
    ratios = ", ".join(f"{ratio:.6g}" for ratio in optimizer.group_ratios)  # all that isn't rounding
    return {"optimizer": optimizer.name, "rates of the param groups": ratios}


def _samples(setup: Setup) -> str | None:
    if setup.batches_per_epoch is None:
        return None
    batches = format_count(setup.batches_per_epoch, "batch", "batches")
    return batches if setup.batch_size is None else f"{batches} of {setup.batch_size}"


def _drawn_alike(runs: Sequence[RunAnswer]) -> bool:
    """Tell whether the first batch is the same of the same data: which samples come first hangs on all of this."""
    files = {run.model_sha256 for run in runs}
    drawn = {(run.result.settings.seed, run.result.setup.batch_size, run.result.setup.torch) for run in runs}
    return len(files) == len(drawn) == 1 and None not in files


def _same_samples(setups: Sequence[Setup]) -> bool:
    """Tell whether all epochs may have the same number of samples: the last batch may be a part, or left out."""
    sizes = [(setup.batch_size or 0, (setup.batch_size or 0) * (setup.batches_per_epoch or 0)) for setup in setups]
    samples = [size for _, size in sizes]
    return min(samples) > 0 and max(samples) - min(samples) < 2 * max(batch for batch, _ in sizes)


def _pair(first: RunAnswer, second: RunAnswer, *, among: int) -> PickPair:
    low, high = sorted((first.pick, second.pick), key=lambda pick: pick.lr or 0.0)
    apart = None if low.lr is None or high.lr is None else math.log10(high.lr) - math.log10(low.lr)
    error = None if apart is None else _error(low, high, among)
    return PickPair(
        first=first.name,
        second=second.name,
        factor=_factor(apart),
        needed=_factor(error),
        clear=apart > error if apart is not None and error is not None and _can_be_judged(first, second) else None,
        uncertain=Status.UNCERTAIN in {first.pick.status, second.pick.status},
    )


def _can_be_judged(first: RunAnswer, second: RunAnswer) -> bool:
    ends = (first.pick.low, first.pick.high, second.pick.low, second.pick.high)
    return None not in ends and _rate_unit(first) == _rate_unit(second)


def _error(low: Pick, high: Pick, among: int) -> float | None:
    """Return how many decades two picks may lie apart by chance, `low` below `high`; None without both intervals.

    sqrt(a^2 + b^2) z(among) / z(1), with a and b the widths of the intervals towards each other, and z(m) the normal
    quantile of 1 - (1 - COVERAGE) / (2 m): Bonferroni's correction for `among` comparisons at once.
    """
    if low.lr is None or high.lr is None or low.high is None or high.low is None:
        return None
    z = NormalDist().inv_cdf
    widened = z(1 - (1 - COVERAGE) / (2 * among)) / z(1 - (1 - COVERAGE) / 2)
    a, b = math.log10(low.high) - math.log10(low.lr), math.log10(high.lr) - math.log10(high.low)
    return widened * math.hypot(max(a, 0.0), max(b, 0.0))


def _factor(decades: float | None) -> float | None:
    return None if decades is None else 10.0 ** min(decades, 300.0)  # no larger one is a number


def _on_conditions(differences: Sequence[Difference]) -> tuple[str, ...]:
    if not differences:
        return ("The runs were made under the same conditions, as far as run.json tells: they may be compared.",)
    names = [difference.what for difference in differences]
    said = [f"The runs differ in {', '.join(names[:-1])}{' and ' if names[1:] else ''}{names[-1]}."]
    kinds = {difference.bears_on for difference in differences}
    if Bears.LOSSES in kinds:
        said.append("So the heights of their curves must not be compared: each is drawn as a share of its own fall.")
    if Bears.RATES in kinds:
        said.append(
            "Rates of different optimizers or param groups mean different things: their numbers can't be compared."
        )
    elif len(differences) == 1:
        said.append("What differs between their picks comes from that, or from chance.")
    else:
        said.append("What differs between their picks may come from any of these, or from chance.")
    return tuple(said)


def _on_picks(runs: Sequence[RunAnswer], pairs: Sequence[PickPair]) -> tuple[str, ...]:
    said = [f"{run.name} has no pick: {run.pick.why}." for run in runs if run.pick.lr is None]
    said += [
        f"{run.name}'s pick has no interval, so it can't be told whether it differs from others."
        for run in runs
        if run.pick.lr is not None and (run.pick.low is None or run.pick.high is None)
    ]
    judged = [pair for pair in pairs if pair.clear is not None]
    said += [_sentence(pair) for pair in judged if pair.clear]
    alike = [pair for pair in judged if not pair.clear]
    if len(alike) == 1:
        said.append(_sentence(alike[0]))
    elif alike:
        which = "No two picks differ" if len(alike) == len(pairs) else f"The other {len(alike)} pairs do not differ"
        said.append(f"{which} clearly, given their intervals.")
    return tuple(said)


def _sentence(pair: PickPair) -> str:
    factor, needed = pair.factor or math.nan, pair.needed or math.nan
    apart = f"they lie a factor of {factor:.2f} apart, and their intervals leave open a factor of {needed:.2f}"
    caveat = " One of the two is uncertain, so this may be wrong." if pair.uncertain else ""
    clearly = "differ clearly" if pair.clear else "do not differ clearly"
    return f"The picks of {pair.first} and {pair.second} {clearly}: {apart}.{caveat}"
