"""Which rate a verification's trials speak for: the one that was asked about, unless they clearly show a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from lrfinder.records import Band
from lrfinder.search.drift import LrDrift, extrapolate
from lrfinder.search.lr_profile import CLEAR, CLIFF, LrProfile

CONFIRMED = 0.1  # decades (a factor of 1.26): nearer, no run could tell the recommended rate from the verified one
LOST = 0.1  # of the longest trials' fall: a rate that loses more did not train well: advice/README.md#lost
LEVEL = 0.9  # how sure the printed cost is
DEAR = 0.05  # of the fall: what a confident rate is expected to lose at most: advice/README.md#dear
LEAST_ERROR = 0.0912  # decades (sd), at least: advice/README.md#least_error
CLOSE = 0.01  # of the fall; full-length trials nearer than that are equal: advice/README.md#close
RISK = 0.3  # of the fall; a rate that may lose so much more is given up for a lower one: advice/README.md#risk
LESS_KNOWN = 2.0  # times the error of the best rate, then: in the same place
CATCH_UP = 0.75  # of what a trial loses, left by a run twice as long: advice/README.md#catch_up
SHELF = 1 / 3  # of the first loss: advice/README.md#shelf-far_below
FAR_BELOW = 1 / 2  # of the loss of the best constant prediction: in the same place
_THRICE = math.log10(3)
_SAME = 1e-3  # decades


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The rate: `x` = log10 of it. `kept`: it is the one that was asked about. `to_try` is worth a trial of its own.

    `drift` is where the trials point; `limit` says in words what kept the rate from it, empty if nothing did.
    `cost` is the share of the fall that 10**x is expected to lose at most, at 90 %; infinite if no trial tells.
    `untested` is log10 of a rate whose trial may show it to be less; NaN if none would.
    `risk` is what the asked rate may lose, at 90 %, if it was given up for that alone; else NaN.
    """

    x: float
    to_try: float
    kept: bool
    drift: LrDrift
    limit: str
    cost: float
    untested: float
    risk: float


def decide(
    asked: float,
    short: LrProfile | None,
    long: LrProfile,
    *,
    steps: int,
    expected: float,
    band: Band | None,
    repeated: bool = False,
    once: bool = False,
    by_chance: bool = False,
    level: float = LEVEL,
) -> Decision:
    """Return the rate (log10) for a run of `steps` updates; `asked` is log10 of the recommended one.

    It is where the trials point (`extrapolate`), but never beyond the highest rate at which a trial of the greatest
    length lost at most LOST, never outside the sweep's `band`, and at a distance from rates that lost more than CLIFF
    in trials of either length: 2 CLEAR, as far as that costs LOST at most. An `expected` drift may go up to where less
    than CLIFF was lost: shorter trials overstate that loss.

    Its cost at `level` is what 10**x would lose if the trials' valley lay lower by as much as it may (`_cost`), and of
    another rate than the asked one at least what it lost in the trials: for that there is no evidence but theirs.
    `by_chance`: how trials end may be chance, so that the asked rate is given up only if it lost more than CLIFF.
    `repeated`: the trials passed over a part of the data, as often as the run will over all of it. `once`: the run is
    known to see its data once.

    The asked rate is kept if it obeys all that (CLEAR off what failed is enough), and if the other one was better by no
    more than LOST, or CLOSE if the trials were as long as the run, or the trials' own roughness. DEAR stands for LOST
    if the other one is lower, or all trials above it did about as well, and if a drift is expected of a run that sees
    its data once. However near they are, it is given up for a lower one if it may lose RISK more, at 90 %: a cliff is
    close above it. Where the valley lies is taken to be half as well known then.
    """
    drift = extrapolate(short, long, steps, expected=expected, repeated=repeated)
    full = drift.doublings == 0
    failed = min(
        profile.lowest_failed(long.lowest.x) + expected * max(0.0, math.log2(steps / profile.steps))
        for profile in (short, long)
        if profile is not None
    )
    highest = long.near_best(CLIFF)[1] if expected and not full else long.highest_trained(LOST)
    low, high = (math.log10(band.low), math.log10(band.high)) if band is not None else (-math.inf, math.inf)
    distant = math.inf if full else max(failed - 2 * CLEAR, long.near_best(LOST)[0])
    to_try = min(max(drift.x, low), high, distant)
    x = min(to_try, highest)
    limit = "the trainable band begins there" if x > drift.x + _SAME else ""
    if x < drift.x - _SAME:
        limits = {
            high: "the trainable band ends there",
            distant: "a distance is kept from what failed",
            highest: f"no higher rate was seen to train well in {long.steps} updates",
        }
        limit = limits[x]
    worse = _worse(long, asked, x, drift, once=once)
    allowed = (
        low - _SAME <= asked <= min(high, highest + CONFIRMED, failed - CLEAR, drift.x if drift.cliff else high) + _SAME
    )
    little_is_enough = x < asked or (expected and once) or _has_room(long, x)
    least = CLOSE if full else DEAR if little_is_enough else LOST
    clearly = CLIFF if by_chance else max(least, long.roughness)
    near = worse <= clearly or abs(asked - x) <= CONFIRMED
    kept = asked == x or (allowed and near)
    eased = left_over(drift, repeated=repeated)
    risk = math.nan
    if kept and x < asked and not full:
        may_lose, less = (_cost(short, long, rate, drift, eased=eased, level=LEVEL) for rate in (asked, x))
        if may_lose > max(less, long.lost(x)) + RISK:
            kept, risk = False, may_lose
    if kept:
        x, to_try, limit = asked, asked, ""
    cost = _cost(short, long, x, drift, eased=eased, level=level, widened=1.0 if math.isnan(risk) else LESS_KNOWN)
    if not kept and not drift.expected:
        cost = max(cost, long.lost(x))  # NaN beyond the trials
    untested = _untested(short, long, x, drift, eased=eased, level=level) if cost > DEAR else math.nan
    return Decision(x=x, to_try=to_try, kept=kept, drift=drift, limit=limit, cost=cost, untested=untested, risk=risk)


