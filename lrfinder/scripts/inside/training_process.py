"""The life of a process that trains the script at the rates of a schedule config; all else is as without it."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lrfinder.config import ScheduleConfig, load_schedule
from lrfinder.scripts.inside import refusals
from lrfinder.scripts.inside.followed import FollowedOptimizer
from lrfinder.scripts.inside.program import run_program, user_traceback
from lrfinder.scripts.inside.rates import StepHooks, listed


def run(plan: dict[str, Any]) -> None:
    """Run the script of `plan` in this process, to its own end."""
    config = load_schedule(plan["config"])
    training = ScheduledTraining(
        config,
        which=plan["which"],
        scale_others=plan["scale_others"],
        log=Path(plan["log"]),
        first=plan["first_update"],
        resume=plan["resume"],
    )
    atexit.register(training.report)
    python_reports = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        own = user_traceback(trace)
        python_reports(kind, error.with_traceback(own), own)

    sys.excepthook = report
    run_program(plan["program"], plan["arguments"], module=plan["module"])


MADE = "lrfinder_updates_made"  # the key of a param group


class ScheduledTraining:
    """Sets rate f(t) before update t, and logs what each param group then has; past the end the last rate is held.

    The number of updates made stands among the settings of the optimizer's first param group, which its state holds: so
    a checkpoint of the script's own says where a run that it resumes goes on.
    """

    def __init__(
        self,
        config: ScheduleConfig,
        *,
        which: str | None,
        scale_others: bool,
        log: Path,
        first: int | None,
        resume: bool,
    ) -> None:
        """`first` is the index of the first update; with `resume` the state that the script has loaded says it."""
        self._config, self._which, self._path = config, which, log.absolute()
        self._scales_others = scale_others
        self._schedule, self._peak = config.followed, config.optimizer.lr
        self._given, self._resume = first, resume
        self._update = self._first = first or 0
        self._made = False  # whether the step under way changes the weights
        self._log: Any = None
        self._hooks = StepHooks(
            which, seen=self._seen, before=self._before, after=self._after, scale_others=scale_others
        )

    def report(self) -> None:
        """Say on standard error what was set, at the end of the process."""
        if self._log is not None:
            self._log.close()
            if self._path == Path(os.devnull):  # another process of the same training logs, and tells
                return
        made, steps = self._update - self._first, self._schedule.steps
        if self._hooks.followed is None:
            there = f"; there is {listed(list(self._hooks.names.values()))}" if self._hooks.names else ""
            _say(f"no rate was set: no step of {self._which or 'a torch optimizer'} was made{there}")
            return
        text = f"{made} updates at the rates of the schedule, logged in {self._path}"
        if self._update > steps:
            text += f"; the last {self._update - steps} are beyond its {steps} updates, at its last rate"
        elif self._update < steps:
            text += f"; its {steps} updates are not all made: the last one was {self._update}"
        _say(text)

    def _seen(self, optimizer: torch.optim.Optimizer, names: tuple[str, ...]) -> None:
        if self._which not in {None, *names}:
            return
        if not FollowedOptimizer.has_rate(optimizer):
            _say(refusals.no_rate(listed([names])))
            sys.exit(2)
        if self._hooks.followed is not None and not self._scales_others:
            _say(refusals.several_optimizers(self._which, listed(list(self._hooks.names.values()))))
            sys.exit(2)

    def _before(self, followed: FollowedOptimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if self._log is None:
            self._begin(followed)
        followed.set(self._peak * self._schedule.factor(self._update))
        rates = ",".join(map(repr, followed.rates))
        self._log.write(f"{self._update},{rates}\n")
        found = getattr(followed.optimizer, "found_inf", None)  # set by a loss scaler whose optimizer skips by itself
        self._made = found is None or not bool(found)

    def _after(self, followed: FollowedOptimizer) -> None:
        self._update += self._made
        followed.optimizer.param_groups[0][MADE] = self._update

    def _begin(self, followed: FollowedOptimizer) -> None:
        if self._given is None:
            self._go_on(followed.optimizer.param_groups[0].get(MADE))
        ratios, groups = self._config.optimizer.groups, followed.groups
        if ratios is not None and len(ratios) != groups:
            _say(f"the config has {len(ratios)} ratios of param groups, but the script's optimizer has {groups}")
            sys.exit(2)
        if ratios is not None:
            followed.keep_ratios(ratios)
        self._log = self._path.open("a", encoding="utf-8", buffering=1)  # a line is on the disk once it is written
        if self._log.tell() == 0:
            columns = ["lr"] if groups == 1 else [f"lr_{index}" for index in range(groups)]
            self._log.write(",".join(["update", *columns]) + "\n")

    def _go_on(self, made: Any) -> None:
        """Go on where the loaded state says, if that is wanted; `made` updates were made when it was saved."""
        if self._resume and isinstance(made, int):
            self._update = self._first = made
            return
        if self._resume:
            _say(
                "--resume: the script has loaded no state of its optimizer that was saved under `lrfinder run`; if it "
                "has a checkpoint, --first-update N says how many updates were made before"
            )
            sys.exit(2)
        if made:
            _say(
                f"the script has loaded a state of its optimizer that was saved after {made} updates: --resume goes on "
                "there, --first-update 0 begins the schedule anew"
            )
            sys.exit(2)


def _say(text: str) -> None:
    print(f"lrfinder: {text}", file=sys.stderr)  # noqa: T201 - the process is the script's, and its output too
