"""From where a run's model came to the problem that it was."""

from __future__ import annotations

from lrfinder.store import Source
from lrfinder.task.load import load_problem
from lrfinder.task.problem import Problem


def load_source_problem(source: Source) -> Problem:
    """Import the model file of `source` and return the problem, with the options that it names."""
    return load_problem(
        source.reference,
        optimizer_name=source.optimizer,
        optimizer_options=source.optimizer_options,
        batch_size=source.batch_size,
        training=source.training,
        loader_timeout=source.loader_timeout,
    )
