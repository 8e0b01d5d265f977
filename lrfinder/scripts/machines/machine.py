"""One machine of a sweep: the processes of the script that are started on it, and what they leave on its disk."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lrfinder.scripts.footprints import NOTHING, Footprints
from lrfinder.scripts.machines.kept_elsewhere import KeptElsewhere
from lrfinder.scripts.process import ScriptProcess, starter
from lrfinder.scripts.program import sweep_environment

MOST_NAMED = 4  # paths in a message


@dataclass(frozen=True, slots=True)
class Remains:
    """What the runs have left on a machine, as paths."""

    left: tuple[str, ...] = ()  # made before the training
    not_kept: tuple[str, ...] = ()
    not_put_back: tuple[str, ...] = ()

    def told(self, place: str = "") -> list[str]:
        """Return it in words; `place` names the machine, if it is another one."""
        told = [self.left_over(place)] if self.left else []
        told += [
            f"{path}{place} was opened for writing or removed, and could not be copied before that: it may have changed"
            for path in self.not_kept
        ]
        told += [
            f"{path}{place} was changed before the training, and could not be put back" for path in self.not_put_back
        ]
        return told

    def left_over(self, place: str = "") -> str:
        """Say what other runs of the script find."""
        return f"made before the training, and left for other runs of the script{place}: {_few(self.left)}"


class Machine:
    """A context in which the script's processes of one run after another are started here, for the given ranks.

    At its end nothing of them is left; `remains` says what is. `others` are told what the runs change, if there are
    other machines.
    """

    def __init__(self, ranks: Sequence[int], *, shares_cores: bool, others: KeptElsewhere | None = None) -> None:
        """With `shares_cores` each process gets its share of the cores, if the user says nothing else."""
        self.remains = Remains()
        self._ranks, self._shares_cores = ranks, shares_cores
        self._others = others
        self._footprints = Footprints()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = tempfile.mkdtemp(prefix="lrfinder-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self.scratch = Path(folder).resolve()
            stack.callback(self._look_at_remains)
            environment = sweep_environment(self.scratch, len(self._ranks) if self._shares_cores else None)
            self._starters = {rank: starter(environment) for rank in self._ranks}
            for made in self._starters.values():
                stack.callback(made.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def run_started(self) -> None:
        """Begin with another run."""
        self._footprints.run_started()
        if self._others is not None:
            self._others.run_started()

    def start(self, plan: Mapping[str, Any], log: Path) -> ScriptProcess:
        """Start the process of the plan's rank; its output is appended to `log`. Raises as ScriptProcess does."""
        told = {**plan, "made_before": self._footprints.made_before}
        return ScriptProcess(self._starters[plan["rank"]], told, scratch=self.scratch, log=log)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message of a file guard."""
        self._footprints.take(message)
        if self._others is not None and message["kind"] == "kept":
            self._others.tell(self._footprints.kept)

    def run_ended(self) -> None:
        """Put in order what the run has left; all its processes are gone, on all machines."""
        if self._others is None:
            self._footprints.run_ended(NOTHING)
            return
        self._footprints.put_back_later(self._others.kept() or NOTHING)
        self._others.wait_for_later()
        self._footprints.run_ended(self._others.kept())

    def remove_unread(self) -> bool:
        """Remove what the runs so far have made and none has read; tell whether there was anything."""
        return self._footprints.remove_unread()

    def _look_at_remains(self) -> None:
        left = self._footprints.sweep_ended()
        self.remains = Remains(tuple(left), tuple(self._footprints.not_kept), tuple(self._footprints.not_put_back))


def _few(paths: Sequence[str]) -> str:
    """Return the first paths; what lies in a folder among them isn't named by itself."""
    tops = [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]
    more = f" and {len(tops) - MOST_NAMED} more" if len(tops) > MOST_NAMED else ""
    return ", ".join(tops[:MOST_NAMED]) + more
