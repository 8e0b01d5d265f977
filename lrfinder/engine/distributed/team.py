"""The processes of one job: joining them, the orders of rank 0, and numbers that all of them must know."""

from __future__ import annotations

import contextlib
import pickle
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from lrfinder.engine.distributed.environment import Place, launched_place, leave_status, step_timeout_s
from lrfinder.engine.distributed.launcher import POLL_S, Call, call, next_prefix, store_of
from lrfinder.engine.distributed.orders import End
from lrfinder.engine.distributed.watch import FAILED, GONE, GRACE_S, SIGNALLED, SILENT, Fault, Watch
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.runtime.failures import describe_error
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import EnvironmentFailure, LrfinderError, UsageError, error_text, user_code_location

_HELD = 64  # the last gathers whose tensors are kept: far more than a thread of gloo's can be behind
_SOON_S = 0.2  # for a short time orders are looked for ten times as often: most follow one another at once
VERDICT_S = 3.0  # seconds in which the reason of a broken connection becomes known
SIGNAL_VERDICT_S = 0.6  # the same after a signal, which a launcher sends to the others of a process that failed

# What torch says if a peer is gone; gloo has no class of its own.
_BROKEN = ("gloo", "connection closed by peer", "connection reset by peer", "nccl", "process group has been aborted")

_joined: Team | None = None


def current_team() -> Team | None:
    """Return the team that this process has joined; None if it works by itself."""
    return _joined


