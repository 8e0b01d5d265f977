"""What went wrong in a sweep, apart from its curve: it is told first, and no pick is confident after it."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator

from lrfinder.advice.sweep.refusal import Refusal
from lrfinder.formatting import format_loss
from lrfinder.options import FINITE_WEIGHTS, OTHER_KIND, STOP_TEXT
from lrfinder.records import FACTOR, FRESH_FACTOR, Metric, ShortRun, Stop, SweepResult, Trace, losses_differ

EARLY = 5  # losses of a repeat, at rates too small to learn at, whose range shows the noise of a batch

_HINTS = {
    Stop.FAILED: "mend that, and sweep again",
    Stop.OUT_OF_DATA: "give a train_loader that can be started again (a function that returns a new one), or more data",
    Stop.OUT_OF_TIME: "sweep again with more --max-seconds",
}
_LONGER_HINT = (
    "have the script train longer by its own arguments, such as more epochs or no early stopping, or give fewer --steps"
)
_DATA_HINT = (
    "compute the loss of each batch by itself, and look for the one that isn't finite: its data, log(0), a division by "
    "zero; then leave such samples out"
)
_SURVIVES = "something goes on from one to the next (a hidden state, a counter, a global of the file)"
_SURVIVES_HINT = "make it in model(), or keep it in the module"
_UNSEEDED = "starts of the script with the same seeds differ"
_UNSEEDED_HINT = "seed all that it draws from, such as an environment: reset(seed=...)"
_OTHER_KIND_HINT = (
    "look at one batch of each: units, scaling, targets, a loss that sums over more samples. If both are right, take "
    "the val_loader out: batches that are set aside from training judge then"
)
_LAG_HINT = "let running statistics follow sooner (a larger momentum), or train longer: --run-steps 300"


def known_cause(result: SweepResult) -> Refusal | None:
    """Return what ended the sweep before its curve could tell anything, if that is known and wasn't the rate."""
    source = result.pick_source
    parts: tuple[Trace | ShortRun, ...] = (*source.traces, *result.runs)
    for part in parts:
        if part.stop.cut_short:
            longer = part.stop is Stop.OUT_OF_DATA and result.setup.of_script
            hint = _LONGER_HINT if longer else _HINTS.get(part.stop, "sweep again and let it finish")
            return Refusal(why=_ending(part), hint=hint, known=True)
    broken = _broken_by_data(result.runs)
    if broken:
        why = f"{len(broken)} of {len(result.runs)} short runs ended so: {broken[0].why}"
        return Refusal(why=why, hint=_DATA_HINT, known=True)
    broken_traces = [trace for trace in source.traces if _not_the_weights(trace)]
    if source.traces and not result.runs and len(broken_traces) == len(source.traces):
        return Refusal(why=broken_traces[0].why, hint=_DATA_HINT, known=True)
    for lost in _lost_points(result):
        return Refusal(why=lost, hint="the run folder is damaged or was edited: sweep again", known=True)
    return disagreement(result)


def nothing_learned(result: SweepResult) -> Refusal | None:
    """Refuse a sweep whose short runs end no lower than a constant prediction would: rules/README.md#constant."""
    if result.runs and all(run.constant == 0.0 for run in result.runs):
        return Refusal(
            why="all held-out targets are the same, so there is nothing to learn of the inputs",
            hint="is the data shuffled? If nearly all of your targets are so, let the val_loader give others, too",
            known=True,
        )
    found = only_a_constant(result.runs)
    if not found:
        return None
    hint = (
        "is the data shuffled, and do the targets belong to the inputs? If so, longer runs may learn: --run-steps "
        f"{4 * result.settings.run_steps}"
    )
    return Refusal(why=found[0], hint=hint)


def only_a_constant(runs: Iterable[ShortRun]) -> tuple[str, ...]:
    """Return a doubt if none of these runs ended below the best constant prediction; empty if that isn't known."""
    ended = [(run.loss, run.constant) for run in runs if run.loss is not None and run.constant is not None]
    if not ended or any(loss < constant for loss, constant in ended):
        return ()
    loss, constant = min(ended)
    reached = f"the best run ended at {format_loss(loss)}, and a constant prediction would at {format_loss(constant)}"
    return (f"nothing was learned of the inputs yet: {reached}",)


def lagging_statistics(result: SweepResult) -> Refusal | None:
    """Return that most short runs ended far above the first training loss, where the held-out loss began far above it.

    Such a beginning is right for fresh running statistics (held-out data are judged by those, training is not); they
    have to follow in a short run.
    """
    runs = [run for run in result.runs if run.initial_loss is not None and run.first_loss is not None]
    if not runs:
        return None
    before, first = runs[0].initial_loss or 0.0, runs[0].first_loss or 0.0
    ended = statistics.median(math.inf if run.loss is None else run.loss for run in runs)
    if min(before, ended) < first or not all(losses_differ(loss, first) for loss in (before, ended)):
        return None
    why = (
        f"the held-out loss begins at {format_loss(before)} in evaluation mode, where training begins at "
        f"{format_loss(first)}, and {result.settings.run_steps} updates don't end that: running statistics, such as "
        "those of a BatchNorm, follow the data too slowly"
    )
    return Refusal(why=why, hint=_LAG_HINT, known=True)


