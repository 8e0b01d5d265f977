"""The processes of lrfinder that torchrun has started on one or more machines, while a script is tried by them.

Rank 0 decides, and tells the others in the store of the launcher; what they have to say stands there, too. On each
machine the lowest rank starts the script's processes, the others wait for the end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import time
from typing import Any

from lrfinder.engine.distributed.environment import Place, launched_place, step_timeout_s
from lrfinder.engine.distributed.launcher import JOIN_S, POLL_S, Call, call, next_prefix, store_of
from lrfinder.engine.distributed.team import SIGNAL_VERDICT_S, VERDICT_S, current_team, fault_of
from lrfinder.engine.distributed.watch import SIGNALLED, SILENT, Fault, Watch
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import EnvironmentFailure, UsageError
from lrfinder.scripts.machines.orders import End

LEAVE_S = 5.0  # that the others may take to hear of the end
# Of the environment of a process of torchrun: what it has by its rank.
_OF_A_RANK = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "TORCHELASTIC_", "CUDA_VISIBLE_DEVICES")

_joined: Members | None = None


def current_members() -> Members | None:
    """Return what this process has joined; None if it hasn't."""
    return _joined


class Members:
    """All processes of the job by rank, of which this is `rank`; see the module.

    `variables` are those of each rank's environment that torchrun has set, and `hosts` the names of their machines.
    """

    def __init__(self, place: Place, stores: tuple[Any, Any], watch: Watch, everybodys: list[dict[str, Any]]) -> None:
        """`stores` are two connections: one to speak, and one for a thread that listens."""
        self.rank, self.size = place.rank, place.size
        self.watch = watch
        self.store, self._ears = stores
        self.variables: list[dict[str, str]] = [of_rank["variables"] for of_rank in everybodys]
        self.hosts: list[str] = [of_rank["host"] for of_rank in everybodys]
        groups = [variables.get("GROUP_RANK", "0") for variables in self.variables]
        ranks: dict[str, list[int]] = {}
        for rank, group in enumerate(groups):
            ranks.setdefault(group, []).append(rank)
        self.machines = list(ranks.values())  # the ranks on each; rank 0 is on the first
        self.machine = next(number for number, of_machine in enumerate(self.machines) if self.rank in of_machine)
        self._orders = 0  # told, or taken
        self._said = 0
        self._heard = [0] * len(self.machines)

    @property
    def starts(self) -> bool:
        """Whether this process starts those of the script on its machine."""
        return self.rank == self.machines[self.machine][0]

    def tell(self, order: object) -> None:
        """Give an order to all others. Raises RuntimeError if the store doesn't answer: see `unanswered`."""
        self.store.set(f"order/{self._orders}", pickle.dumps(order))
        self._orders += 1

    def next_order(self) -> Any:
        """Return the next order of rank 0; None if there is none yet. Raises the first fault, if there is one."""
        key = f"order/{self._orders}"
        try:
            told = self.store.get(key) if self.store.check([key]) else None
        except RuntimeError as error:
            self.unanswered(error)
            told = None
        if told is None:
            self.check()
            return None
        self._orders += 1
        return pickle.loads(told)  # noqa: S301 - from rank 0 of this job, as torch's own objects are

    def say(self, said: object) -> None:
        """Say something to rank 0, for this machine. Raises the first fault, if the store is gone."""
        try:
            self.store.set(_said_key(self.machine, self._said), pickle.dumps(said))
        except RuntimeError as error:
            self.unanswered(error)
            self.check()
        self._said += 1

    def hear(self, machine: int) -> Any:
        """Return the next that a machine has said; None if there is nothing more. Raises as `tell` does."""
        key = _said_key(machine, self._heard[machine])
        if not self._ears.check([key]):
            return None
        said = pickle.loads(self._ears.get(key))  # noqa: S301 - as in `next_order`
        self._ears.delete_key(key)
        self._heard[machine] += 1
        return said

    def unanswered(self, error: RuntimeError) -> None:
        """Take note that the store doesn't answer: mostly the launcher is gone, as the watch soon tells."""
        if self.watch.first_fault(VERDICT_S) is None:
            self.watch.post(fault_of(error, self.rank, None))

    def check(self) -> None:
        """Raise the first fault, if there is one: one of the processes has failed, is gone, or got a signal."""
        if self.watch.fault is not None:
            self.watch.fault.raise_it(self.size)

    def check_all_live(self) -> None:
        """Raise the first fault, if a process that is gone is one, too: the script may have failed because of it.

        Of one on another machine nothing says that it is gone, but that it says nothing.
        """
        since = time.monotonic()
        while (rank := self.watch.unheard(since)) is not None and time.monotonic() < since + VERDICT_S:
            self.check()
            time.sleep(POLL_S)
        if rank is not None:
            text = f"nothing is heard of it any more: its process on {self.hosts[rank]}, or that machine, is gone"
            self.watch.post(Fault(rank=rank, kind=SILENT, text=text, status=EnvironmentFailure.exit_status))
        self.check()

    def first_fault(self, error: BaseException) -> Fault | None:
        """Return the first fault, if there is one; a signal comes from the launcher, too, if another process failed."""
        return self.watch.first_fault(SIGNAL_VERDICT_S if isinstance(error, KeyboardInterrupt | Terminated) else 0.0)

    def failed(self, error: BaseException, update: int | None = None) -> BaseException:
        """Take note of `error`, and return what is to be raised: the failure of another process, if that was first."""
        fault = self.first_fault(error) or self.watch.post(fault_of(error, self.rank, update))
        return error if fault.rank == self.rank or fault.kind == SIGNALLED else fault.error(self.size)

    def end(self, value: Any = None) -> None:
        """Tell the others that all is done, and wait until they have heard of it: the store ends with this process."""
        self.watch.all_done()
        with contextlib.suppress(RuntimeError):  # the launcher's store may be gone
            self.store.set(f"order/{self._orders}", pickle.dumps(End(value)))
            if self.watch.fault is None:
                _wait_for(self.store, [_left_key(rank) for rank in range(1, self.size)], LEAVE_S)

    def leave(self) -> None:
        """End the watch."""
        global _joined  # noqa: PLW0603 - as the team of `engine/distributed`
        _joined = None
        self.watch.stop()
        if self.rank:
            with contextlib.suppress(RuntimeError):
                self.store.set(_left_key(self.rank), "")


