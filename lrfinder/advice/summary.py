"""The advice in one paragraph for people."""

from __future__ import annotations

from lrfinder.advice.sweep.evidence import SweepEvidence
from lrfinder.formatting import format_count, format_interval, format_loss, format_lr
from lrfinder.records import Band, Metric, Pick


def summary(evidence: SweepEvidence, pick: Pick, band: Band | None, plan: str) -> str:
    """Say what was picked, how sure it is and why, and what was measured; of a refusal, its reason alone."""
    if pick.lr is None or band is None:
        return pick.why
    between = f" (90 % interval {format_interval(pick.low, pick.high)})" if pick.low and pick.high else ""
    sentences = [
        f"Peak learning rate {format_lr(pick.lr)}{between}, {pick.status}, by rule {pick.rule}: {pick.why}.",
        f"The model trains at rates from {format_interval(band.low, band.high)}.",
        *([f"Schedule: {plan}."] if plan else []),
        *_curve(evidence),
        *_runs(evidence),
        *_cached(evidence),
        "How the best rate moves with the length of the run was not measured: `lrfinder verify` does that.",
    ]
    return " ".join(sentences)


def _curve(evidence: SweepEvidence) -> list[str]:
    if evidence.refusal is not None:
        return [f"The continuous sweep allowed no pick ({evidence.refusal.why}), so rates were tried one by one."]
    if evidence.curve is None:
        return []
    points, result, source = evidence.curve.points, evidence.result, evidence.pick_source
    fell = f"from {format_loss(points.start)} to {format_loss(points.start - points.fall)}"
    loss_name = {Metric.TRAIN: "loss", Metric.PROBE: "loss of a batch set aside", Metric.VAL: "validation loss"}
    name = loss_name[result.settings.metric]
    sentences = [f"Over {len(source.traces)} x {source.settings.steps} updates the {name} fell {fell}."]
    if source is not result:
        sentences.append(
            f"These short sweeps are read, not those of {result.settings.steps} updates, which have used up the loss "
            "before they reach the best rates."
        )
    return sentences


def _runs(evidence: SweepEvidence) -> list[str]:
    if evidence.profile is None:
        return []
    fell = f"from {format_loss(evidence.profile.start)} to {format_loss(evidence.profile.lowest.loss)}"
    runs = evidence.result.runs
    judged_by = runs[0].judged_by if runs[0].metric == "train" else "held-out loss"
    sentences = [f"The best of {len(runs)} trial runs brought the {judged_by} {fell}."]
    judged = evidence.result.setup.judged or ""
    return [*sentences, f"It was judged in {judged}."] if ":" in judged else sentences


def _cached(evidence: SweepEvidence) -> list[str]:
    batches = evidence.result.setup.cached_batches
    if batches is None:
        return []
    return [f"All of it was measured on {format_count(batches, 'cached batch', 'cached batches')}."]
