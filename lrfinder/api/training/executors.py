"""Where trials are made if not in this process, by the name that `--on` gives: a new way is one file and one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from lrfinder.engine.distributed.environment import launched_place
from lrfinder.errors import UsageError, unknown_choice
from lrfinder.store import Source

if TYPE_CHECKING:
    from lrfinder.api.training.trial import Plan, Trial


class Executor(Protocol):
    """Makes trials of one model file, several at once."""

    def run(self, plans: Sequence[Plan], until: float | None = None) -> Iterator[Trial]:
        """Yield the trials as they end; none goes on after `until`, a time of `time.time`.

        Raises what a trial raised, and EnvironmentFailure if the machines fail.
        """


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where trials are made: `on` as it was given ("ray", "ray://HOST:PORT"), and the devices that each gets.

    `nproc` processes make each trial together, as `lrfinder sweep --nproc` does; None: one makes it by itself, with all
    devices. With `upload` the files that git tracks are sent there; else the folder is expected there.
    """

    on: str
    devices_per_trial: int = 1
    upload: bool = False
    nproc: int | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a name that there isn't, or whose package is missing."""
        name = self._name
        if name not in EXECUTORS:
            raise unknown_choice("place for trials", name, EXECUTORS)
        if find_spec(NEEDS[name]) is None:
            raise UsageError(f"--on {name} needs the package {NEEDS[name]}", hint=f"pip install 'lrfinder[{name}]'")
        if self.devices_per_trial < 1:
            raise UsageError(f"a trial takes at least one device, got {self.devices_per_trial}")
        if self.nproc is not None and (self.nproc < 1 or self.devices_per_trial % self.nproc):
            raise UsageError(
                f"{self.devices_per_trial} devices can't be shared by {self.nproc} processes of a trial",
                hint="leave --devices-per-trial out: then each process gets one",
            )

    @property
    def _name(self) -> str:
        return self.on.partition("://")[0]

    def open(self, source: Source, *, seed: int) -> AbstractContextManager[Executor]:
        """Return the context in which trials of the model file of `source` are made."""
        if launched_place() is not None:
            raise UsageError(
                "--on starts the processes of its trials itself",
                hint="start it without torchrun: --nproc N says how many",
            )
        if source.script is not None:
            raise UsageError("trials of a script are made one by one, on this machine", hint="leave --on out")
        return EXECUTORS[self._name](self, source, seed)


def elsewhere(
    on: str | None, devices_per_trial: int | None, *, upload: bool = False, nproc: int | None = None
) -> Elsewhere | None:
    """Return where trials are made; None: in this process. Raises UsageError if the options make no sense."""
    if on is not None:
        devices = (nproc or 1) if devices_per_trial is None else devices_per_trial
        return Elsewhere(on, devices_per_trial=devices, upload=upload, nproc=nproc)
    for option, given in (("--devices-per-trial", devices_per_trial is not None), ("--upload", upload)):
        if given:
            raise UsageError(f"{option} says nothing without --on", hint="add --on ray")
    if nproc is not None:
        raise UsageError("nproc says nothing without on", hint="start the script with torchrun, or add on='ray'")
    return None


def _ray(where: Elsewhere, source: Source, seed: int) -> AbstractContextManager[Executor]:
    from lrfinder.api.training.ray_cluster import RayTrials

    address = where.on if "://" in where.on else None
    return RayTrials(
        source,
        seed=seed,
        address=address,
        devices_per_trial=where.devices_per_trial,
        processes=where.nproc,
        upload=where.upload,
    )


EXECUTORS: Mapping[str, Callable[[Elsewhere, Source, int], AbstractContextManager[Executor]]] = {"ray": _ray}
NEEDS: Mapping[str, str] = {"ray": "ray"}  # the package of each, and the extra that brings it
