"""Arguments that can't be imported."""

from __future__ import annotations

from lrfinder.config.document import Problem


class UnfitError(Exception):
    """Arguments that can't be imported: the problems, and what to do."""

    def __init__(self, problems: list[Problem], hint: str | None = None) -> None:
        self.problems = problems
        self.hint = hint
        super().__init__("; ".join(problem.message for problem in problems))
