"""Where the processes of a script are started: on this machine, or on all that torchrun has started lrfinder on."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lrfinder.engine.distributed.environment import launch_variables, launched_place
from lrfinder.engine.distributed.watch import SIGNALLED
from lrfinder.errors import LrfinderError
from lrfinder.scripts.machines.kept_elsewhere import KeptElsewhere
from lrfinder.scripts.machines.machine import Machine
from lrfinder.scripts.process import Running

if TYPE_CHECKING:
    from lrfinder.scripts.machines.members import Members
    from lrfinder.scripts.machines.others import OtherMachines

_HERE = "127.0.0.1"


class Layout:
    """A context in which the processes of the script's runs are started, each on its machine.

    `processes` make a run, None: one that is no rank of anything. At the end nothing of them is left.
    """

    def __init__(self, processes: int | None) -> None:
        """Join the other processes of lrfinder, if torchrun has started this one. Raises as `members.join` does."""
        self.processes, self.host = processes, _HERE
        self._members: Members | None = None
        self._others: OtherMachines | None = None
        ranks, shared = list(range(processes or 1)), None
        if launched_place() is not None:
            from lrfinder.scripts.machines.members import join  # torch
            from lrfinder.scripts.machines.others import OtherMachines

            self._members = join(processes)
            ranks, *others = self._members.machines
            if others:
                self.host = _address()
                self._others = OtherMachines(self._members)
                shared = KeptElsewhere(self._members.store, 0, len(self._members.machines))
        self.here = Machine(ranks, shares_cores=processes is not None, others=shared)
        self._here_are = frozenset(ranks)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.here)
            if self._others is not None:
                stack.enter_context(self._others)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def variables(self, rank: int, port: int) -> dict[str, str]:
        """Return what torchrun sets for a rank, if the store of the run is here at the port."""
        own = launch_variables(rank, self.processes or 1, self.host, port)
        return own if self._members is None else _variables(self._members, rank, own)

    def start(self, plan: dict[str, Any], log: Path) -> Running:
        """Start the process of the plan's rank on its machine. Raises as `Machine.start` does, or the first fault."""
        if self._others is None or plan["rank"] in self._here_are:
            return self.here.start(plan, log)
        return self._others.start(plan, log)

    def run_started(self) -> None:
        """Begin with another run. Raises the first fault, if there is one."""
        self.here.run_started()
        if self._others is not None:
            self._others.run_started()

    def run_ended(self) -> None:
        """Put in order what the run has left on all machines."""
        if self._others is not None:
            self._others.begin_to_end_run()
        self.here.run_ended()
        if self._others is not None:
            self._others.run_ended()

    def remove_unread(self) -> bool:
        """Remove what the runs so far have made and none has read; tell whether there was anything."""
        there = self._others is not None and self._others.remove_unread()
        return self.here.remove_unread() or there

    def check(self) -> None:
        """Raise the first fault of another process of lrfinder, if there is one."""
        if self._members is not None:
            self._members.check()

    def check_all_live(self) -> None:
        """Raise the first fault of another process of lrfinder, after a sign of each if there are other machines."""
        if self._members is not None and self._others is not None:
            self._members.check_all_live()

    def lost(self, error: BaseException) -> LrfinderError | None:
        """Return the failure of another process of lrfinder, if `error` comes of that."""
        fault = None if self._members is None else self._members.first_fault(error)
        if fault is None or self._members is None or fault.kind == SIGNALLED:
            return None
        return fault.error(self._members.size)

    @property
    def left_over(self) -> str:
        """What other runs of the script find, in words; nothing if there is nothing."""
        remains = [("", self.here.remains), *_named(self._others)]
        return "; ".join(of_one.left_over(place) for place, of_one in remains if of_one.left)

    @property
    def remarks(self) -> list[str]:
        """What people are told of the disks, at the end."""
        remains = [("", self.here.remains), *_named(self._others)]
        return [remark for place, of_one in remains for remark in of_one.told(place)]


def _named(others: OtherMachines | None) -> list[tuple[str, Any]]:
    return [] if others is None else [(f" (on {host})", of_one) for host, of_one in others.remains]


def _variables(members: Members, rank: int, own: Mapping[str, str]) -> dict[str, str]:
    """Return what torchrun has set for a rank, but the store is that of the run."""
    of_the_store = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT")
    return {**members.variables[rank], **{name: own[name] for name in of_the_store}}


def _address() -> str:
    """Return how other machines call this one: as the launcher is called, if it is here, else by its address there."""
    launcher, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    family, _, _, _, address = socket.getaddrinfo(launcher, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect(address)  # nothing is sent: the system tells on which way it would be
        own, there = way.getsockname()[0], way.getpeername()[0]
    return launcher if own == there or ipaddress.ip_address(there).is_loopback else str(own)