def doubts_of_sweep(result: SweepResult, *, short_runs_learned: bool) -> tuple[str, ...]:
    """Return why no pick from `result` can be confident, whatever its curve looks like; empty if nothing is wrong."""
    apart = disagreement(result)
    return (
        *_unfinished(result, learned=short_runs_learned),
        *_by_data(result),
        *_lost_points(result),
        *_skipped_hooks(result),
        *result.doubts,
        *((apart.why,) if apart is not None else ()),
    )


def disagreement(result: SweepResult) -> Refusal | None:
    """Return which two measurements of the loss before any update can't both be right, and what to do; mostly None.

    All repeats and short runs begin alike, so their first losses differ by the noise of a batch; if the weights are
    drawn anew for a repeat, by that of the weights, too. That noise is taken as the smallest range of EARLY losses.
    Repeats of a script are processes of their own with other seeds, which settle its data, too: they aren't compared.
    """
    of_script = result.setup.of_script
    cause, hint = (_UNSEEDED, _UNSEEDED_HINT) if of_script else (_SURVIVES, _SURVIVES_HINT)
    traces = [trace for trace in (*result.traces, *result.short_sweeps) if _finite(trace.initial_loss)]
    noise = min((_range(trace) for trace in traces), default=0.0)
    firsts = {f"in repeat {trace.repeat + 1}": (trace.initial_loss or 0.0, trace.repeat) for trace in traces[::-1]}
    firsts = dict(reversed(firsts.items()))
    for run in result.runs if result.settings.metric is Metric.TRAIN else ():  # else repeats are judged otherwise
        if run.first_loss is not None:
            firsts.setdefault(f"in the short run at rate {run.plan.lr:.3g}", (run.first_loss, run.plan.repeat))
    for (one, (first, drawn)), (other, (second, drawn_then)) in itertools.combinations(firsts.items(), 2):
        if of_script and drawn != drawn_then:
            continue
        factor = FACTOR if drawn == drawn_then else FRESH_FACTOR
        if losses_differ(first, second, noise=noise, factor=factor):
            measured = f"the first loss is {format_loss(first)} {one} and {format_loss(second)} {other}"
            return Refusal(why=f"{measured}, before any update: {cause}", hint=hint, known=True)
    for run in result.runs:
        if OTHER_KIND in run.note:
            return Refusal(why=run.note[run.note.index(OTHER_KIND) :], hint=_OTHER_KIND_HINT, known=True)
    return None


def _unfinished(result: SweepResult, *, learned: bool) -> Iterator[str]:
    cut = next((run for run in result.runs if run.stop.cut_short), None)
    if cut is not None:
        said = "a short run ended early" if learned else "no short run bears the sweep out"
        yield f"{said}: {_ending(cut)}"
    elif result.runs and not learned:
        unjudged = all(run.initial_loss is None for run in result.runs)
        why = "the held-out loss isn't finite before any update" if unjudged else result.runs[-1].why
        yield "no short run bears the sweep out" + (f": {why}" if why else "")


def _by_data(result: SweepResult) -> Iterator[str]:
    broken = _broken_by_data(result.runs)
    if broken:
        yield f"a short run ended so, and not by its rate: {broken[0].why}"
        return
    best = min((run for run in result.runs if run.loss is not None), key=lambda run: run.loss or 0.0, default=None)
    for trace in result.pick_source.traces if best is not None else ():
        if _not_the_weights(trace) and trace.lrs and best is not None and trace.lrs[-1] < best.plan.lr:
            yield f"repeat {trace.repeat + 1} ended so, and not by its rate: {trace.why}"
            return


def _lost_points(result: SweepResult) -> Iterator[str]:
    """Say which repeat's losses are not all in its file, as after an edit: each update that isn't repeated has one."""
    for trace in (*result.traces, *result.short_sweeps):
        ended = trace.stop in {Stop.COMPLETED, Stop.DIVERGED} and trace.micro_batches == 1 and not trace.skipped
        if ended and 2 * len(trace.losses) < trace.updates:
            kept, made = len(trace.losses), trace.updates
            yield f"only {kept} losses are there of the {made} updates of repeat {trace.repeat + 1}"
            return


def _skipped_hooks(result: SweepResult) -> Iterator[str]:
    hooks = result.setup.skipped_hooks
    if hooks:
        yield f"the LightningModule has {', '.join(hooks)}, which a Trainer calls and lrfinder doesn't"


def _broken_by_data(runs: tuple[ShortRun, ...]) -> list[ShortRun]:
    """Return the runs that a loss or a batch has ended: higher rates did better, or none got through."""
    highest = max((run.plan.lr for run in runs if run.loss is not None), default=math.inf)
    broken = [run for run in runs if _not_the_weights(run) and run.plan.lr < highest]
    return broken if highest < math.inf or len(broken) == len(runs) else []


def _not_the_weights(part: Trace | ShortRun) -> bool:
    return part.stop is Stop.NON_FINITE and FINITE_WEIGHTS in part.why


def _ending(part: Trace | ShortRun) -> str:
    says_it_all = part.stop in {Stop.OUT_OF_DATA, Stop.OUT_OF_TIME}
    return part.why if says_it_all and part.why else STOP_TEXT[part.stop] + (f": {part.why}" if part.why else "")


def _finite(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _range(trace: Trace) -> float:
    early = [loss for loss in (trace.initial_loss, *trace.losses[: EARLY - 1]) if loss is not None]
    return max(early) - min(early) if all(map(math.isfinite, early)) else math.inf
