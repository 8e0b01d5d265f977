"""What all trackers report of a sweep, and when; each only says how its tool takes it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.engine.observer import Observer
from lrfinder.records import Point, Setup, ShortRun, SweepResult, SweepSettings, Trace
from lrfinder.report.figure import curve_png
from lrfinder.report.summary import summary_lines

if TYPE_CHECKING:
    from lrfinder.advice import Advice


class Tracker(Observer):
    """An observer of a sweep that brings it to another tool, under these names:

    sweep/loss, sweep/lr          by update; the repeats follow each other, also if the sweep is resumed
    trials/loss, trials/lr        by trial run
    pick/lr, pick/low, pick/high  one value each
    pick (text), curve (picture)  at the end
    """

    def __init__(self, settings: SweepSettings) -> None:
        self._settings = settings
        self._run: Path | None = None
        self._is_open = False
        self._measured = self._of_repeat = self._trials = 0

    def open(self, name: str, facts: Mapping[str, str | int | float]) -> None:
        """Begin to report: what is swept is called `name`; `facts` are the settings and what they were applied to."""
        raise NotImplementedError

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Report the values of a step."""
        raise NotImplementedError

    def close(self, rates: Mapping[str, float], text: str, png: bytes) -> None:
        """Report the pick's rates, what is said of it, and the picture; then end."""
        raise NotImplementedError

    def began(self, run: Path | None) -> None:
        """Note where the run folder is, if there is one."""
        self._run = run

    def resumed(self, traces: tuple[Trace, ...], short_sweeps: tuple[Trace, ...], runs: tuple[ShortRun, ...]) -> None:
        """Count what was reported before: what is measured now follows it."""
        self._measured = sum(len(trace.lrs) for trace in (*traces, *short_sweeps))
        self._trials = len(runs)

    def prepared(self, setup: Setup) -> None:
        """Begin: now there is something to tell."""
        if self._is_open:
            return
        facts = {
            "model": setup.model,
            "loss": setup.loss,
            "optimizer": setup.optimizer.name,
            "parameters": setup.parameters,
            "device": setup.device,
            "batch_size": setup.batch_size,
        } | asdict(self._settings)
        name = self._run.name if self._run is not None else f"{setup.model}-{time.strftime('%Y%m%d-%H%M%S')}"
        plain = {key: value if isinstance(value, int | float) else str(value) for key, value in facts.items()}
        self.open(name, {key: value for key, value in plain.items() if facts[key] is not None})
        self._is_open = True

    def repeat_started(self, _: int) -> None:
        """Count the points of a repeat; one that begins again overwrites its own."""
        self._of_repeat = 0

    def measured(self, point: Point) -> None:
        """Report a point of the curve."""
        if self._is_open:
            self.write({"sweep/loss": point.loss, "sweep/lr": point.lr}, self._measured + self._of_repeat)
        self._of_repeat += 1

    def repeat_ended(self, trace: Trace) -> None:
        """Let the next repeat follow this one."""
        self._measured += len(trace.lrs)

    def run_ended(self, run: ShortRun) -> None:
        """Report a trial run's rate, and the loss that it reached: see `ShortRun.judged_by`."""
        if self._is_open and run.loss is not None:
            self.write({"trials/loss": run.loss, "trials/lr": run.plan.lr}, self._trials)
        self._trials += 1

    def finished(self, result: SweepResult, advice: Advice) -> None:
        """Report the pick, what is said of it, and the picture."""
        if not self._is_open:
            return
        pick = advice.picks[0]
        rates = {"pick/lr": advice.lr, "pick/low": pick.low, "pick/high": pick.high}
        self.close(
            {name: rate for name, rate in rates.items() if rate is not None},
            "\n".join(summary_lines(advice, result)),
            curve_png(advice.chart(result)),
        )
        self._is_open = False
