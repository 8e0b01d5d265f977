"""The model file of a run, imported."""

from __future__ import annotations

import time

from lrfinder.engine.distributed.orders import LoadModel
from lrfinder.engine.distributed.team import join
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.runtime.failures import environment_failure
from lrfinder.engine.runtime.rng import derived_seed, remember_global_state, seed_everything
from lrfinder.store import Source
from lrfinder.task.load import load_problem
from lrfinder.task.problem import Problem

_IMPORT = 2**32 - 1  # mixed into the seed of what the model file draws when it is imported; no repeat has this number


_start_s: float | None = None


def start_seconds() -> float:
    """Return the seconds that this process had computed when its first model file was there: its start, all imports."""
    return time.process_time() if _start_s is None else _start_s


def _note_start() -> None:
    global _start_s  # noqa: PLW0603 - of the process, as its clock
    _start_s = start_seconds()


def load_source_problem(source: Source, *, seed: int) -> Problem:
    """Import the model file of `source` and return the problem, with the options that it names.

    What the file draws at import (the weights of a live model, say) is seeded: another process gets the same. The
    generators are then as they were before. One of several processes joins the others first. Raises EnvironmentFailure
    if memory runs out, and the errors of `load_problem`.
    """
    team = join(source.device)
    if team is not None:
        team.tell(LoadModel(source, seed))
    device = choose_device(source.device)
    put_back = remember_global_state(device)
    seed_everything(derived_seed(seed, _IMPORT), device)
    try:
        problem = load_problem(
            source.reference,
            optimizer_name=source.optimizer,
            optimizer_options=source.optimizer_options,
            batch_size=source.batch_size,
            training=source.training,
            loader_timeout=source.loader_timeout,
            start_from=source.start_from,
        )
    except Exception as error:
        failure = environment_failure(error)
        if failure is None:
            raise
        raise failure from error
    else:
        _note_start()
        return problem
    finally:
        put_back()
