"""`lrfinder.export_study`: the trials of a run as a study of Optuna, which goes on from there."""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, Any

from lrfinder.advice import Advice, Request, advise, gather_evidence
from lrfinder.api.given import run_folder
from lrfinder.api.runs.run_answer import read_run_answer
from lrfinder.errors import UsageError
from lrfinder.records import ShortRun, SweepResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

PARAMETER = "lr"


def export_study(
    run: SweepResult | str | os.PathLike[str],
    *,
    storage: str | optuna.storages.BaseStorage | None = None,
    name: str | None = None,
    steps: int | None = None,
) -> optuna.Study:
    """Return a new study of Optuna that holds the trials of `run`, to be minimized; in `storage`, or in memory.

    `run` is a run folder, or what `sweep` returned. Losses of different lengths don't compare, so the trials are those
    of one length: `steps` updates, or the longest that was tried at two rates or more, that of `verify` if there is
    one. The parameter `lr` has the trainable band as its range, on a logarithmic scale, and trials outside the band
    are left out. A trial that diverged is pruned; one that was cut short is left out.

    The study's attributes say what to search on: `low`, `high`, `steps`, `schedule`, `model`, `optimizer`; `lr` and
    `status` are the answer of the run, `left_out` counts the trials that aren't in it. `name` is by default that of the
    folder with the length.

    Raises UsageError if Optuna isn't installed, if there is no band or no trial in it, and if the storage can't be
    opened or has a study of that name; RunError for a damaged run folder.
    """
    if isinstance(run, SweepResult):
        sweep, title, trials = run, run.setup.model, run.runs
        advice: Advice = advise(gather_evidence(run), Request())
    else:
        folder = run_folder(run)
        answer = read_run_answer(folder)
        sweep, title, advice = answer.result, folder.resolve().name, answer.advice
        trials = (*answer.trials, *sweep.runs)
    if advice.band is None:
        raise UsageError(f"the run has no trainable band, which would be the range: {advice.why}", hint=advice.hint)
    low, high = advice.band.low, advice.band.high
    alike = _of_one_length(trials, steps)
    inside = [trial for trial in alike if low <= trial.plan.lr <= high]
    if not inside:
        raise UsageError("no trial lies in the trainable band", hint="lrfinder verify makes some")
    study = _created(storage, name or f"{title}-{inside[0].plan.steps}")
    study.add_trials([_trial(each, low, high) for each in inside])
    attributes = {
        "low": low,
        "high": high,
        "steps": inside[0].plan.steps,
        "schedule": inside[0].plan.schedule,
        "model": sweep.setup.model,
        "optimizer": sweep.setup.optimizer.name,
        "lr": advice.lr,
        "status": advice.status.value,
        "left_out": len(trials) - len(inside),
    }
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    return study


def _of_one_length(trials: tuple[ShortRun, ...], steps: int | None) -> list[ShortRun]:
    """Return the trials of one length that ended by themselves, on the same data and with the same decay."""
    whole = [trial for trial in trials if not trial.stop.cut_short]
    kinds: dict[tuple[Any, ...], list[ShortRun]] = collections.defaultdict(list)
    for trial in whole:
        kinds[trial.plan.steps, trial.plan.schedule, trial.plan.batches, trial.metric].append(trial)
    lengths = sorted({kind[0] for kind in kinds})
    if steps is not None and steps not in lengths:
        tried = ", ".join(map(str, lengths)) or "none"
        raise UsageError(f"no trial of {steps} updates was made", hint=f"lengths that were tried: {tried}")
    compared = {kind: len({trial.plan.lr for trial in each}) for kind, each in kinds.items()}
    wanted = [kind for kind in kinds if (kind[0] == steps if steps is not None else compared[kind] > 1)]
    if not wanted:
        raise UsageError("no two rates were tried in runs of one length", hint="sweep without --mode continuous")
    return kinds[max(wanted, key=lambda kind: (kind[0], compared[kind]))]


def _trial(run: ShortRun, low: float, high: float) -> optuna.trial.FrozenTrial:
    import optuna

    learned = run.loss is not None
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if learned else optuna.trial.TrialState.PRUNED,
        value=run.loss,
        params={PARAMETER: run.plan.lr},
        distributions={PARAMETER: optuna.distributions.FloatDistribution(low, high, log=True)},
        user_attrs={"updates": run.updates, "repeat": run.plan.repeat, "stop": run.stop.value, "metric": run.metric},
    )


def _created(storage: Any, name: str) -> optuna.Study:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("Optuna isn't installed", hint="pip install 'lrfinder[optuna]'") from error
    from sqlalchemy.exc import SQLAlchemyError

    make: Callable[..., optuna.Study] = optuna.create_study
    try:
        return make(storage=storage, study_name=name, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError as error:
        raise UsageError(f"{storage} has a study {name!r} already", hint="choose another --name") from error
    except (SQLAlchemyError, ImportError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{storage} can't be opened: {first}", hint="such as sqlite:///study.db") from error
