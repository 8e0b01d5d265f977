"""Repeats and short runs of a sweep, each a new process of the script."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lrfinder.engine.losses.divergence import rise_of
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.signals import Interrupts, answer_signal, ended_in_order
from lrfinder.errors import LrfinderError, ModelFileError, UsageError, visible
from lrfinder.options import Stop
from lrfinder.records import Point, RunPlan, Script, ShortRun, SweepSettings, Trace
from lrfinder.scripts.described import own_rate, pauses, setup_of, takes_turns
from lrfinder.scripts.footprints import KINDS
from lrfinder.scripts.job import ScriptJob
from lrfinder.scripts.machines.layout import Layout
from lrfinder.scripts.one_run import OneRun
from lrfinder.scripts.process import ScriptProcess
from lrfinder.scripts.program import command_line
from lrfinder.search.run_schedule import schedule_factor

TRAIN, PROBE = "train", "probe"  # metrics of short runs: their last training losses, or batches that were held back
LAST = 0.1  # share of a short run's losses whose mean judges it, at least LEAST_LAST of them
LEAST_LAST = 3
_INSTEAD = "or put its model, data and loss in a model file: lrfinder init"
HARMLESS = 1e-6  # times the highest rate of a run: too small to learn at


class ScriptRuns:
    """A context in which runs of the script are made, one at a time; at its end nothing of them is left.

    `log` takes the script's output, None: a file that is gone with the runs; `deadline` is a time of `time.monotonic`.
    `kept` are short runs that these will be compared with: those of one length are judged as they were.
    """

    def __init__(
        self,
        script: Script,
        *,
        seed: int,
        observer: Observer,
        log: Path | None = None,
        deadline: float = math.inf,
        kept: Iterable[ShortRun] = (),
    ) -> None:
        self.script = script
        self.seed = seed
        self.observer = observer
        self.deadline = deadline
        self.memory: int | None = None  # the most bytes that a process has had
        self.starts: list[float] = []  # seconds from each start to the first step
        self.remarks: list[str] = []  # for people, once the context has ended
        self.own_rate = 0.0  # the peak that the script itself would train at, known from its first step
        self._own_rate_moved = False
        self._called = self._idle = ""  # names of the optimizer that is swept, and of those that made no step
        self._scaled: dict[str, float] = {}  # the ratios of those that are scaled with it
        self._kept_log = None if log is None else log.absolute()
        self._interrupts = Interrupts()
        self._stack = contextlib.ExitStack()
        self._told_pauses = False
        self._harmless: dict[int, int] = {}  # updates that the script makes at rates too small to learn at, by repeat
        self._begins_clean = False  # whether what runs have made is removed before the next one
        # Of the short runs, by their length: those of one length are compared.
        judged = [run for run in kept if run.loss is not None]
        self._metrics = {run.plan.steps: run.metric for run in judged}
        # By length: what the batches that are held back cost at rates too small to learn at, as before any update.
        self._unlearned = {run.plan.steps: run.loss for run in judged if run.plan.control and run.metric == PROBE}
        self._all_fresh = {run.plan.steps for run in judged if run.fresh}  # lengths at which none repeats batches

    def __enter__(self) -> Self:
        self._layout = Layout(self.script.processes)
        with contextlib.ExitStack() as stack:
            stack.enter_context(ended_in_order())
            stack.enter_context(self._interrupts)
            stack.enter_context(self._layout)
            self._log = self._kept_log or self._layout.here.scratch / "script.log"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        self._remark()
        left = self._layout.left_over
        if isinstance(error, LrfinderError) and left:
            error.hint = f"{error.hint}; {left}" if error.hint else left

    def repeat(self, settings: SweepSettings, repeat: int) -> Trace:
        """Make one repeat of a sweep, and return its trace.

        Raises ModelFileError if the script failed or can't be swept, once its trace is made.
        """
        self.observer.repeat_started(repeat)
        rates = settings.lrs()

        def lost(step: int, loss: float) -> None:
            self.observer.measured(Point(repeat=repeat, step=step, lr=rates[step], loss=loss))

        run = self._run(rates, repeat, drift=0.0, judged=False, measured=lost)
        stop = run.stop or Stop.FAILED
        words = "" if stop is Stop.COMPLETED else f"{run.updates} of {len(rates)} updates made"
        trace = Trace(
            repeat=repeat,
            seed=run.seed,
            initial_loss=run.first,
            lrs=rates[: len(run.losses)],
            losses=tuple(run.losses),
            stop=stop,
            updates=run.updates,
            why=run.reason(words, wanted=len(rates)),
            skipped=run.skipped,
            note=run.note,
            doubt=run.doubt,
        )
        self.observer.repeat_ended(trace)
        if run.error is not None:
            raise run.error
        return trace

    def run(self, plan: RunPlan) -> ShortRun:
        """Make a short run under the schedule of `plan`.

        It is judged by batches that were held back from it if some would come twice, else by the mean of the last tenth
        of its training losses; all of one length are judged alike. If the plan wants the same few batches over and
        over, but they can't be given, it trains on all that come: `fresh` says so. Raises as `repeat` does.
        """
        self.observer.run_started(plan)
        factor = schedule_factor(plan)

        def made(step: int, loss: float) -> None:
            self.observer.run_updated(plan, step + 1, loss)

        drift = None if plan.control else plan.drift
        rates = [plan.lr * factor(t) for t in range(plan.steps)]
        # Among those that are judged by their training losses one that learns a few batches by heart would win.
        known = plan.steps in self._all_fresh or self._metrics.get(plan.steps) == TRAIN
        different = None if known else plan.batches
        run = self._run(rates, plan.repeat, drift=drift, judged=True, different=different, measured=made)
        if run.stop is Stop.COMPLETED and run.held_out is None and not run.fresh and plan.steps not in self._metrics:
            # The script has no updates left by which it could be judged.
            run = self._run(rates, plan.repeat, drift=drift, judged=True, measured=made)
        loss = self._judged(run, plan) if run.stop is Stop.COMPLETED else None
        stop = run.stop or Stop.FAILED
        finite = run.first if run.first is not None and math.isfinite(run.first) else None
        metric = self._metrics.get(plan.steps, TRAIN)
        if plan.control and metric == PROBE and loss is not None:
            self._unlearned[plan.steps] = loss
        short = ShortRun(
            plan=plan,
            seed=self.seed,
            metric=metric,
            initial_loss=self._unlearned.get(plan.steps, finite) if metric == PROBE else finite,
            loss=loss,
            stop=stop,
            updates=run.updates,
            why=run.reason(f"after {run.updates} updates" if stop.cut_short else "", wanted=plan.steps),
            fresh=plan.batches is not None and run.fresh,
            skipped=run.skipped,
            note=run.note,
            doubt=run.doubt,
            first_loss=finite,
            rise=rise_of([run.first or 0.0, *run.losses]) if plan.control and loss is not None else 0.0,
        )
        self.observer.run_ended(short)
        if run.error is not None:
            raise run.error
        return short

    def _judged(self, run: OneRun, plan: RunPlan) -> float | None:
        """Return the loss that a completed run has reached; None if it can't be told as for others of its length."""
        if self._metrics.setdefault(plan.steps, TRAIN if run.held_out is None else PROBE) == TRAIN:
            last = run.losses[-max(LEAST_LAST, round(LAST * plan.steps)) :]
            return sum(last) / len(last) if last else None
        if run.held_out is None:
            run.stop, run.why = Stop.OUT_OF_DATA, "the script ended before it was judged by what was held back"
        return run.held_out

    def _run(self, rates: Sequence[float], repeat: int, **kwargs: Any) -> OneRun:
        """Make a run. If the script fails in it once it trains, find out whether that is for its rates.

        Much that takes numbers in a range raises at what a high rate makes of them, such as a cross-entropy or
        a solver. So the script is started once more, at rates too small to learn at: if it comes farther, they were it.
        """
        run = self._clean_run(rates, repeat, **kwargs)
        if not isinstance(run.error, ModelFileError) or not run.updates:
            return run
        if self._harmless.get(repeat, 0) < run.updates:
            slow = [HARMLESS * max(rates)] * (run.updates + 1)
            control = self._clean_run(slow, repeat, drift=None, judged=False, measured=lambda *_: None)
            if control.error is not None:
                return run
            if control.stop is not Stop.COMPLETED:
                run.stop, run.why, run.error = control.stop, control.why, None
                return run
            self._harmless[repeat] = run.updates
        run.stop, run.error = Stop.NON_FINITE, None
        run.why = f"the script failed at this rate, and not at one too small to learn at: {run.why}"
        return run

    def _clean_run(self, *args: Any, **kwargs: Any) -> OneRun:
        """Make a run; if it fails where others began to train, make it again without what those have made.

        Many scripts refuse a folder of results that is there already.
        """
        if self._begins_clean:
            self._layout.remove_unread()
        run = self._made(*args, **kwargs)
        failed = isinstance(run.error, ModelFileError) and run.first is None and bool(self.starts)
        if not failed or self._begins_clean or not self._layout.remove_unread():
            return run
        self._begins_clean = True
        return self._made(*args, **kwargs)

    def _made(
        self,
        rates: Sequence[float],
        repeat: int,
        *,
        drift: float | None,
        judged: bool,
        measured: Any,
        different: int | None = None,
    ) -> OneRun:
        """Start the script, take in what it reports, and see to it that it is gone; a signal ends it."""
        run = OneRun()
        plan = {
            "job": "sweep",
            "program": self.script.program,
            "arguments": list(self.script.arguments),
            "module": self.script.module,
            "which": self.script.which,
            "scale_others": self.script.scale_others,
            "rates": list(rates),
            "seed": self.seed,
            "repeat": repeat,
            "drift": drift,
            "judged": judged and self.script.processes is None,
            "different": different,
            "processes": self.script.processes,
            "rank": 0,
            "variables": {},
        }
        self._layout.run_started()
        logged = self._head_of_log()
        try:
            with self._started(plan) as process:
                try:
                    with self._interrupts.allowed():
                        for message in process.messages(self.deadline):
                            with self._interrupts.held():
                                self._take(message, run, measured)
                except TimeoutError:
                    run.stop = run.stop or Stop.OUT_OF_TIME
                    run.why = run.why or "the time limit was reached"
                except BaseException as error:  # noqa: BLE001 - it is raised again, unless it is an expected end
                    self._answer(error, run)
                if not run.reported:  # it is asked for no status of its own, or has none to give
                    process.kill()
                status = process.exit_status()
                for message in process.rest():
                    if message["kind"] in KINDS:
                        self._layout.here.take(message)
                output = self._output(process, logged)
                run.judge_end(status, output, script=self.script, rank=process.failed_rank, kept_log=self._kept_log)
        finally:
            self._layout.run_ended()
        return run

    def _answer(self, error: BaseException, run: OneRun) -> None:
        """Take note of what has ended the run from outside: a signal, or another process of lrfinder that is lost."""
        run.error = self._layout.lost(error)
        if run.error is not None:
            self._interrupts.answered()
            run.stop, run.why = Stop.FAILED, str(run.error)
            return
        run.stop = answer_signal(self._interrupts, error)
        if run.stop is None:
            raise error

    def _started(self, plan: dict[str, Any]) -> ScriptProcess | ScriptJob:
        """Return the process of a run, or the several ones."""
        if self.script.processes is None:
            return self._layout.here.start(plan, self._log)
        return ScriptJob(self._layout, plan, log=self._log)

    def _output(self, process: ScriptProcess | ScriptJob, logged: int) -> bytes:
        """Return what the rank that failed has printed in this run; add what the others printed to the log."""
        with self._log.open("rb") as log:
            log.seek(logged)
            outputs = [log.read()]
        for rank, path in enumerate(process.logs[1:], start=1):
            outputs.append(path.read_bytes())
            path.unlink()
            with self._log.open("ab") as log:
                log.write(f"--- rank {rank}\n".encode() + outputs[-1])
        return outputs[process.failed_rank]

    def _take(self, message: dict[str, Any], run: OneRun, measured: Any) -> None:
        kind = message["kind"]
        if kind == "loss":
            loss = float(message["loss"])
            run.updates = message["updates"]
            if run.first is None:
                run.first = loss
            else:
                run.losses.append(loss)
                measured(len(run.losses) - 1, loss)
        elif kind == "started":
            run.seed = message["seed"]
        elif kind == "first":
            self.starts.append(message["setup_s"])
            self.own_rate, self._called = message["own_rate"], visible(message["called"])
            self.observer.prepared(setup_of(self.script, message))
        elif kind == "scaled":
            self._scaled[visible(message["called"])] = message["ratio"]
        elif kind == "takes_turns":
            run.doubt = takes_turns(self.script)
        elif kind == "end":
            run.reported = True
            self._own_rate_moved |= message["own_rate_moved"]
            self._idle = visible(message["idle"])
            run.stop, run.why = Stop(message["stop"]), visible(message["why"])
            run.updates, run.skipped = message["updates"], message["skipped"]
            run.held_out, run.fresh = message["held_out"], message["fresh"]
            if not self._told_pauses:  # once: the share differs a little from run to run
                run.note = pauses(message)
                self._told_pauses = bool(run.note)
            if message["refused"]:
                run.error = UsageError(f"{self.script.program} can't be swept so: {run.why}", hint=_INSTEAD)
            self.memory = max(self.memory or 0, message["memory"])
        else:
            self._layout.here.take(message)

    def _head_of_log(self) -> int:
        """Write what follows in the log, and return where that begins."""
        with self._log.open("ab") as log:
            log.write(f"--- {time.strftime('%H:%M:%S')} {command_line(self.script)}\n".encode())
            return log.tell()

    def _remark(self) -> None:
        if self.starts:
            said = own_rate(
                self.own_rate,
                called=self._called,
                moved=self._own_rate_moved,
                idle=self._idle,
                scaled=self._scaled,
            )
            self.remarks.append(said)
        self.remarks += self._layout.remarks