class Team:
    """`size` processes that run in step, of which this is `rank`; rank 0 gives the orders."""

    def __init__(self, place: Place, store: Any, watch: Watch, group: Any, *, owned: bool) -> None:
        self.rank, self.size = place.rank, place.size
        self.watch = watch
        self.broken = False  # a process has left the common way: no collective can end any more
        self.finds_unused = False  # weights may be left without a gradient, so DDP looks for them in each update
        self.divided = False  # each process has its part of every weight: no loss can be computed without the others
        self._store = store
        self._group = group  # of gloo, for numbers on the host
        self._owned = owned  # whether the default process group is ours
        # The end of a gloo group waits for its thread, with the interpreter's lock. If nothing here held the last
        # tensors, that thread would wait for the lock, to free them: both for ever.
        self._handed_over: deque[tuple[torch.Tensor, list[torch.Tensor]]] = deque(maxlen=_HELD)
        self._orders = 0
        self._mesh: Any = None
        self._patience_s = GRACE_S  # how long an order is waited for once a signal ends all

    @property
    def leads(self) -> bool:
        """Whether this process gives the orders."""
        return self.rank == 0

    def tell(self, order: object) -> None:
        """Give an order to all others, if this process leads. Raises the first fault, if there is one."""
        if not self.leads or (self.broken and not isinstance(order, End)):
            return
        if not isinstance(order, End):
            self._check()
        self._store.set(f"order/{self._orders}", pickle.dumps(order))
        self._orders += 1

    def next_order(self) -> Any:
        """Wait for the next order of rank 0 and return it. Raises the first fault, if there is one."""
        key = f"order/{self._orders}"
        began = time.monotonic()
        while not self._store.check([key]):
            waited = time.monotonic() - began
            fault = self.watch.fault
            if fault is not None and fault.kind == SIGNALLED and self._patience_s > 0:
                self._patience_s -= POLL_S  # rank 0 still says what was measured
            else:
                self._check()
            time.sleep(POLL_S if waited > _SOON_S else POLL_S / 10)
        self._orders += 1
        return pickle.loads(self._store.get(key))  # noqa: S301 - from rank 0 of this job, as torch's own objects are

    def gather(self, numbers: Sequence[float]) -> list[list[float]]:
        """Return the numbers of every process, by rank; as many on each."""
        mine = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        work, everybodys = self.start_gather(mine)
        work.wait()
        found: list[list[float]] = everybodys.tolist()
        return found

    def start_gather(self, mine: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Start to gather a row of float64 on the host; return the work to wait for, and the rows by rank."""
        everybodys = torch.empty((self.size, mine.numel()), dtype=torch.float64, device="cpu")
        rows = list(everybodys.unbind())
        self._handed_over.append((mine, rows))
        return dist.all_gather(rows, mine, group=self._group, async_op=True), everybodys

    def mesh(self, device: torch.device) -> Any:
        """Return the processes as torch's DeviceMesh; the same one each time."""
        if self._mesh is None:
            from torch.distributed.device_mesh import init_device_mesh

            self._mesh = init_device_mesh(device.type, (self.size,))
        return self._mesh

    def agree_on_marks(self) -> None:
        """Count on from a number that is the same on all: in between each may have done more or less than others."""
        self.watch.marks = (self.watch.marks // 1_000_000 + 1) * 1_000_000

    def failed(self, error: BaseException, update: int | None) -> BaseException:
        """Take note of `error`, and return what is to be raised for it: the failure of another process, if that was it.

        From here on no collective is begun. The first failure of all is what every process ends by.
        """
        self.broken = True
        cause = self._cause(error, update)
        self._hang_up()
        return cause

    def _cause(self, error: BaseException, update: int | None) -> BaseException:
        signalled = isinstance(error, KeyboardInterrupt | Terminated)
        if signalled or _is_broken_connection(error):
            fault = self.watch.first_fault(SIGNAL_VERDICT_S if signalled else VERDICT_S)
            if fault is None or (fault.rank == self.rank and fault.kind == SIGNALLED):
                fault = self.watch.post(fault_of(error, self.rank, update))
            if fault.kind != SIGNALLED:
                return fault.error(self.size)
            if signalled:
                return error
            return KeyboardInterrupt() if fault.status == 130 else Terminated(f"rank {fault.rank}: {fault.text}")  # noqa: PLR2004
        self.watch.post(fault_of(error, self.rank, update))
        return error

    def leave(self) -> None:
        """End the watch, and the process group if it was made here."""
        global _joined  # noqa: PLW0603 - as torch's default group, which it stands beside
        _joined = None
        self.watch.stop()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the connections, so that who waits for this process in a collective is told; the orders still come."""
        group, self._group = self._group, None
        _destroy(group, owned=self._owned)

    def _check(self) -> None:
        if self.watch.fault is not None:
            self.broken = True
            self.watch.fault.raise_it(self.size)


def join(device: str) -> Team | None:
    """Join the other processes that torchrun started, and return the team; None if it didn't start this one.

    All processes call it; a second call returns the same team. A process group is made unless there is one: nccl on
    CUDA with one device a process, gloo on the CPU. Raises UsageError if there are fewer devices than processes,
    EnvironmentFailure if the others don't come.
    """
    global _joined  # noqa: PLW0603 - as torch's default group, which it stands beside
    place = launched_place()
    if _joined is not None or place is None:
        return _joined
    target = _own_device(device, place)
    prefix = next_prefix()
    owned, group = not dist.is_initialized(), None
    try:
        first = store_of(place) if not owned else next(iter(rendezvous("env://")))[0]
        store = PrefixStore(prefix, first)
        watch = Watch(
            PrefixStore(prefix, store_of(place)), place, timeout_s=step_timeout_s(), ended=partial(_say, place)
        )
        if place.rank == 0:
            call(store, Call(device=device))
        if owned:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if target.type == "cuda" else "gloo",
                store=PrefixStore("group", store),
                rank=place.rank,
                world_size=place.size,
                device_id=target if target.type == "cuda" else None,
            )
        dist.barrier(group := dist.new_group(backend="gloo"))
    except BaseException as error:
        _destroy(group, owned=owned)
        if not isinstance(error, dist.DistError | RuntimeError):
            raise
        first_line = str(error).partition("\n")[0][:200]
        raise EnvironmentFailure(
            f"rank {place.rank} of {place.size} could not join the others: {first_line}",
            hint="every process must call lrfinder; if its machine can't find itself by name: GLOO_SOCKET_IFNAME=lo",
        ) from error
    if target.type == "cuda":
        watch.abort = lambda: dist.distributed_c10d._get_default_group().abort()  # noqa: SLF001 - no public name
    watch.start()
    _joined = Team(place, store, watch, group, owned=owned)
    return _joined


def _destroy(group: Any, *, owned: bool) -> None:
    """Destroy the group that was made for numbers, and with it all, if the default one is ours; torch warns else."""
    with contextlib.suppress(Exception):
        if owned:
            dist.destroy_process_group()
        elif group is not None:
            dist.destroy_process_group(group)


def may_speak(fault: Fault | None, rank: int) -> bool:
    """Return whether this process tells people of `fault`: rank 0 does, or the next one if that can't any more."""
    lost = fault is not None and fault.rank == 0 and fault.kind in {GONE, SILENT}
    return rank == (1 if lost else 0)


def _say(place: Place, fault: Fault) -> None:
    """Say why the process ends, where its main thread can't."""
    if may_speak(fault, place.rank):
        error = fault.error(place.size)
        hint = f"\n  {error.hint}" if error.hint else ""
        with contextlib.suppress(OSError):
            sys.stderr.write(f"lrfinder: {error}{hint}\n")
            sys.stderr.flush()
        leave_status(fault.status)


def _own_device(name: str, place: Place) -> torch.device:
    device = choose_device(name)
    if device.type != "cuda":
        return device
    index: int | None = device.index  # torch's own annotation leaves the None out
    if index is not None and place.size > 1:
        raise UsageError(f"device {name!r} is one for {place.size} processes", hint="leave the number out")
    if place.local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"{place.local_size} processes need a CUDA device each, and there are {torch.cuda.device_count()}",
            hint="use fewer processes, or --device cpu",
        )
    torch.cuda.set_device(place.local_rank)
    return torch.device("cuda", place.local_rank)


def _is_broken_connection(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(sign in error_text(error).lower() for sign in _BROKEN)


def fault_of(error: BaseException, rank: int, update: int | None) -> Fault:
    """Return `error` of this process, in the update that was to be made then, as a fault."""
    if isinstance(error, KeyboardInterrupt):
        return Fault(rank=rank, kind=SIGNALLED, update=update, text="interrupted", status=130)
    if isinstance(error, Terminated):
        return Fault(rank=rank, kind=SIGNALLED, update=update, text=str(error) or "terminated", status=143)
    if isinstance(error, LrfinderError):
        text, hint = str(error), error.hint
        return Fault(rank=rank, kind=FAILED, update=update, text=text, status=error.exit_status, hint=hint)
    if user_code_location(error) is None:
        return Fault(rank=rank, kind=FAILED, update=update, text=describe_error(error), status=4)
    return Fault(rank=rank, kind=FAILED, update=update, text=describe_error(error), status=3)
