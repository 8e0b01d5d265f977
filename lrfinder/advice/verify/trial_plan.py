"""Which short trainings a verification makes: how long, on how much of the data, at which rates, for what budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial

from lrfinder.advice.sweep.evidence import FIRST, valley_runs
from lrfinder.advice.verify.budget import FIRST_RUNS, FULL_RUNS, LONG_RUNS, Lengths, VerifyRequest
from lrfinder.advice.verify.decision import CONFIRMED, LEVEL, Decision, decide, left_the_plateau
from lrfinder.advice.verify.too_little import learned_nothing, least_fall
from lrfinder.formatting import format_count, round_lr
from lrfinder.options import MIN_RUN_STEPS
from lrfinder.records import RunPlan, ShortRun, SweepResult
from lrfinder.rules.trials import NEARLY
from lrfinder.search.drift import expected_drift
from lrfinder.search.lr_profile import CLIFF, LrProfile, drift_of, lr_profile
from lrfinder.search.next_rate import next_bracket
from lrfinder.search.passes import subset_size

GROWTH = 3  # times as long are the runs of the second length (successive halving's usual eta)
LEAST_GROWTH = 2  # times as long, for the sweep's own runs to serve as the first length: advice/README.md#least_growth
FIRST_STEP = 0.5  # decades between the rates of the first length
STEP = 0.3  # decades (a factor of two) between those of the second; nearer, two seeds differ by more than two rates


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What a verification knows after `runs`, and what to run next: a pure function of what was measured."""

    request: VerifyRequest
    sweep: SweepResult
    runs: tuple[ShortRun, ...] = ()
    spent_elsewhere: int = 0  # updates, on trials of other requests

    @cached_property
    def lengths(self) -> Lengths:
        """How long the trials are: the full length if the budget pays for that, else two shorter ones."""
        steps, budget = self.request.steps, self.request.budget
        if self.request.pays_for_full_runs:
            return Lengths(short=None, long=max(steps, MIN_RUN_STEPS), most=FULL_RUNS)
        longer = LONG_RUNS + self.request.more
        if self._own_profile is not None:
            return Lengths(short=None, long=max(MIN_RUN_STEPS, min(steps, budget // longer)), most=LONG_RUNS)
        short = max(MIN_RUN_STEPS, min(steps // GROWTH, budget // (FIRST_RUNS + GROWTH * longer)))
        tried, runs = FIRST_RUNS, longer
        if self._learned_nothing(short):
            tried, runs = len(self._shorter(short)), longer - LONG_RUNS + FIRST
        long = max(MIN_RUN_STEPS, min(steps, (budget - tried * short) // runs))
        return Lengths(short=short, long=long, most=LONG_RUNS)

    @cached_property
    def short_profile(self) -> LrProfile | None:
        """The profile of the shorter length: the trials', or else the sweep's own runs'; None if none learned."""
        short = self.lengths.short
        if short is None:
            return self._own_profile
        profile = None if self._learned_nothing(short) else lr_profile(self._alike, short, self._drift[1])
        return profile if profile is not None and profile.fall > 0 else None

    @cached_property
    def long_profile(self) -> LrProfile | None:
        """The profile of the longer length; None if no run of it was finished."""
        runs = tuple(run for run in self._alike if run.plan.steps == self.lengths.long)
        apart = {round_lr(rate, 4) for rate in self.request.against if rate != self.request.lr}
        others = [math.log10(run.plan.lr) for run in runs if run.plan.lr not in apart]
        near = [
            run
            for run in runs  # far off, a rate to compare with says nothing of the valley
            if run.plan.lr not in apart or any(abs(math.log10(run.plan.lr) - x) <= 1.5 * STEP for x in others)
        ]
        return lr_profile(near, self.lengths.long, self._drift[1])

    @cached_property
    def decision(self) -> Decision | None:
        """The rate that the trials speak for; None if the longer ones learned nothing."""
        return self.decision_at(LEVEL)

    def decision_at(self, level: float) -> Decision | None:
        """Return the decision with its cost at another level than 90 %."""
        long, optimizer = self.long_profile, self.sweep.setup.optimizer
        if long is None or long.fall < least_fall(long, self._swept) or len(long.points) < 2:  # noqa: PLR2004 - one has no lowest
            return None
        decided = partial(
            decide,
            math.log10(self.request.lr),
            self.short_profile,
            long,
            steps=self.request.steps,
            expected=expected_drift(optimizer.name, optimizer.settings),
            band=self.request.band,
            repeated=self.repeated,
            once=self.sweep.batches_per_epoch is not None and not self._repeats_data,
            level=level,
        )
        found = decided()
        if self.request.chance_onset and not left_the_plateau(self.short_profile, long, found.x):
            return decided(by_chance=True)
        return found

    @property
    def chance_onset(self) -> str:
        """The sweep's doubt about when a run begins to learn, unless the trials show that it has no part in the end."""
        long, found, doubt = self.long_profile, self.decision, self.request.chance_onset
        if not doubt or long is None or found is None or left_the_plateau(self.short_profile, long, found.x):
            return ""
        return doubt

    @property
    def repeated(self) -> bool:
        """True if the longer trials passed over a part of the data, as often as the coming run will over all of it."""
        return self.different_batches(self.lengths.long) is not None and not any(run.fresh for run in self.runs)

    @cached_property
    def tested(self) -> bool:
        """True if a trial of the greatest length was made at the rate that is decided for, or half a STEP beside it."""
        return self.decision is not None and self._tried(self.decision.x, STEP / 2)

    @cached_property
    def shapes_tried(self) -> dict[str, float]:
        """What the other shapes reached at the longer length, by name."""
        return {
            run.plan.schedule: run.loss
            for run in self._finished
            if run.plan.steps == self.lengths.long and run.loss is not None
            if run.plan.schedule != self.request.schedule
        }

    @property
    def updates(self) -> int:
        """Every optimizer update spent on trials, those of other requests in the log included."""
        return self.spent_elsewhere + sum(run.updates for run in self.runs)

    def different_batches(self, steps: int) -> int | None:
        """Return on how many different batches a trial of `steps` updates trains, again and again; None: on all.

        It passes over its data as often as the coming run will: advice/README.md#passes. If short ones learned nothing
        of so few batches, the longer ones get all.
        """
        return None if steps != self.lengths.short and self.on_all_data else self._matched(steps)

    @cached_property
    def on_all_data(self) -> bool:
        """True if the longer trials see all data, since short ones learned nothing of so few batches."""
        return self.lengths.short is not None and self._learned_nothing(self.lengths.short)

    def _matched(self, steps: int) -> int | None:
        return subset_size(self.sweep.batches_per_epoch, steps=steps, whole=self.request.steps)

    def _learned_nothing(self, short: int) -> bool:
        """Tell whether the first runs of `short` updates learned next to nothing."""
        rates = {round_lr(10 ** (self._start + step), 4) for step in (0.0, FIRST_STEP, -FIRST_STEP)}
        return learned_nothing(self._shorter(short), rates, swept=self._swept, drift=self._drift[1])

    def _shorter(self, short: int) -> list[ShortRun]:
        """Return the runs of `short` updates that the coming run's data and schedule ask for."""
        alike = (short, self._matched(short), self.request.schedule)
        return [run for run in self.runs if (run.plan.steps, run.plan.batches, run.plan.schedule) == alike]

    @cached_property
    def _swept(self) -> LrProfile | None:
        return lr_profile(self.sweep.runs, self.sweep.settings.run_steps)

    def next_runs(self) -> tuple[RunPlan, ...]:
        """Return the runs to make next, all at once if wanted; empty if enough is known or the budget is spent.

        First the shorter length, if there is one; then the longer one, around the lowest point of the shorter and at
        the rate itself; then the rate that is decided for, if it is another; then the other shapes, at the best rate;
        then one at a somewhat higher rate, if that may show that the decided one costs little; at last the rates to
        compare with, whose share of the budget nothing else gets.
        """
        left = self.request.budget - sum(run.updates for run in self.runs)
        if self.lengths.short is not None:
            most = FIRST if self._learned_nothing(self.lengths.short) else FIRST_RUNS
            plans = self._rung(self.lengths.short, center=self._start, step=FIRST_STEP, most=most)
            if plans:
                return _affordable(plans, left)
        plans = self._rung(self.lengths.long, center=self._center, step=STEP, most=self.lengths.most)
        compared = self._compared()
        kept = sum(plan.steps for plan in compared)
        more = plans or self._decided() or self._shapes() or self._above()
        return _affordable(more, left - kept) or _affordable(compared, left)

    def trial_at(self, rate: float) -> ShortRun | None:
        """Return the trial of the greatest length at a rate to compare with; None if none was made."""
        return next((run for run in self._alike if run.plan == self._at(rate)), None)

    def worse(self, rate: float) -> float | str:
        """Return which share of the fall a rate to compare with lost more than the one decided for, or why none tells.

        A rate that is decided for next to the trials' own, at an end of them, is taken to lose what that end lost.
        """
        long, decision = self.long_profile, self.decision
        made = self.trial_at(rate)
        if long is None or decision is None or made is None:
            more = format_count(self.lengths.long, "update")
            return f"the budget has no room for {more} more; give a larger --budget"
        if made.stop.cut_short:
            return made.why or "the trial ended early"
        if not self.tested:
            return "the budget paid for no trial at the rate that is decided for; give a larger --budget"
        loss = long.start if made.loss is None else min(made.loss, long.start)
        nearest = min(max(decision.x, long.points[0].x), long.points[-1].x)
        return (loss - long.lowest.loss) / long.fall - long.lost(nearest)

    def _at(self, rate: float) -> RunPlan:
        return self._plan(math.log10(rate), self.lengths.long)

    def _compared(self) -> tuple[RunPlan, ...]:
        """Return the runs at the rates to compare with that are missing."""
        plans = dict.fromkeys(map(self._at, self.request.against))
        return tuple(plan for plan in plans if all(run.plan != plan for run in self._alike))

    @cached_property
    def _drift(self) -> tuple[float, float]:
        """How far the training loss and the held-out loss rise at any rate, by the sweep."""
        return drift_of(self.sweep.runs)

    @cached_property
    def _finished(self) -> tuple[ShortRun, ...]:
        """The runs made for a run like the coming one, and not cut short."""
        return tuple(
            run
            for run in self.runs
            if not run.stop.worth_repeating and run.plan.batches == self.different_batches(run.plan.steps)
        )

    @cached_property
    def _alike(self) -> tuple[ShortRun, ...]:
        return tuple(run for run in self._finished if run.plan.schedule == self.request.schedule)

    @cached_property
    def _own_profile(self) -> LrProfile | None:
        """The profile of the sweep's own short runs, if they can serve as the shorter length.

        They saw fresh batches, so they can't if the coming run goes through its data again and again.
        """
        if self.sweep.setup.cached_batches is not None:
            return None
        steps, longer = self.sweep.settings.run_steps, LONG_RUNS + self.request.more
        fresh_too = self.request.pays_for_full_runs or not self._repeats_data
        if not fresh_too or steps * LEAST_GROWTH > min(self.request.steps, self.request.budget // longer):
            return None
        own = tuple(run for run in valley_runs(self.sweep) if run.plan.schedule == self.request.schedule)
        profile = lr_profile(own, steps, self._drift[1])
        return profile if profile is not None and profile.bracketed and profile.fall > 0 else None

    @property
    def _repeats_data(self) -> bool:
        """True if the coming run goes through the data more than once; False if the data's length isn't known."""
        per_epoch = self.sweep.batches_per_epoch
        return per_epoch is not None and self.request.steps > per_epoch

    @property
    def _start(self) -> float:
        """log10 of the asked rate, kept inside the trainable band: trials outside of it learn nothing."""
        lr, band = self.request.lr, self.request.band
        return math.log10(lr if band is None else min(max(lr, band.low), band.high))

    @property
    def _center(self) -> float:
        """log10 of the rate around which the second length is tried.

        That is where the shorter length's own runs ended lowest. The sweep's own runs are part of its recommendation,
        which is nearer to the best rate than they are alone: then it is the rate to verify, kept inside their range.
        """
        profile = self.short_profile
        if profile is None:
            return self._start
        if self.lengths.short is not None:
            return profile.x
        low, high = profile.near_best(NEARLY)
        return min(max(self._start, low), high)

    def _rung(self, steps: int, *, center: float, step: float, most: int) -> tuple[RunPlan, ...]:
        """Return the next runs of one length: the center and its neighbours first, then one by one to the lowest.

        Once the lowest has its neighbours, what is left goes to the rate that is decided for.
        """
        tried = {run.plan.lr for run in self._alike if run.plan.steps == steps}
        first = [self._plan(x, steps) for x in self._first(center, step)]
        missing = tuple(plan for plan in first if plan.lr not in tried)
        measured = lr_profile(self._alike, steps, self._drift[1])
        if missing or measured is None or len(tried) >= most:
            return missing
        x = next_bracket(measured, step)
        plan = None if x is None else self._plan(x, steps)
        return () if plan is None or plan.lr in tried else (plan,)

    def _first(self, center: float, step: float) -> tuple[float, ...]:
        """Return `center` and its neighbours (log10), and the asked rate: instead of the nearest, if it is near.

        Not if it is far above them, and failed at the shorter length: that tells enough.
        """
        asked, around = self._start, [center, center + step, center - step]
        nearest = min(range(3), key=lambda index: abs(around[index] - asked))
        if abs(around[nearest] - asked) <= step / 2:
            around[nearest] = asked
        elif asked < center or self.short_profile is None or not self.short_profile.lost(asked) > CLIFF:
            around.append(asked)
        return tuple(around)

    def _decided(self) -> tuple[RunPlan, ...]:
        """Return a run of the longer length at the rate that is decided for, unless there is one."""
        if self.decision is None or self._tried(self.decision.to_try, CONFIRMED):
            return ()
        return (self._plan(self.decision.to_try, self.lengths.long),)

    def _above(self) -> tuple[RunPlan, ...]:
        """Return a run of the longer length at the end of where the best rate may lie: advice/README.md#above."""
        if self.decision is None or math.isnan(self.decision.untested):
            return ()
        return (self._plan(self.decision.untested, self.lengths.long),)

    def _tried(self, x: float, within: float) -> bool:
        long = self.long_profile
        return long is not None and any(abs(point.x - x) <= within for point in long.points)

    def _shapes(self) -> tuple[RunPlan, ...]:
        """Return a run of each other shape at the best rate that was tried at the longer length."""
        profile, steps = self.long_profile, self.lengths.long
        if profile is None:
            return ()
        done = {run.plan.schedule for run in self._finished if run.plan.steps == steps}
        return tuple(self._plan(profile.lowest.x, steps, name) for name in self.request.others if name not in done)

    def _plan(self, x: float, steps: int, schedule: str | None = None) -> RunPlan:
        return RunPlan(
            lr=round_lr(10**x, 4),
            steps=steps,
            schedule=schedule or self.request.schedule,
            batches=self.different_batches(steps),
            drift=self._drift[0],
        )


def _affordable(plans: tuple[RunPlan, ...], left: int) -> tuple[RunPlan, ...]:
    """Return as many of the runs as the rest of the budget pays for."""
    kept = []
    for plan in plans:
        left -= plan.steps
        if left >= 0:
            kept.append(plan)
    return tuple(kept)
