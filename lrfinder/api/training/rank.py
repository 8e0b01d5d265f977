"""One process of a trial of several: `python -m lrfinder.api.training.rank GIVEN ANSWER PARENT`, from `group.py`.

The trial is read from the open file GIVEN, which all ranks share, and the outcome goes to ANSWER.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from typing import TYPE_CHECKING

from lrfinder.api.training.dispatch import Lost
from lrfinder.api.training.failure import Failure
from lrfinder.api.training.trial import Trial, TrialSpec
from lrfinder.api.training.trial_maker import trial_maker
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.engine.runtime.parent import end_with_parent
from lrfinder.engine.runtime.signals import signals_as_exceptions

if TYPE_CHECKING:
    from lrfinder.engine.distributed.team import Team


def main(given: int, answer: int, parent: int) -> None:
    """Make the trial with the other ranks; rank 0 writes its outcome, whatever it is."""
    end_with_parent(parent)
    trial_maker()
    import torch

    spec: TrialSpec = pickle.loads(os.pread(given, os.fstat(given).st_size, 0))  # noqa: S301 - from who started this
    torch.set_num_threads(spec.threads)
    sys.dont_write_bytecode = True
    with signals_as_exceptions(), contextlib.redirect_stdout(sys.stderr):
        outcome = _make(spec)
    place = launched_place()
    if place is not None and place.rank == 0:
        with os.fdopen(answer, "wb") as file:
            pickle.dump(outcome, file)


def _make(spec: TrialSpec) -> Trial | Failure | Lost:
    """Make the trial if this is rank 0, else follow it; return what rank 0 is to say."""
    from lrfinder.api.sweeping.together import together
    from lrfinder.engine.distributed.team import current_team
    from lrfinder.engine.distributed.watch import GONE, SILENT

    team: Team | None = None
    made: Trial | None = None

    def lead() -> None:
        nonlocal team, made
        team = current_team()
        made = trial_maker()(spec)

    try:
        together(lead, device=spec.source.device)
    except BaseException as error:  # noqa: BLE001 - it is raised again where it can be reported
        fault = None if team is None else team.watch.fault
        return Lost(str(error)) if fault is not None and fault.kind in {GONE, SILENT} else Failure.of(error)
    if made is None:
        return Lost("this rank followed another one")
    if made.made.stop.was_asked_for:
        return Lost("rank 0 got a signal that ends it")
    return made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