def join(processes: int | None) -> Members:
    """Join the other processes that torchrun has started, as this one; a second call returns the same.

    Rank 0 says of how many processes the script is. Raises UsageError if torchrun has started another number, or if
    they have joined to train a model file, EnvironmentFailure if the others don't come.
    """
    global _joined  # noqa: PLW0603 - as the team of `engine/distributed`
    place = launched_place()
    assert place is not None  # noqa: S101 - the caller has looked
    if current_team() is not None:
        raise UsageError(
            "under torchrun this function tries no script",
            hint="lrfinder.sweep_script does, and so do the commands: torchrun ... -m lrfinder verify RUN",
        )
    if place.rank == 0 and processes != place.size:
        made = "one process by itself" if processes is None else f"{processes} processes"
        raise UsageError(
            f"the script was swept as {made}, and torchrun has started {place.size}",
            hint="start it without torchrun" if processes is None else f"let torchrun start {processes} in all",
        )
    if _joined is None:
        _joined = _join(place)
    return _joined


def _join(place: Place) -> Members:
    prefix = next_prefix()
    own = {key: value for key, value in os.environ.items() if key.startswith(_OF_A_RANK)}
    try:
        store, ears, watched = (store_of(place, prefix) for _ in range(3))
        watch = Watch(watched, place, timeout_s=step_timeout_s(), ended=None)
        if place.rank == 0:
            call(store, Call(scripts=True))
        own["TORCHELASTIC_ERROR_FILE"] = ""  # where torchrun looks for an error of this process, not of the script's
        told = {"host": socket.gethostname(), "variables": own}
        store.set(_member_key(place.rank), pickle.dumps(told))
        keys = [_member_key(rank) for rank in range(place.size)]
        if not _wait_for(store, keys, JOIN_S):
            raise RuntimeError("not all of them came")  # noqa: TRY301 - as what torch raises
        everybodys = [pickle.loads(told) for told in store.multi_get(keys)]  # noqa: S301 - as in `next_order`
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0][:200]
        raise EnvironmentFailure(
            f"rank {place.rank} of {place.size} could not join the others: {first_line}",
            hint="torchrun must start the same command on every machine",
        ) from error
    watch.start()
    return Members(place, (store, ears), watch, everybodys)


def _member_key(rank: int) -> str:
    return f"member/{rank}"


def _left_key(rank: int) -> str:
    return f"left/{rank}"


def _said_key(machine: int, number: int) -> str:
    return f"said/{machine}/{number}"


def _wait_for(store: Any, keys: list[str], seconds: float) -> bool:
    """Wait until all keys are there, in a way that a signal ends; tell whether they are."""
    until = time.monotonic() + seconds
    while not (there := all(store.check([key]) for key in keys)) and time.monotonic() < until:
        time.sleep(POLL_S)
    return there
