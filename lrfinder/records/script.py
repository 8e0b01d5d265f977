"""A training script that is run as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lrfinder.records.strict import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A program that trains, as the user starts it: `python PROGRAM ARGUMENTS`, or `python -m PROGRAM ARGUMENTS`.

    Of several optimizers the one called `which` is swept: its class, or the name of a variable that holds it. With
    `scale_others` it is the first that makes a step, and the rates of the others keep their ratio to its rate. With
    `processes` it is started as `torchrun --nproc-per-node PROCESSES` does; None: as one process by itself.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    program: str  # the path of a file, or the dotted name of a module
    arguments: tuple[str, ...] = ()
    module: bool = False
    which: str | None = None
    scale_others: bool = False
    processes: int | None = None

    @property
    def title(self) -> str:
        """A short name for run folders and tables: `train` for `src/train.py` and for `-m pkg.train`."""
        name = self.program.rpartition(".")[2] if self.module else self.program.replace("\\", "/").rpartition("/")[2]
        return name.removesuffix(".py") or name