def _worse(long: LrProfile, asked: float, x: float, drift: LrDrift, *, once: bool) -> float:
    """Return which share of the fall the asked rate is taken to lose more than 10**x.

    An expected drift has moved the trials' valley. If the run sees its data `once`, both rates are looked up where it
    comes from. If it repeats them, it may overfit, which moves the valley back: then the asked rate must have lost in
    its own trial, too. If a lower rate ended lowest, and they point still lower, all counts that the asked rate lost:
    a longer run takes nothing of that back.
    """
    lost, moved_from = long.lost(asked), long.lost(asked - drift.moved)
    if drift.doublings and x < long.lowest.x < asked:
        return lost
    if not drift.expected or math.isnan(moved_from):
        return lost - max(0.0, long.lost(x))
    if once:
        return moved_from - max(0.0, long.lost(x - drift.moved))
    return min(moved_from, lost) - max(0.0, long.lost(x))


def left_the_plateau(short: LrProfile | None, long: LrProfile, x: float) -> bool:
    """Tell whether trials left a plateau behind them, so that when they began to learn has no part in how they ended.

    Either three times 10**x lost at most DEAR, and little of the first loss is left (SHELF); or the shorter trials had
    left it already: at all rates of the longer ones within three times of 10**x they learned more in each update,

    (s - l_short) / n_short >= (s - l_long) / n_long

    with s the loss before training, l that at the end, n the updates. On a plateau, and just after it, that is less.
    """
    if long.lost(x + _THRICE) <= DEAR and long.lowest.loss <= SHELF * abs(long.start):
        return True
    near = [point for point in long.points if abs(point.x - x) <= _THRICE]
    return (
        short is not None
        and len(near) > 1
        and all(
            short.fall * (1 - short.lost(point.x)) / short.steps >= (long.start - point.loss) / long.steps
            for point in near  # NaN, where no shorter one was made, is not more
        )
    )


def _has_room(long: LrProfile, x: float) -> bool:
    """Tell whether rates above 10**x and the best were tried, and none lost more than DEAR: no cliff is near."""
    above = [long.lost(point.x) for point in long.points if point.x > max(x, long.lowest.x)]
    return bool(above) and max(above) <= DEAR


def left_over(drift: LrDrift, *, repeated: bool) -> float:
    """Return which share of what a rate loses in the trials it still loses in the coming run: CATCH_UP^doublings.

    All of it for data seen once, and if a drift is expected: then the valley moves, and was not seen to widen.
    """
    return CATCH_UP**drift.doublings if repeated and not drift.expected else 1.0


def _cost(
    short: LrProfile | None,
    long: LrProfile,
    x: float,
    drift: LrDrift,
    *,
    eased: float,
    level: float,
    widened: float = 1.0,
) -> float:
    """Return the share of the fall that 10**x loses at most, at `level`.

    max of l(v) c(v) for v from x to x + z s, plus c (roughness + open end)

    s is the standard error of the best rate in decades, times `widened`, z the normal quantile of `level`, l the
    trials' valley, c what is left of a loss in a longer run: `eased` up to the last trial before a cliff, 1 above it.
    If the trials were as long as the run, the valley may lie higher as well: v then begins at x - z s, and z is the
    two-sided quantile. Above the longer trials' rates the shorter ones count, or the line through the last two. In
    the trials' valley x stands where an expected drift would have moved it from.
    """
    low, high = _where_it_may_lie(x, drift, level, widened)
    inside = [point.x for point in long.points if low < point.x < high]

    def lost(v: float) -> float:
        first, last = long.points[0].x, long.points[-1].x
        if v <= last:
            return long.lost(max(v, first))
        known = math.nan if short is None else short.lost(v)
        return long.lost_beyond(v) if math.isnan(known) else known

    failed = long.lowest_failed(long.lowest.x)
    sound = max(point.x for point in long.points if point.x < failed)
    most = max(lost(v) * (eased if v <= sound else 1.0) for v in (low, *inside, high))
    return most + eased * (long.roughness + long.open_end)


def _untested(
    short: LrProfile | None, long: LrProfile, x: float, drift: LrDrift, *, eased: float, level: float
) -> float:
    """Return the upper end of the rates that `_cost` looks at, if no trial was made between it and 10**x.

    What such rates lose is then read off the line to the next trial above, which may lie on a cliff. NaN if the run
    is as long as the trials, or if the rest of the cost alone is too much.
    """
    low, high = _where_it_may_lie(x, drift, level)
    if drift.doublings == 0 or any(low < point.x <= high for point in long.points):
        return math.nan
    rest = _cost(short, long, x, drift, eased=eased, level=0.5)  # at 50 % the valley lies where the trials show it
    return high if rest <= DEAR else math.nan


def _where_it_may_lie(x: float, drift: LrDrift, level: float, widened: float = 1.0) -> tuple[float, float]:
    """Return the rates (log10) of the trials' valley between which 10**x may lie, at `level`."""
    full = drift.doublings == 0
    at = x - drift.weighed * drift.doublings if drift.expected else x  # also what FARTHEST has cut off
    half = NormalDist().inv_cdf((1 + level) / 2 if full else level) * widened * max(LEAST_ERROR, drift.error)
    return at - half if full else at, at + half
