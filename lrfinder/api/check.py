"""`lrfinder.check`: is a configured rate still right for the model, or the script? `check_log`: did a run use it?"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.advice import CheckResult, check_rate, settings_around, with_baseline
from lrfinder.advice.checks.baseline import AGAIN, learns_nothing
from lrfinder.advice.checks.check import with_found_rate
from lrfinder.advice.checks.used_rates import UsedRates, compare_rates
from lrfinder.advice.verify.verification import VERIFIED
from lrfinder.api.given import model_reference, run_folder
from lrfinder.api.script_sweep import ScriptParts
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.settings import choose, make_source
from lrfinder.api.sweeping.sweep_parts import deadline_of, make_sweep
from lrfinder.api.sweeping.sweep_run import Watch, sweep_model
from lrfinder.config import ScheduleConfig, load_schedule
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import UsageError
from lrfinder.importing.rate_log import read_rates
from lrfinder.options import (
    CHECK_SECONDS,
    LOADER_TIMEOUT,
    MAX_LR,
    MIN_LR,
    SAME_RATE,
    Graph,
    Metric,
    Precision,
    Stop,
    Strategy,
)
from lrfinder.records import Script, SweepResult, SweepSettings
from lrfinder.scripts.program import check_script
from lrfinder.scripts.runs import ScriptRuns
from lrfinder.store import RUN, Source, load_run
from lrfinder.task.reference import check_reference

if TYPE_CHECKING:
    from lrfinder.api.result import Sweep

# The picks of two repeats scatter by 0.05 decade, of one by more, and a check must not fail by chance.
REPEATS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """A verdict, the sweep that it rests on, all updates that were made, and what the runs of a script have left."""

    verdict: CheckResult
    sweep: Sweep
    updates: int
    remarks: tuple[str, ...] = ()


def check(
    model: str | os.PathLike[str],
    config: str | os.PathLike[str],
    *,
    baseline: str | os.PathLike[str] | None = None,
    metric: str = Metric.TRAIN,
    cache_batches: int | None = None,
    max_seconds: float = CHECK_SECONDS,
    batch_size: int | None = None,
    loader_timeout: float = LOADER_TIMEOUT,
    precision: str = Precision.AUTO,
    accumulate: int = 1,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    swept_optimizer: str | None = None,
    scale_others: bool = False,
    graph: str = Graph.OFF,
    strategy: str = Strategy.DDP,
    device: str = "auto",
    start_from: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> CheckResult:
    """Make a short sweep of a model file, and compare the peak rate of a schedule config with the trainable band.

    `sane` is True inside the band, False outside, and None if the sweep can't tell; `why` and `hint` explain it. Judged
    by what was measured after `max_seconds`. With `baseline`, a run folder or its run.json, `sane` is False, too, if
    the band has moved since that sweep by more than the noise of both, or if nothing is learned any more; then two
    more sweeps with other seeds are made first. The other keywords are those of `sweep`. Nothing is written.

    Raises UsageError for wrong keywords, ConfigError for the config, RunError for the baseline, and what `sweep`
    raises; KeyboardInterrupt if it is interrupted, since half a check is no answer.
    """
    source = make_source(
        model_reference(model),
        batch_size=batch_size,
        loader_timeout=loader_timeout,
        device=device,
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
        clip_value=clip_value,
        swept_optimizer=swept_optimizer,
        scale_others=scale_others,
        graph=graph,
        strategy=strategy,
        start_from=start_from,
    )

    def lead() -> CheckResult:
        checked = check_model(
            source,
            Path(config),
            baseline=None if baseline is None else run_folder(baseline),
            metric=metric,
            cache_batches=cache_batches,
            max_seconds=max_seconds,
            seed=seed,
        )
        return checked.verdict

    from lrfinder.api.sweeping.together import together

    return together(lead, device=device)


def check_model(
    source: Source,
    config: Path,
    *,
    baseline: Path | None = None,
    metric: str = Metric.TRAIN,
    cache_batches: int | None = None,
    max_seconds: float,
    seed: int,
    watch: Watch | None = None,
) -> CheckRun:
    """Check a config against the model file of `source`; the one way to do it. `watch` is as in `sweep_model`."""
    loaded = load_schedule(config)
    before = _read_baseline(baseline)
    check_reference(source.reference)
    settings = _settings(
        loaded.optimizer.lr, max_seconds=max_seconds, seed=seed, metric=metric, cache_batches=cache_batches
    )
    return judge(
        lambda settings: sweep_model(source, settings, watch=watch), settings, lambda: loaded, before, baseline
    )


def check_script_rate(
    script: Script,
    config: Path | None,
    *,
    baseline: Path | None = None,
    max_seconds: float,
    seed: int,
    watch: Watch | None = None,
) -> CheckRun:
    """Check a config against a training script as it is; without one, the rate that the script itself trains at.

    That is the largest of its optimizer's rates, before any scheduler moves them. Nothing is written. Raises as
    `check_model` and `sweep_script` do.
    """
    loaded = None if config is None else load_schedule(config)
    before = _read_baseline(baseline)
    check_script(script)
    middle = math.sqrt(MIN_LR * MAX_LR)  # the script's own rate is not known yet
    settings = _settings(middle if loaded is None else loaded.optimizer.lr, max_seconds=max_seconds, seed=seed)
    made: list[ScriptRuns] = []

    def swept(settings: SweepSettings) -> Sweep:
        deadline = deadline_of(settings)
        with contextlib.ExitStack() as stack:
            listeners = Broadcast([] if watch is None else [stack.enter_context(watch(settings))])
            runs = ScriptRuns(script, seed=settings.seed, observer=listeners, deadline=deadline)
            made.append(stack.enter_context(runs))
            return make_sweep(ScriptParts(runs), settings, listeners, deadline=deadline)

    done = judge(swept, settings, lambda: loaded or made[0].own_rate, before, baseline)
    return dataclasses.replace(done, remarks=tuple(made[0].remarks))


def _read_baseline(baseline: Path | None) -> SweepResult | None:
    return None if baseline is None else load_run(_folder(baseline))


def _folder(baseline: Path) -> Path:
    return baseline.parent if baseline.name == RUN else baseline


def _settings(
    lr: float, *, max_seconds: float, seed: int, metric: str = Metric.TRAIN, cache_batches: int | None = None
) -> SweepSettings:
    try:
        return settings_around(
            lr,
            repeats=REPEATS,
            seed=seed,
            max_seconds=max_seconds,
            metric=choose("metric", Metric, metric),
            cache_batches=cache_batches,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def judge(
    sweep: Callable[[SweepSettings], Sweep],
    settings: SweepSettings,
    configured: Callable[[], ScheduleConfig | float],
    before: SweepResult | None,
    baseline: Path | None,
) -> CheckRun:
    """Judge the rate that is `configured` by what `sweep` measures, and by `before`, the sweep kept in `baseline`.

    Where nothing is learned that was learned then, it sweeps again, with other seeds, in what is left of the time.
    """
    begun = time.monotonic()
    result = _whole(sweep(settings))
    verdict = check_rate(result, configured())
    if before is None:
        return CheckRun(verdict=verdict, sweep=result, updates=result.updates)
    others: list[Sweep] = []
    while len(others) < AGAIN and learns_nothing((others or [result])[-1], before):
        left = (settings.max_seconds or math.inf) - (time.monotonic() - begun)
        if left <= 0:
            break
        seed = (settings.seed + len(others) + 1) % 2**32
        limit = None if left == math.inf else left
        others.append(_whole(sweep(dataclasses.replace(settings, seed=seed, max_seconds=limit))))
    verdict = with_baseline(verdict, result, before, name=str(baseline), others=others)
    found = _found_rate(configured(), baseline)
    if found is not None:
        verdict = with_found_rate(verdict, found, name=str(baseline))
    return CheckRun(verdict=verdict, sweep=result, updates=sum(one.updates for one in (result, *others)))


def _found_rate(configured: ScheduleConfig | float, baseline: Path | None) -> float | None:
    """Return the rate of the run `baseline`, if the config says that its rate was found in the same way."""
    if baseline is None or not isinstance(configured, ScheduleConfig) or configured.evidence is None:
        return None
    from lrfinder.api.runs.run_answer import read_run_answer

    rule, answer = configured.evidence.rule, read_run_answer(_folder(baseline))
    verified = rule == VERIFIED
    return None if rule is None or verified is not (answer.by == "verify") else answer.advice.lr


def _whole(result: Sweep) -> Sweep:
    """Return the sweep; raise the signal that ended it before there was an answer."""
    if result.status is Stop.INTERRUPTED:
        raise KeyboardInterrupt("before the check had an answer")
    if result.status is Stop.TERMINATED:
        raise Terminated("before the check had an answer")
    return result


def check_log(
    log: str | os.PathLike[str], config: str | os.PathLike[str], *, tolerance: float = SAME_RATE
) -> UsedRates:
    """Compare the rates that a run logged with those of a schedule config; `sane` is True if they are the same.

    `log` is a `trainer_state.json` of Hugging Face, a `metrics.csv` of Lightning with a LearningRateMonitor, or a CSV
    file with the columns step and lr. Rates are the same up to `tolerance`, a share of the peak. Nothing is run.

    Raises UsageError for the log and for a plateau, whose rates follow the losses, ConfigError for the config.
    """
    return compare_rates(read_rates(Path(log)), load_schedule(config), tolerance=tolerance)
