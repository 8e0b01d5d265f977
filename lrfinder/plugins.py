"""What installed distributions add to lrfinder's tables, by entry points.

A distribution names its additions in its pyproject.toml, e.g.

    [project.entry-points."lrfinder.schedules"]
    half-line = "my_package.half_line:HalfLine"

A name of ours stays ours. What can't be loaded, or is of the wrong kind, is left out with one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lrfinder.errors import OwnWarning, error_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class PluginWarning(OwnWarning):
    """A plug-in that is left out; the message names its distribution."""


class PluginTable(Mapping[str, T]):
    """Our entries by name and, after them, those of the entry points of `group`.

    The entry points are read once, when somebody asks for a name that isn't ours or for all names: some 10 ms.
    `fault(name, found)` returns what is wrong with what a plug-in brings, the end of a sentence ("isn't a ..."), or
    None.
    """

    def __init__(self, group: str, ours: Mapping[str, T], fault: Callable[[str, Any], str | None]) -> None:
        self.group = group
        self.ours = ours
        self._fault = fault
        self.distributions: dict[str, str] = {}  # of the names that are read from entry points

    def __getitem__(self, name: str) -> T:
        """Return the entry of that name; raise KeyError if there is none."""
        return self.ours[name] if name in self.ours else self.plugged[name]

    def __iter__(self) -> Iterator[str]:
        """Return all names: ours in the order of the table, then those of plug-ins in alphabetical order."""
        yield from self.ours
        yield from self.plugged

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.ours) + len(self.plugged)

    @cached_property
    def plugged(self) -> Mapping[str, T]:
        """What the installed distributions add, by name."""
        from importlib.metadata import entry_points

        found: dict[str, T] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, _origin(point))):
            taken = "which is lrfinder's own" if point.name in self.ours else "which another plug-in has"
            if point.name in self.ours or point.name in found:
                _leave_out(point, f"takes the name {point.name!r}, {taken}")
                continue
            try:
                loaded = point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's import does
                _leave_out(point, f"can't be loaded: {type(error).__name__}: {error_text(error)}")
                continue
            fault = self._fault(point.name, loaded)
            if fault is None:
                found[point.name] = loaded
                self.distributions[point.name] = _origin(point)
            else:
                _leave_out(point, fault)
        return found


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"


def _leave_out(point: EntryPoint, why: str) -> None:
    message = f"{_origin(point)}: its plug-in {point.name} ({point.group}) is left out: {point.value} {why}"
    warnings.warn(message, PluginWarning, stacklevel=2)
