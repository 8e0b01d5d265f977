"""What the processes of lrfinder do that are not rank 0: on each machine one starts the script's, the others wait."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lrfinder.engine.runtime.signals import Interrupts, ended_in_order
from lrfinder.scripts.footprints import KINDS
from lrfinder.scripts.machines.kept_elsewhere import KeptElsewhere
from lrfinder.scripts.machines.machine import Machine
from lrfinder.scripts.machines.members import Members, join
from lrfinder.scripts.machines.orders import Close, End, Kill, Open, RemoveUnread, RunEnded, RunStarted, Start
from lrfinder.scripts.machines.others import GONE
from lrfinder.scripts.process import ScriptProcess

_Value = TypeVar("_Value")

_LOOK_S = 0.01  # between two looks for an order
_IDLE_LOOK_S = 0.1  # of a process that waits for the end alone
MOST_OUTPUT = 2**16  # bytes, the end of what a process has printed, that go to rank 0


def lead_or_follow(lead: Callable[[], _Value], processes: int) -> _Value:
    """Return what `lead` returns, on every process that torchrun has started; rank 0 calls it, the others follow.

    `processes` make a run of the script. Raises what `lead` raises there; on the others, and if one of them fails, what
    the first failure was.
    """
    members = join(processes)
    try:
        value: _Value = follow(members) if members.rank else lead()
        if not members.rank:
            members.end(value)
    except BaseException as error:
        cause = members.failed(error)
        if cause is error:
            raise
        raise cause from error
    else:
        return value
    finally:
        members.leave()


def follow(members: Members) -> Any:
    """Do what rank 0 says until all is done, and return what it ends with.

    Raises what ends this process before that, such as the first failure of another one: then the script's processes are
    gone here, and its files in order.
    """
    with ended_in_order(), _Follower(members) as follower:
        try:
            return follower.obey_all()
        except BaseException as error:
            members.failed(error)  # at once: what ends here now makes others fail
            raise


class _Follower:
    """What one process has begun by the orders so far; a context, at whose end nothing of it is left."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._machine: Machine | None = None
        self._running: dict[int, ScriptProcess] = {}  # by rank
        self._in_run = False
        self._said: list[tuple[int | None, Any]] = []  # and not told yet
        self._selector = selectors.DefaultSelector()
        self._interrupts = Interrupts()
        self._stack = contextlib.ExitStack()
        self._runs = contextlib.ExitStack()  # of the machine

    def __enter__(self) -> Self:
        self._stack.enter_context(self._interrupts)
        self._stack.enter_context(self._selector)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._interrupts.answered()
        with self._stack:
            self._kill()
            for rank in list(self._running):
                self._reap(rank)
            if self._in_run and self._machine is not None:
                self._machine.run_ended()
            self._close()

    def obey_all(self) -> Any:
        """Do what comes until the end; signals act while nothing is to be done."""
        while not isinstance(order := self._next(), End):
            if self._members.starts:
                self._obey(order)
                self._tell()
        return order.value

    def _next(self) -> Any:
        look_s = _LOOK_S if self._members.starts else _IDLE_LOOK_S
        while (order := self._members.next_order()) is None:
            with self._interrupts.allowed():
                ready = self._selector.select(look_s)
            self._listen({key.data for key, _ in ready})
            self._tell()
        return order

    def _obey(self, order: object) -> None:
        match order:
            case Open():
                shared = KeptElsewhere(self._members.store, self._members.machine, len(self._members.machines))
                ranks = self._members.machines[self._members.machine]
                self._machine = self._runs.enter_context(Machine(ranks, shares_cores=True, others=shared))
            case RunStarted():
                self._in_run = True
                self._opened.run_started()
            case Start(plan):
                if plan["rank"] in self._members.machines[self._members.machine]:
                    self._start(plan)
            case Kill():
                self._kill()
            case RunEnded():
                self._opened.run_ended()
                self._in_run = False
                self._answer(None)
            case RemoveUnread():
                self._answer(self._opened.remove_unread())
            case Close():
                self._answer(self._close())
            case _:
                raise TypeError(f"an order that makes no sense here: {order}")

    @property
    def _opened(self) -> Machine:
        if self._machine is None:
            raise TypeError("no runs were opened")
        return self._machine

    def _start(self, plan: dict[str, Any]) -> None:
        rank = plan["rank"]
        log = self._opened.scratch / f"rank-{rank}.log"
        log.unlink(missing_ok=True)
        process = self._running[rank] = self._opened.start(plan, log)
        self._selector.register(process.reading, selectors.EVENT_READ, rank)

    def _kill(self) -> None:
        for process in self._running.values():
            process.kill()

    def _listen(self, ready: set[int]) -> None:
        """Take in what the processes say; one that is gone has said all when nothing can be read any more."""
        for rank, process in list(self._running.items()):
            come = process.come() if rank in ready else []
            self._take(rank, come or [])
            if come is None or (not come and process.is_gone):
                self._reap(rank)

    def _take(self, rank: int, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["kind"] in KINDS:
                self._opened.take(message)
            else:
                self._said.append((rank, message))

    def _reap(self, rank: int) -> None:
        """Tell how a process has ended, and what it has printed last."""
        process = self._running.pop(rank)
        self._selector.unregister(process.reading)
        status = process.exit_status()
        self._take(rank, process.rest())
        self._said.append((rank, {"kind": GONE, "status": status, "output": _last_of(process.logs[0])}))
        process.__exit__(None, None, None)

    def _answer(self, value: Any) -> None:
        self._said.append((None, value))

    def _tell(self) -> None:
        said, self._said = self._said, []
        if said:
            self._members.say(said)

    def _close(self) -> Any:
        machine, self._machine = self._machine, None
        self._runs.close()
        return None if machine is None else machine.remains


def _last_of(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - MOST_OUTPUT))
        return file.read()
