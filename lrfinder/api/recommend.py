"""`lrfinder.recommend`: advice from a sweep, or from a run folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfinder.advice import Advice, Request, SweepEvidence, advise, gather_evidence
from lrfinder.advice.another_batch import BatchRate, advice_for_batch, rate_for_batch
from lrfinder.api.drawn import Drawn
from lrfinder.api.given import items, run_folder, seed_of
from lrfinder.api.runs.run_files import check_written, write_picture, write_recommendation
from lrfinder.api.sweeping.settings import asked
from lrfinder.config import dump
from lrfinder.errors import EnvironmentFailure, UsageError
from lrfinder.records import Chart, SweepResult
from lrfinder.records.given import whole
from lrfinder.report.documents import recommend_document
from lrfinder.store import PICTURE, TRIALS, VERIFICATION, config_path, load_run, read_answer, read_log, read_noise


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recommendation(Advice, Drawn):
    """What `lrfinder.recommend` returns: `lr`, `status`, `why`, `picks`, `band`, and the run's `schedule`.

    `batch` says how the rate follows from that of the swept batch, if it was asked for another.
    """

    result: SweepResult
    batch: BatchRate | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule config; the suffix says whether as YAML, JSON or TOML.

        Raises UsageError if there is none: no rate could be picked, or the length of the run was not given.
        """
        if self.schedule is None:
            hint = self.hint or "say how long the run is: recommend(result, steps=...)"
            raise UsageError("there is no schedule to save", hint=hint)
        dump(self.schedule, path)

    def _chart(self) -> Chart:
        return self.chart(self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendResult:
    """A recommendation, its run folder, and where its schedule and its picture were written (None: nowhere).

    `unwritten` is why the schedule is not in the run folder, though there is one.
    """

    recommendation: Recommendation
    run: Path
    written: Path | None
    picture: Path | None
    problem: str
    unwritten: EnvironmentFailure | None = None
    verified: bool = False  # the rate is one that `verify` confirmed or corrected for the same run


def recommend(
    result: SweepResult | str | os.PathLike[str],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    open_ended: bool = False,
    schedule: str | None = None,
    warmup: int | None = None,
    rule: str | None = None,
    lr: float | None = None,
    against: float | Sequence[float] = (),
    target_batch: int | None = None,
    seed: int = 0,
) -> Recommendation:
    """Fit the curve, pick the rate or refuse with a reason, and plan the schedule of a run of `steps` updates.

    `result` is what `sweep` returned, or a run folder; what `verify` measured there on shapes of the decay is used.
    `open_ended` plans a run whose length is not known. `against` is a rate, or several, to compare with, such as your
    own: `.against` says what they lose in runs as short as the sweep's own, as far as these tell. `target_batch` asks
    for the rate of another batch, in samples an update, which follows by a law from the critical batch that
    `verify(run, critical_batch=True)` measured; `.batch` says how, and how far that may be off. The other keywords are
    the options of `lrfinder recommend`. A sweep that allows no pick is a value too: then `status` is `refused`,
    `lr` is None, and `why` and `hint` say what was seen and what to do. Raises UsageError for keywords that make no
    sense, and for another batch if no law or no measurement says how the rate follows it, RunError for a damaged run
    folder.
    """
    sweep = result if isinstance(result, SweepResult) else load_run(run_folder(result))
    request = asked(
        Request,
        steps=steps,
        epochs=epochs,
        open_ended=open_ended,
        schedule=schedule,
        warmup=warmup,
        rule=rule,
        lr=lr,
        against=items(against),
    )
    evidence = gather_evidence(sweep, seed_of(seed))
    found = _recommended(evidence, _for_swept_batch(request, target_batch))
    return found if target_batch is None else _for_batch(found, evidence, request, target_batch)


def recommend_run(
    folder: Path,
    request: Request,
    *,
    target_batch: int | None = None,
    seed: int = 0,
    write: Path | None = None,
    picture: bool = True,
    unverified: bool = False,
) -> RecommendResult:
    """Advise on a run folder, and write what follows: the schedule config, recommendation.json, and the picture.

    What `verify` found for the same run is kept, unless `unverified`, or the request names a rate or a rule. The
    config goes to `write`, or into the folder; `seed` is the bootstrap's. If the folder can't be written, as one of
    somebody else's, `problem` and `unwritten` say so. What holds for a `target_batch` is not kept in the folder, which
    is of the swept batch: its config goes to `write` alone. Raises UsageError if `write` is given without a length of
    the run, EnvironmentFailure if it can't be written.
    """
    result = load_run(folder)
    check_written(folder, write)
    evidence = gather_evidence(result, seed)
    recommendation = _recommended(evidence, _for_swept_batch(request, target_batch))
    kept = (
        None if unverified or request.lr is not None or request.rule is not None else _verified(folder, recommendation)
    )
    recommendation = kept or recommendation
    if target_batch is not None:
        recommendation = _for_batch(recommendation, evidence, request, target_batch)
    schedule, written, drawn, problem, unwritten = recommendation.schedule, None, None, "", None
    if schedule is None and write is not None and recommendation.lr is not None:
        raise UsageError("a schedule needs the length of the run", hint="add --steps T, --epochs E or --open-ended")
    if schedule is not None and (target_batch is None or write is not None):
        try:
            dump(schedule, write or config_path(folder))
            written = write or config_path(folder)
        except EnvironmentFailure as error:
            if write is not None:
                raise
            unwritten = error
    try:
        if target_batch is None:
            write_recommendation(folder, recommend_document(recommendation), written=written)
        if picture and target_batch is None:
            write_picture(folder, recommendation.chart(recommendation.result))
            drawn = folder / PICTURE
    except EnvironmentFailure as error:
        problem = f"the recommendation is not kept in the run folder: {error}"
    return RecommendResult(
        recommendation=recommendation,
        run=folder,
        written=written,
        picture=drawn,
        problem=problem,
        unwritten=unwritten,
        verified=kept is not None,
    )


def _verified(folder: Path, recommendation: Recommendation) -> Recommendation | None:
    """Return the recommendation with the rate that `verify` found for the very same schedule; None if it did not."""
    answer = None if recommendation.schedule is None else read_answer(folder / VERIFICATION)
    if answer is None or recommendation.schedule is None or answer.confirmed is None or answer.schedule is None:
        return None
    if answer.schedule.schedule != recommendation.schedule.schedule:
        return None
    return dataclasses.replace(
        recommendation,
        lr=answer.schedule.optimizer.lr,
        status=answer.picks[0].status,
        why=answer.why,
        hint=answer.hint,
        picks=answer.picks,
        schedule=answer.schedule,
        updates=answer.updates,
    )


def _recommended(evidence: SweepEvidence, request: Request) -> Recommendation:
    sweep = evidence.result
    trials = () if sweep.run is None else read_log(Path(sweep.run) / TRIALS)
    advice = advise(evidence, request, trials)
    return Recommendation(**{it.name: getattr(advice, it.name) for it in dataclasses.fields(advice)}, result=sweep)


def _for_swept_batch(request: Request, target_batch: int | None) -> Request:
    """Return what is asked of the swept batch: a warm-up is of the run with the other one."""
    return request if target_batch is None else dataclasses.replace(request, warmup=None)


def _for_batch(
    recommendation: Recommendation, evidence: SweepEvidence, request: Request, target_batch: int
) -> Recommendation:
    """Return the recommendation for another batch; as it is if there is no rate."""
    target, sweep = whole("target_batch", target_batch), evidence.result
    if recommendation.lr is None:
        return recommendation
    noise = None if sweep.run is None else read_noise(Path(sweep.run))
    found = rate_for_batch(recommendation.lr, sweep.setup, noise, target)
    return dataclasses.replace(advice_for_batch(recommendation, evidence, found, request), batch=found)
