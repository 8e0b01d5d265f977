"""One run of a script: what is known of it, and what its end means."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from lrfinder.errors import EnvironmentFailure, ModelFileError
from lrfinder.options import Stop
from lrfinder.records import Script
from lrfinder.scripts.described import last_lines
from lrfinder.scripts.program import command_line

# What a script says that several processes train, if it is started as one: the variables that torchrun sets.
_OF_A_JOB = re.compile(r"\b((LOCAL_|GROUP_)?RANK|(LOCAL_)?WORLD_SIZE|MASTER_ADDR|MASTER_PORT)\b")
_SEVERAL = "it is made for several processes, as torchrun starts them: give --nproc N"
# How scripts say that they end because of a loss that isn't finite, before backward() shows it.
_NOT_FINITE = re.compile(r"\b(nan|inf|infinity|infinite|not finite|non-?finite|diverged)\b", re.IGNORECASE)


@dataclasses.dataclass(slots=True)
class OneRun:
    """What is known of one run, from what its processes report and from how they end."""

    seed: int = 0
    first: float | None = None
    losses: list[float] = dataclasses.field(default_factory=list)
    stop: Stop | None = None
    reported: bool = False  # by the process itself
    why: str = ""
    updates: int = 0
    skipped: int = 0
    held_out: float | None = None
    fresh: bool = False  # all batches that came were trained on
    note: str = ""
    doubt: str = ""
    error: Exception | None = None  # to be raised once the record is made

    def reason(self, words: str, *, wanted: int) -> str:
        """Return why it ended, or `words` if nothing says; `wanted` are the updates that were to be made."""
        if self.stop is Stop.OUT_OF_DATA and self.updates < wanted:
            return f"{self.why}, and {wanted} were wanted"
        return self.why or words

    def judge_end(self, status: int, output: bytes, *, script: Script, rank: int, kept_log: Path | None) -> None:
        """Find out what an end means that isn't the sweep's own, from what the script has said (on that rank).

        Afterwards `stop` is known, and `error` says what is to be raised once the record is made.
        """
        tail = last_lines(output)
        on = f" on rank {rank} of {script.processes}" if script.processes else ""
        if self.stop is None:  # it was killed, or it left by os._exit
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            self.stop, self.why = Stop.FAILED, f"the script's process{on} ended by itself: {how}"
            self.error = EnvironmentFailure(
                f"{script.program}: {self.why} after {self.updates} updates\n{tail}".rstrip(),
                hint="a process is often killed for lack of memory: see the system's log",
            )
            return
        if self.stop is not Stop.FAILED or self.error is not None:
            return
        last = "\n".join(tail.splitlines()[-3:])
        if self.updates and (
            _NOT_FINITE.search(self.why) or (self.why.startswith("exit status") and _NOT_FINITE.search(last))
        ):
            self.stop, self.why = Stop.NON_FINITE, f"the script ended itself{on}: {self.why}"
            return
        place = f"after {self.updates} updates" if self.updates else "before its first update"
        kept = "" if kept_log is None else f", {kept_log}"
        shown = f"\nThe end of its output{kept}:\n{tail}" if tail else ""
        several = script.processes is None and _OF_A_JOB.search(self.why)
        self.error = ModelFileError(
            f"{script.program} failed {place}{on}: {self.why}{shown}",
            hint=_SEVERAL if several else f"try it alone: {command_line(script)}",
        )
