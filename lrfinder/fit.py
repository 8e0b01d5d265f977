"""The loss as a smooth function of log10(rate): a local quadratic regression, free of lag, over all repeats at once.

At every rate of a grid a parabola is fitted by weighted least squares to the points around it,

    minimise over c   sum_i  w_i * (y_i - c0 - c1 d_i - c2 d_i^2)^2,     d_i = x_i - x,   w_i = exp(-(d_i / h)^2 / 2)

with x = log10(rate) and the bandwidth h in decades; c0 is the fitted loss and c1 its slope (loss per decade). The
kernel is symmetric, so the curve has no lag, unlike the running averages of the peers, which move the steepest point
to the right (Cleveland 1979, doi:10.1080/01621459.1979.10481038; Fan & Gijbels 1996, chapter 3: the degree one above
the derivative's has no design bias).

What enters the fit: a loss above `start + fall` counts as `start + fall` (how far a loss explodes says nothing about
where it began to rise), and so does every rate above the one at which a repeat diverged (else the curve would end in
the air there, and the fit would depend on how soon the sweep was stopped). The curve ends a decade above the rate that
half of the repeats reached.

Uncertainty: a wild cluster bootstrap (Cameron, Gelbach & Miller 2008, doi:10.1162/rest.90.3.414): the residuals of each
repeat keep or change their sign together within blocks of one decade, and the fit is made again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfinder.records import Fit, Trace

Array = NDArray[np.float64]

# Decades. Wide enough for a parabola to rest on a dozen points of the default sweep, narrow enough to follow a fall and
# the cliff after it; what a pick needs beyond that, `rules.smoothing` averages.
BANDWIDTH = 0.25
GRID_STEP = 0.02  # decades; rates 5 % apart: finer than any interval that a sweep can state
DRAWS = 200  # bootstrap fits; enough for the 5 % and 95 % points, each then rests on ten draws
BLOCK = 1.0  # decades; wider than the kernel, so that a repeat's slow deviations are resampled as a whole
BEYOND = 1.0  # decades around the end of the middle repeat: more than the kernel can reach
INTERVAL = (0.05, 0.95)  # the quantiles of every stated interval: 90 %
MIN_POINTS = 10  # finite losses in all; fewer, and neighbouring parabolas share most of their points
MOST_TERMS = 1000  # points; of more, those nearer than BIN count together: rules/README.md#most_terms
BIN = 0.01  # decades; rates 2 % apart, half of the grid's
GAPS = 1.5  # times the spacing of the rates: the narrowest kernel, in which a parabola still rests on six of them


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The points of the fit. `x` is log10(rate), `y` the loss (see the module), `repeat` the number of its repeat."""

    x: Array
    y: Array
    repeat: NDArray[np.int64]
    start: float
    early: int  # how many losses the start is the median of
    fall: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The fitted curve on a grid of G rates, with its bootstrap draws (shape B x G). `x` is log10(rate)."""

    x: Array
    loss: Array
    slope: Array
    loss_draws: Array
    slope_draws: Array
    points: Points
    noise: float
    bandwidth: float
    leverage: Array  # standard error of the fitted loss over the noise of one measurement, if noise is independent

    @property
    def error(self) -> Array:
        """The standard error of the fitted loss on the grid: the larger of two estimates.

        The bootstrap's sees what repeats have in common; from few repeats it is itself noisy, and then
        noise * leverage, exact for independent noise, bounds it from below.
        """
        return np.asarray(np.maximum(self.loss_draws.std(axis=0), self.noise * self.leverage), dtype=np.float64)

    @property
    def start_error(self) -> float:
        """The standard error of the start, a median: that of a mean times sqrt(pi / 2) for normal noise."""
        return float(self.noise * np.sqrt(np.pi / 2 / max(self.points.early, 1)))

    def record(self) -> Fit:
        """Return what is stored and drawn of it."""
        low, high = np.quantile(self.loss_draws, INTERVAL, axis=0)
        return Fit(
            lrs=_floats(10**self.x),
            losses=_floats(self.loss),
            low=_floats(low),
            high=_floats(high),
            slopes=_floats(self.slope),
            start=self.points.start,
            noise=self.noise,
            bandwidth=self.bandwidth,
        )


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def count_finite(traces: tuple[Trace, ...]) -> int:
    """Return how many finite losses the repeats hold together."""
    return sum(int(np.isfinite(trace.losses).sum()) for trace in traces)


def collect(traces: tuple[Trace, ...], planned: tuple[float, ...]) -> Points:
    """Gather the points of all repeats; `planned` are the rates of the whole sweep, tried or not.

    Raises ValueError if there are fewer than MIN_POINTS finite losses.
    """
    if count_finite(traces) < MIN_POINTS:
        raise ValueError(f"a fit needs at least {MIN_POINTS} finite losses, got {count_finite(traces)}")
    early = _early(traces)
    start = float(np.median(early or [0.0]))
    lowest = float(np.median([_running_median(trace.losses).min() for trace in traces if trace.losses]))
    fall = max(start - lowest, 0.0)
    middle = float(np.median([trace.lrs[-1] for trace in traces if trace.lrs]))
    x, y, repeat = [], [], []
    for trace in traces:
        rates, losses = _with_divergence(trace, planned, middle)
        # Without any fall there is no scale to cut at: then only infinities are cut, at the largest finite loss.
        ceiling = start + fall if fall > 0 else float(np.max(losses[np.isfinite(losses)], initial=start))
        x.append(np.log10(rates))
        y.append(np.minimum(np.where(np.isfinite(losses), losses, np.inf), ceiling))
        repeat.append(np.full(len(rates), trace.repeat))
    return Points(np.concatenate(x), np.concatenate(y), np.concatenate(repeat), start, len(early), fall)


def _early(traces: tuple[Trace, ...]) -> list[float]:
    """Return the losses before anything was learned: of each repeat the initial one and the two after it."""
    early = [value for trace in traces for value in (trace.initial_loss, *trace.losses[:2]) if value is not None]
    return [value for value in early if np.isfinite(value)]


def _running_median(losses: tuple[float, ...]) -> Array:
    """Return the centred running median of five, infinite at each loss that is not finite."""
    values = np.where(np.isfinite(losses), losses, np.inf)
    padded = np.pad(values, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5)
    return np.asarray(np.median(windows, axis=1), dtype=np.float64)


def _with_divergence(trace: Trace, planned: tuple[float, ...], middle: float) -> tuple[Array, Array]:
    """Return the rates and losses of a repeat, after a divergence with infinite losses at the rates it didn't try.

    `middle` is the rate that half of the repeats reached. A repeat that stopped a decade before it says nothing about
    the rates beyond: the others trained there, so it was chance. A decade after it the curve ends: a single survivor
    can't speak for the rest.
    """
    rates, losses = list(trace.lrs), list(trace.losses)
    if trace.stop.blew_up and rates and rates[-1] >= middle / 10**BEYOND:
        beyond = [lr for lr in planned if lr > rates[-1]]
        rates, losses = rates + beyond, losses + [np.inf] * len(beyond)
    kept = np.array(rates, dtype=np.float64) <= middle * 10**BEYOND
    return np.array(rates, dtype=np.float64)[kept], np.array(losses, dtype=np.float64)[kept]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The terms of the sums that make the fit: `count` points each at their mean `x`; `of` says which is a point's."""

    x: Array
    count: Array
    of: NDArray[np.int64]

    def sum(self, values: Array) -> Array:
        """Return the sum of the points' values in each term."""
        return np.asarray(np.bincount(self.of, weights=values, minlength=len(self.x)), dtype=np.float64)


