"""Read a run folder as people see it: the sweep, and the answer that counts for it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lrfinder.advice import Advice, Request, advise, gather_evidence
from lrfinder.advice.answer import RunAnswer, StoredAnswer
from lrfinder.api.runs.run_files import last_recommendation
from lrfinder.errors import CONTROL
from lrfinder.formatting import round_lr
from lrfinder.store import (
    RECOMMENDATION,
    TRIALS,
    VERIFICATION,
    load_run,
    load_source,
    model_digest,
    read_answer,
    read_log,
)


def read_run_answer(run: str | os.PathLike[str]) -> RunAnswer:
    """Return what the folder holds. Raises RunError, with the file and the place, if it is not valid.

    A verification counts if it could tell and is of the length that was recommended last; else the last recommendation,
    unless the sweep was carried on since; else what the sweep allows.
    """
    folder = Path(run)
    result, source, trials = load_run(folder), load_source(folder), read_log(folder / TRIALS)
    recommended, verified = read_answer(folder / RECOMMENDATION), read_answer(folder / VERIFICATION)
    advice, by = advise(gather_evidence(result), Request(), trials), "sweep"
    if recommended is not None and recommended.updates == result.updates:
        advice, by = _stored(advice, recommended), "recommend"
    if verified is not None and verified.confirmed is not None and _same_length(advice, verified):
        advice, by = _stored(advice, verified), "verify"
    last = last_recommendation(folder)
    return RunAnswer(
        name=CONTROL.sub("?", os.fsencode(folder).decode("utf-8", "replace")),
        result=result,
        advice=advice,
        by=by,
        model_file=source.reference,
        model_sha256=model_digest(folder),
        training=source.training,
        trials=trials,
        verification=verified,
        config=None if last is None or last.path is None or advice.schedule is None else str(last.path),
    )


def _stored(advice: Advice, answer: StoredAnswer) -> Advice:
    """Return the advice with what was said then; fit and band follow from the curve."""
    pick, schedule = answer.picks[0], answer.schedule
    return dataclasses.replace(
        advice,
        lr=None if pick.lr is None else round_lr(pick.lr, 3),
        status=pick.status,
        why=answer.why,
        hint=answer.hint,
        picks=answer.picks,
        schedule=schedule,
        updates=answer.updates,
    )


def _same_length(advice: Advice, verified: StoredAnswer) -> bool:
    planned, tried = advice.schedule, verified.schedule
    return planned is None or (tried is not None and tried.steps == planned.steps)
