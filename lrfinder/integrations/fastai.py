"""The learning rate of a fastai Learner, found in its own fit, with its callbacks; and a rule for `learn.lr_find`.

from lrfinder.integrations.fastai import find_lr, steepest

advice = find_lr(learn, epochs=5)
learn.fit_one_cycle(5, advice.lr)

learn.lr_find(suggest_funcs=(steepest, valley))
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.callback.progress import CSVLogger
from fastai.callback.schedule import ParamScheduler
from fastai.callback.tracker import TrackerCallback

from lrfinder.advice.sweep.refusal import refuse_curve, refuse_points
from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError
from lrfinder.fit import fit_curve
from lrfinder.records import Stop, SweepSettings, Trace
from lrfinder.rules.steepest import steepest as steepest_rule

if TYPE_CHECKING:
    import torch
    from fastai.learner import Learner

    from lrfinder.api.attach import Finder

_MOST_EPOCHS = 10**6  # the callback ends the fit
_VALID_BATCHES = 4  # judge the short runs


def find_lr(
    learn: Learner,
    *,
    epochs: float | None = None,
    lr: Any = None,
    schedule: str | None = None,
    warmup: int | None = None,
    **options: Any,
) -> Recommendation:
    """Sweep in fits of the Learner, and recommend a rate for a fit of `epochs`.

    Its callbacks act: MixUp, GradientClip, GradientAccumulation, MixedPrecision and your own. Those of fastai that
    save, log and stop early stay out. The first batches of `dls.valid` judge the short runs, by `loss_func`. `lr`, such
    as slice(1e-5, 1e-3), gives the ratios of the rates of the param groups; by default that of the Learner. `options`
    are keywords of `lrfinder.attach`. Model, optimizer, loaders, callbacks and random number generators are as before,
    bit for bit.

    Raises UsageError if the Learner's optimizer is fastai's own, which has no hooks; all else is as in `attach`.
    """
    from lrfinder.api.attach import attach

    with _put_back(learn):
        if learn.opt is None:
            learn.create_opt()
        optimizer = _torch_optimizer(learn.opt)
        rates = [group["lr"] for group in optimizer.param_groups]
        try:
            learn.opt.set_hypers(lr=learn.lr if lr is None else lr)
            with attach(optimizer, learn.model, learn.dls.train, evaluate=_evaluate(learn), **options) as finder:
                writing = [each for each in learn.cbs if isinstance(each, CSVLogger | TrackerCallback)]
                with learn.no_bar(), learn.no_logging(), learn.removed_cbs(writing):
                    learn.fit(_MOST_EPOCHS, lr=lr, cbs=_Watch(finder))
            result = finder.result
        finally:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
    return recommend(result, epochs=epochs, schedule=schedule, warmup=warmup)


class _Watch(Callback):  # type: ignore[misc]  # fastai has no types
    """Tells the losses, and ends the fit."""

    name = "lr_finder"  # fastai's loggers stay out of a fit that has a callback of this name
    run_valid = False

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self.finder = finder

    def after_loss(self) -> None:
        self.finder.loss(self.learn.loss)

    def after_batch(self) -> None:
        if self.finder.done:
            raise CancelFitException

    def before_validate(self) -> None:
        raise CancelValidException


def follow(advice: Recommendation) -> ParamScheduler:
    """Return a callback for `learn.fit` that sets f(t) of the recommended schedule, stretched to the fit's length.

    Raises UsageError if there is no schedule: no rate was recommended, or its length wasn't given.
    """
    if advice.schedule is None:
        raise UsageError("there is no schedule to follow", hint=advice.hint or "say how long the fit is: epochs=...")
    rates, ratios = advice.schedule.lrs(), advice.result.setup.optimizer.group_ratios

    def rates_at(done: float) -> list[float]:
        update = min(int(done * len(rates) + 1e-6), len(rates) - 1)  # sums of 1 / batches are a little off
        return [rates[update] * ratio for ratio in ratios]

    return ParamScheduler({"lr": rates_at})


def steepest(lrs: Any, losses: Any, num_it: int, *, beta: float = 0.98) -> tuple[float, tuple[float, float]]:
    """Suggest a rate as `suggest_funcs` of `learn.lr_find` do: where the loss falls fastest, by lrfinder's curve.

    `lr_find` gives smoothed losses, which lag behind the rates: the losses themselves are computed from them. `beta` is
    that of the Learner's Recorder. One pass without short runs is less than what `find_lr` knows, and there is no
    interval. If the curve allows no pick, the rate is NaN, and a warning says why.
    """
    values = _unsmoothed([float(loss) for loss in losses], before=num_it // 10, beta=beta)
    rates = [float(rate) for rate in lrs][1:]
    planned = num_it - num_it // 10 - 5  # what lr_find leaves of so many batches
    trace = Trace(  # lr_find records a loss beside the rate of the update that follows it
        repeat=0,
        seed=0,
        initial_loss=values[0],
        lrs=tuple(rates[:-1]),
        losses=tuple(values[1:]),
        stop=Stop.COMPLETED if len(losses) >= planned else Stop.DIVERGED,
        updates=len(rates) - 1,
    )
    settings = SweepSettings(min_lr=rates[0], max_lr=rates[-2], steps=len(rates) - 1, repeats=1)
    refusal = refuse_points((trace,), settings)
    if refusal is None:
        curve = fit_curve((trace,), trace.lrs)
        refusal = refuse_curve(curve, (trace,), settings)
        lr = steepest_rule(curve).lr
        if refusal is None and lr is not None:
            return lr, (lr, values[min(bisect.bisect_left(rates, lr), len(values) - 1)])
    warnings.warn(f"no rate: {refusal.why if refusal else 'the curve has no steepest point'}", stacklevel=2)
    return math.nan, (math.nan, math.nan)


def _unsmoothed(smooth: list[float], *, before: int, beta: float) -> list[float]:
    """Return the losses whose averages are `smooth`, but for the first one; `before` were left out in front.

    After t losses fastai's average is s = v / (1 - beta ** t), with v = beta * v' + (1 - beta) * loss.
    """
    sums = [value * (1 - beta**count) for count, value in enumerate(smooth, start=before + 1)]
    return [(now - beta * last) / (1 - beta) for last, now in itertools.pairwise(sums)]


def _torch_optimizer(opt: Any) -> torch.optim.Optimizer:
    """Return what an OptimWrapper holds."""
    import torch

    inner = getattr(opt, "opt", None)
    if isinstance(inner, torch.optim.Optimizer):
        return inner
    raise UsageError(
        f"the Learner trains by fastai's own {type(opt).__name__}, which is no torch.optim.Optimizer and has no hooks",
        hint="Learner(..., opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)), with OptimWrapper from "
        "fastai.optimizer; or learn.lr_find(suggest_funcs=steepest), which needs no hooks",
    )


def _evaluate(learn: Learner) -> Callable[[], Any] | None:
    """Return a function that computes the loss on the first batches of `dls.valid`; None if there are none."""
    from lrfinder.engine.losses.evaluation import LEAST_SAMPLES

    dls, loss_func = learn.dls, learn.loss_func
    if len(dls.loaders) < 2 or not len(dls.valid):  # noqa: PLR2004 - training and validation
        return None
    # fastai's own loaders call their batch size bs, torch's batch_size; batches may also be made elsewhere.
    size = getattr(dls.valid, "bs", None) or getattr(dls.valid, "batch_size", None) or LEAST_SAMPLES
    batches = list(itertools.islice(dls.valid, max(_VALID_BATCHES, math.ceil(LEAST_SAMPLES / size))))

    def evaluate() -> Any:
        losses = []
        for batch in batches:
            inputs = getattr(dls, "n_inp", max(1, len(batch) - 1))  # as the Learner splits a batch
            losses.append(loss_func(learn.model(*batch[:inputs]), *batch[inputs:]))
        return sum(losses) / len(losses)

    return evaluate


@contextlib.contextmanager
def _put_back(learn: Learner) -> Iterator[None]:
    """Put the attributes of the Learner and its callbacks back afterwards, and the random number generators."""
    from lrfinder.engine.restore.snapshot import loader_preserved
    from lrfinder.engine.runtime.rng import remember_global_state

    put_generators_back = remember_global_state(next(learn.model.parameters()).device)
    callbacks = list(learn.cbs)
    before = [(each, dict(vars(each))) for each in (learn, *callbacks)]
    try:
        with contextlib.ExitStack() as stack:
            for loader in learn.dls.loaders:
                stack.enter_context(loader_preserved(loader))
            yield
    finally:
        for each, attributes in before:
            vars(each).clear()
            vars(each).update(attributes)
        learn.cbs = type(learn.cbs)(callbacks)
        put_generators_back()