def terms_of(x: Array) -> Terms:
    """Return a term for each point, or for each BIN of a decade that has any, if there are more than MOST_TERMS."""
    if len(x) <= MOST_TERMS:
        return _each(x)
    of = np.unique(np.floor(x / BIN), return_inverse=True)[1]
    count = np.bincount(of).astype(np.float64)
    return Terms(np.bincount(of, weights=x) / count, count, of)


def _each(x: Array) -> Terms:
    return Terms(x, np.ones_like(x), np.arange(len(x)))


def smoother(x: Array, at: Array, bandwidth: float, terms: Terms | None = None) -> tuple[Array, Array]:
    """Return the matrices (len(at) x terms) that turn losses at `x` into fitted losses and slopes at `at`.

    They are multiplied with the sums of the losses in each term; without `terms` each of `x` is one.
    """
    terms = _each(x) if terms is None else terms
    distance = terms.x[None, :] - at[:, None]
    width = np.maximum(bandwidth, GAPS * _spacing(x, at))[:, None]
    scaled = distance / width
    weights = np.exp(-0.5 * scaled**2)
    powers = np.stack([np.ones_like(scaled), scaled, scaled**2], axis=2)
    weighted = powers * weights[:, :, None]
    normal = np.einsum("gnp,gnq->gpq", weighted * terms.count[None, :, None], powers)
    # The pseudo-inverse: if fewer than three distinct rates are in reach, it gives the flattest parabola.
    coefficients = np.einsum("gpq,gnq->gpn", np.linalg.pinv(normal, hermitian=True), weighted)
    return coefficients[:, 0, :], coefficients[:, 1, :] / width


