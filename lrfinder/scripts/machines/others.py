"""The other machines of a sweep, as rank 0 sees them: what their processes say comes as if they were here."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from lrfinder.engine.distributed.launcher import POLL_S
from lrfinder.scripts.machines.machine import Remains
from lrfinder.scripts.machines.members import Members
from lrfinder.scripts.machines.orders import Close, Kill, Open, RemoveUnread, RunEnded, RunStarted, Start

GONE = "gone"  # the kind of the last message of a process: its exit status, and the end of its output
_WAIT_S = 0.1  # between two looks whether a machine that doesn't answer is lost
_BYTES = 4096


class OtherMachines:
    """A context in which the script's processes of one run after another are started on the other machines.

    If one of them is lost, all put their own disks in order, and what is asked of them isn't answered any more.
    """

    def __init__(self, members: Members) -> None:
        self.remains: list[tuple[str, Remains]] = []  # with the name of each machine, at the end
        self._members = members
        self._numbers = range(1, len(members.machines))
        self._answers: dict[int, SimpleQueue[Any]] = {number: SimpleQueue() for number in self._numbers}
        self._processes: dict[int, RemoteProcess] = {}
        self._killing = False
        self._stop = threading.Event()
        # A signal ends what the main thread does at any place; what was said must not get lost by that.
        self._listener = threading.Thread(target=self._listen, name="lrfinder-machines", daemon=True)

    def __enter__(self) -> Self:
        self._tell(Open())
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        answers = self._ask(Close())
        hosts = [self._members.hosts[self._members.machines[number][0]] for number in self._numbers]
        self.remains = list(zip(hosts, answers, strict=True)) if answers is not None else []
        self._stop.set()
        self._listener.join()

    def run_started(self) -> None:
        """Begin with another run. Raises the first fault, if there is one."""
        self.check()
        self._processes, self._killing = {}, False
        self._tell(RunStarted())

    def start(self, plan: dict[str, Any], log: Path) -> RemoteProcess:
        """Start the process of the plan's rank; the end of its output comes to `log` when it is gone."""
        process = self._processes[plan["rank"]] = RemoteProcess(self, log)
        self._tell(Start(plan))
        return process

    def kill(self) -> None:
        """Have all processes of the run ended."""
        if not self._killing:
            self._killing = True
            self._tell(Kill())

    def begin_to_end_run(self) -> None:
        """Have the machines put in order what the run has left."""
        self._tell(RunEnded())

    def run_ended(self) -> None:
        """Wait until they have."""
        self._wait_for_answers()

    def remove_unread(self) -> bool:
        """Have removed what the runs have made and none has read; tell whether there was anything."""
        return any(self._ask(RemoveUnread()) or ())

    @property
    def lost(self) -> bool:
        """Whether one of them is lost, and so all end by themselves."""
        return self._members.watch.fault is not None

    def check(self) -> None:
        """Raise the first fault, if there is one."""
        self._members.check()

    def _ask(self, order: object) -> list[Any] | None:
        self._tell(order)
        return self._wait_for_answers()

    def _tell(self, order: object) -> None:
        if self.lost:
            return
        try:
            self._members.tell(order)
        except RuntimeError as error:
            self._members.unanswered(error)

    def _wait_for_answers(self) -> list[Any] | None:
        answers: list[Any] = []
        while len(answers) < len(self._numbers) and not self.lost:
            with contextlib.suppress(Empty):
                answers.append(self._answers[self._numbers[len(answers)]].get(timeout=_WAIT_S))
        return answers if len(answers) == len(self._numbers) else None

    def _listen(self) -> None:
        try:
            while not self._stop.wait(POLL_S):
                for number in self._numbers:
                    for rank, said in self._members.hear(number) or ():
                        self._take(number, rank, said)
        except RuntimeError as error:
            self._members.unanswered(error)

    def _take(self, number: int, rank: int | None, said: Any) -> None:
        if rank is None:
            self._answers[number].put(said)
        elif rank in self._processes:
            self._processes[rank].heard(said)


class RemoteProcess:
    """A process of the script on another machine, with what ScriptJob needs of a ScriptProcess."""

    failed_rank = 0

    def __init__(self, machines: OtherMachines, log: Path) -> None:
        self.logs = [log]
        self.reading, self._wake = os.pipe()  # nothing but that something has come
        os.set_blocking(self.reading, False)
        os.set_blocking(self._wake, False)
        log.touch()
        self._machines = machines
        self._messages: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._gone = threading.Event()
        self._status = 0
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        with self._lock:
            self._closed = True
            os.close(self.reading)
            os.close(self._wake)

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take a message; called by the thread that listens."""
        with self._lock:
            if self._closed:
                return
            if message["kind"] == GONE:
                with contextlib.suppress(OSError):  # the disk is full
                    self.logs[0].write_bytes(message["output"])
                self._status = message["status"]
                self._gone.set()
            else:
                self._messages.put(dict(message))
            with contextlib.suppress(BlockingIOError):  # the pipe is full: that something has come is known
                os.write(self._wake, b"!")

    def come(self) -> list[dict[str, Any]]:
        """Return the messages that have come."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.reading, _BYTES)) == _BYTES:
                pass
        found = []
        with contextlib.suppress(Empty):
            while True:
                found.append(self._messages.get_nowait())
        return found

    def rest(self) -> list[dict[str, Any]]:
        """Return nothing: its machine has taken what its file guard has said."""
        return []

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended. Raises the first fault of the machines, if there is one."""
        self._machines.check()
        return self._gone.is_set()

    def exit_status(self) -> int:
        """Return the status of a process that is gone: minus the signal, if one ended it."""
        self.kill()
        return self._status

    def kill(self) -> None:
        """End the process, and wait until it is gone; one of a machine that is lost ends by itself."""
        self._machines.kill()
        while not self._gone.wait(_WAIT_S) and not self._machines.lost:
            pass
