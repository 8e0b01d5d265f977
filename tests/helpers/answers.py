"""Run folders as people read them, made of curves and of folders in tests/data."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from lrfinder.advice import Advice, Request
from lrfinder.advice.answer import RunAnswer
from lrfinder.advice.verify.verification import Verification
from lrfinder.api.recommend import recommend_run
from lrfinder.api.runs.run_files import write_verification
from lrfinder.records import Chart, Pick, RunPlan, ShortRun, Status, Stop, UpdateOptions
from lrfinder.report.documents import verify_document
from lrfinder.store import TRIALS, RunLog

DATA = Path(__file__).parents[1] / "data"
TRIED = ((0.047, 60, 0.71), (0.188, 60, 0.4242), (0.75, 60, None), (0.13, 200, 0.2121), (0.26, 200, 0.2323))


def answer_of(chart: Chart, **changes: Any) -> RunAnswer:
    """Return what a run folder would answer whose curve and picks are these."""
    pick = chart.picks[0]
    advice = Advice(
        lr=pick.lr,
        status=pick.status,
        why=pick.why,
        hint="sweep again" if pick.lr is None else "",
        picks=chart.picks,
        band=chart.band,
        fit=chart.fit,
        schedule=None,
        updates=chart.result.updates,
    )
    given = {"name": "runs/one", "model_file": "model.py", "model_sha256": "0123456789abcdef", **changes}
    return RunAnswer(result=chart.result, advice=advice, by="sweep", training=UpdateOptions(), **given)


def picked(answer: RunAnswer, **changes: Any) -> RunAnswer:
    """Return the answer with another pick."""
    pick = dataclasses.replace(answer.pick, **changes)
    advice = dataclasses.replace(answer.advice, picks=(pick, *answer.advice.picks[1:]), lr=pick.lr, status=pick.status)
    return dataclasses.replace(answer, advice=advice)


def stored_run(folder: Path, name: str = "run-v5-tiny", steps: int | None = 400) -> Path:
    """Return a copy of a run folder of tests/data, in which `recommend` was asked for a run of so many updates."""
    shutil.copytree(DATA / name, folder)
    recommend_run(folder, Request(steps=steps), picture=False)
    return folder


def verified(run: Path, *, confirmed: bool | None, lr: float | None, steps: int = 400) -> Verification:
    """Leave in the run folder what a verification of a run of so many updates would, and return it."""
    advice = recommend_run(run, Request(steps=steps, lr=lr), picture=False).recommendation
    status = Status.REFUSED if lr is None else Status.CONFIDENT
    low, high = (None, None) if lr is None else (lr / 1.5, lr * 1.5)
    pick = Pick(rule="verified", lr=lr, low=low, high=high, status=status, why="4 runs end lowest there")
    trials = tuple(
        ShortRun(
            plan=RunPlan(lr=rate, steps=length),
            seed=731 + length,
            metric="val",
            initial_loss=1.2,
            loss=loss,
            stop=Stop.COMPLETED if loss is not None else Stop.DIVERGED,
            updates=length,
        )
        for rate, length, loss in TRIED
    )
    verification = Verification(
        confirmed=confirmed,
        lr=lr,
        pick=pick,
        picks=(pick, *advice.picks),
        answer="The peak rate is corrected",
        hint="give a larger --budget" if lr is None else "",
        schedule=None if confirmed is None else advice.schedule,
        updates=advice.updates + sum(trial.updates for trial in trials),
        trials=trials,
    )
    with RunLog(run / TRIALS) as log:
        for trial in trials:
            log.add(trial)
    write_verification(run, verify_document(verification, run=str(run), written=None))
    return verification