def _spacing(x: Array, at: Array) -> Array:
    """Return how far apart the distinct rates are around `at`, interpolated: a smooth width gives a smooth curve."""
    rates = np.unique(x)
    if len(rates) == 1:
        return np.zeros_like(at)
    return np.asarray(np.interp(at, (rates[1:] + rates[:-1]) / 2, np.diff(rates)), dtype=np.float64)


def usual_arithmetic() -> np.errstate:
    """Return numpy's own treatment of odd numbers, whatever the user's `np.seterr` says: tails of the kernel underflow.

    A context and a decorator.
    """
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")


@usual_arithmetic()
def fit_curve(
    traces: tuple[Trace, ...],
    planned: tuple[float, ...],
    *,
    bandwidth: float = BANDWIDTH,
    draws: int = DRAWS,
    seed: int = 0,
) -> Curve:
    """Fit all repeats together.

    `seed` is the bootstrap's: the same run and seed give the same answer, always.
    Raises ValueError if there are fewer than MIN_POINTS finite losses.
    """
    points = collect(traces, planned)
    grid = np.arange(points.x.min(), points.x.max() + GRID_STEP / 2, GRID_STEP)
    terms = terms_of(points.x)
    to_loss, to_slope = smoother(points.x, grid, bandwidth, terms)
    losses = terms.sum(points.y)
    fitted = np.interp(points.x, grid, to_loss @ losses)
    residual = points.y - fitted
    # A draw is linear in the signs of its blocks: what each block's residuals add to the curve is summed once.
    blocks = points.repeat * 1000 + np.floor(points.x / BLOCK).astype(np.int64)
    index = np.unique(blocks, return_inverse=True)[1]
    count, places = int(index.max()) + 1, index * len(terms.x) + terms.of
    moved = np.bincount(places, weights=residual, minlength=count * len(terms.x)).reshape(count, len(terms.x))
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, count))
    smooth = terms.sum(fitted)
    return Curve(
        x=grid,
        loss=to_loss @ losses,
        slope=to_slope @ losses,
        loss_draws=to_loss @ smooth + signs @ (moved @ to_loss.T),
        slope_draws=to_slope @ smooth + signs @ (moved @ to_slope.T),
        points=points,
        noise=_noise(points, residual),
        bandwidth=bandwidth,
        leverage=np.sqrt((to_loss**2 * terms.count).sum(axis=1)),
    )


def _noise(points: Points, residual: Array) -> float:
    """Return the standard deviation of one loss about the fit, from the median deviation (spikes don't count)."""
    below = points.y < points.start + points.fall if points.fall > 0 else np.ones_like(points.y, dtype=bool)
    deviation = np.abs(residual[below])
    return float(1.4826 * np.median(deviation)) if deviation.size else 0.0  # 1.4826: a normal's deviation over its MAD
