"""What a run folder answers, for reports and comparisons: the sweep, the advice that counts, what verified it."""

from __future__ import annotations

from dataclasses import dataclass

from lrfinder.advice.advise import Advice
from lrfinder.records import Chart, Pick, ShortRun, SweepResult, UpdateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` said: whether the rate was confirmed (None: it could not tell), the pick, and why."""

    confirmed: bool | None
    pick: Pick
    why: str
    steps: int | None  # length of the run that was verified


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """A run folder as people read it.

    `advice` is that of the last verification or recommendation that the folder keeps, else what its sweep allows; `by`
    names the command that gave it. `config` is the path of its schedule config, if that file is there.
    """

    name: str  # as the user names the folder
    result: SweepResult
    advice: Advice
    by: str
    model_file: str
    model_sha256: str | None
    training: UpdateOptions
    trials: tuple[ShortRun, ...] = ()  # of `verify`
    verdict: Verdict | None = None
    config: str | None = None

    @property
    def chart(self) -> Chart:
        """What a picture of it shows."""
        return self.advice.chart(self.result)

    @property
    def pick(self) -> Pick:
        """The pick that counts; its rate is None if it was refused."""
        return self.advice.picks[0]
