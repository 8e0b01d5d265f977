"""The heartbeat of several processes: who has failed first, is gone or hangs, and in which update.

Each process writes a few times a second how far it is into the store that the launcher holds, and reads how far the
others are. The first failure is written there once, and all end because of it: a process whose peer is gone may wait in
a collective for ever, where no exception of Python's reaches it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from lrfinder.engine.distributed.environment import Place
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import EnvironmentFailure, LrfinderError, ModelFileError, UsageError

PERIOD_S = 0.2  # seconds between two looks: engine/README.md#period_s
GRACE_S = 5.0  # seconds that a process has to end by itself once another has failed: engine/README.md#grace_s
FIRST = 5.0  # times the limit for the first updates, which compile and choose kernels: engine/README.md#first

FAILED, SIGNALLED, GONE, SILENT, HUNG = "failed", "signalled", "gone", "silent", "hung"
_ENDED = b"ended"  # instead of a fault: all is done, and processes may go
_KINDS: dict[int, type[LrfinderError]] = {2: UsageError, 3: ModelFileError, 4: EnvironmentFailure}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first failure of a job: `update` was to be made then, None if that was outside of updates."""

    rank: int
    kind: str
    text: str
    status: int  # the exit status that it means
    update: int | None = None
    hint: str | None = None

    def error(self, size: int) -> LrfinderError:
        """Return the failure as an error of the job's `size` processes."""
        when = "" if self.update is None else f" in update {self.update}"
        kind = _KINDS.get(self.status, EnvironmentFailure)
        return kind(f"rank {self.rank} of {size} failed first{when}: {self.text}", hint=self.hint)

    def raise_it(self, size: int) -> NoReturn:
        """Raise the failure as an error; a signal that came to a process as the one that it raises here."""
        if self.kind != SIGNALLED:
            raise self.error(size)
        if self.status == 130:  # noqa: PLR2004 - Ctrl-C
            raise KeyboardInterrupt
        raise Terminated(f"rank {self.rank}: {self.text}")


class Watch:
    """Beats for this process and watches the others; `store` is a connection of its own.

    `marks` count what all processes do in the same order, so that the one with the fewest is the one that the others
    wait for. While `busy` the next mark must come within `timeout_s` seconds (0: no limit).
    """

    def __init__(
        self,
        store: Any,
        place: Place,
        *,
        timeout_s: float,
        ended: Callable[[Fault], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ended(fault)` says and leaves what is to be said of a job that ends hard, before this process does.

        None: this one waits in no collective, and is left to end by itself.
        """
        self.marks = 0
        self.busy = False
        self.update: int | None = None
        self.fault: Fault | None = None
        self.abort: Callable[[], object] | None = None  # frees a main thread that waits for a device
        self._store = store
        self._place = place
        self._timeout_s = timeout_s
        self._ended = ended
        self._clock = clock
        self._host = socket.gethostname()
        self._tick = 0
        self._seen = (-1, clock())  # the marks at the last look, and since when they are so many
        self._ticks: dict[int, tuple[int, float]] = {}
        self._dead: set[int] = set()
        self._until: float | None = None  # when this process ends hard
        self._stop = threading.Event()
        self._main = threading.main_thread().ident or 0
        self._thread = threading.Thread(target=self._watch, name="lrfinder-watch", daemon=True)
        if place.rank == 0:
            store.set("fault", b"-")
        self._beat()

    def start(self) -> None:
        """Begin to watch; every process has made its Watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)

    def all_done(self) -> None:
        """Let the processes go, in whatever order."""
        with contextlib.suppress(Exception):  # the store may be gone
            self._store.compare_set("fault", "-", _ENDED.decode())

    def post(self, fault: Fault) -> Fault:
        """Write `fault` into the store, if it is the first one; return the first one."""
        with contextlib.suppress(Exception):  # the store may be gone
            kept = self._store.compare_set("fault", "-", json.dumps(asdict(fault)))
            fault = _read(kept) or fault
        self.fault = self.fault or fault
        return self.fault

    def first_fault(self, wait_s: float) -> Fault | None:
        """Return the first fault; wait for it `wait_s` seconds at most."""
        until = self._clock() + wait_s
        while self.fault is None and self._clock() < until and not self._stop.is_set():
            time.sleep(PERIOD_S / 10)
        return self.fault

    def unheard(self, since: float) -> int | None:
        """Return a process that hasn't beaten since that time of the clock; None if all others have."""
        last = dict(self._ticks)
        others = (rank for rank in range(self._place.size) if rank != self._place.rank)
        return next((rank for rank in others if last.get(rank, (0, -math.inf))[1] < since), None)

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._look()
            except Exception:  # noqa: BLE001 - whatever the store says: its process is gone
                if not self._stop.is_set():
                    lost = Fault(rank=self._place.rank, kind=GONE, text="the launcher of the processes ended", status=4)
                    self.fault = self.fault or lost
                    self._count_down()

    def _look(self) -> None:
        self._beat()
        others = [rank for rank in range(self._place.size) if rank != self._place.rank]
        found = self._store.multi_get(["fault", *(_key(rank) for rank in others)])
        if bytes(found[0]) == _ENDED:
            self._stop.set()
            return
        self.fault = self.fault or _read(found[0])
        beats = {rank: json.loads(beat) for rank, beat in zip(others, found[1:], strict=True)}
        if self.fault is None:
            self._find_fault(beats)
        if self.fault is not None:
            self._count_down()

    def _beat(self) -> None:
        self._tick += 1
        beat = {"tick": self._tick, "marks": self.marks, "update": self.update, "pid": os.getpid(), "host": self._host}
        self._store.set(_key(self._place.rank), json.dumps(beat))

    def _find_fault(self, beats: dict[int, dict[str, Any]]) -> None:
        now = self._clock()
        if self._seen[0] != self.marks:
            self._seen = (self.marks, now)
        allowed = self._timeout_s * (FIRST if not self.update else 1.0)
        last = all(self.marks <= beat["marks"] for beat in beats.values())
        if self.busy and last and self._timeout_s and now - self._seen[1] > allowed:
            text = f"it has made no progress for {allowed:g} s"
            hint = f"it was at {_place_of(self._main)}; a step that needs longer: LRFINDER_STEP_TIMEOUT=SECONDS"
            self.post(Fault(rank=self._place.rank, kind=HUNG, update=self.update, text=text, status=4, hint=hint))
            return
        for rank, beat in beats.items():
            tick, since = self._ticks.get(rank, (-1, now))
            self._ticks[rank] = (beat["tick"], now if beat["tick"] != tick else since)
            if beat["host"] == self._host and not _lives(beat["pid"]):
                if rank in self._dead:  # a look ago, too: it had the time to say why
                    self._post_gone(rank, beat)
                self._dead.add(rank)
            elif self._timeout_s and now - self._ticks[rank][1] > self._timeout_s:
                text = f"nothing was heard of it for {self._timeout_s:g} s: it is stopped, or its machine is gone"
                self.post(Fault(rank=rank, kind=SILENT, update=self._in_update(beat), text=text, status=4))

    def _post_gone(self, rank: int, beat: dict[str, Any]) -> None:
        text = f"its process ({beat['pid']}) is gone without a word: it was killed, or ended itself"
        self.post(Fault(rank=rank, kind=GONE, update=self._in_update(beat), text=text, status=4, hint=_WHY_GONE))

    def _in_update(self, beat: dict[str, Any]) -> int | None:
        """Return the update that a process was in that says no more: the last that it told of, or that waits for it."""
        return max((made for made in (beat["update"], self.update) if made is not None), default=None)

    def _count_down(self) -> None:
        """Let the main thread end by itself, then help it, then end the process."""
        now, fault = self._clock(), self.fault
        assert fault is not None  # noqa: S101 - the caller has looked
        own = fault.rank == self._place.rank and fault.kind in {HUNG, GONE}
        if self._until is None:
            self._until = now + (GRACE_S / 2 if own else GRACE_S)
            if own:  # code that waits in Python is interrupted, and the objects are put back
                signal.pthread_kill(self._main, signal.SIGTERM)
            return
        if self._ended is None:
            return
        if self.abort is not None and now > self._until - GRACE_S / 2:
            abort, self.abort = self.abort, None
            with contextlib.suppress(Exception):
                abort()
        if now > self._until:
            self._ended(fault)
            os._exit(fault.status)


_WHY_GONE = "processes are often killed for lack of memory: use a smaller batch (`--batch-size N`) or fewer processes"


def _key(rank: int) -> str:
    return f"beat/{rank}"


def _read(value: bytes) -> Fault | None:
    text = bytes(value)
    return None if text in {b"-", _ENDED, b""} else Fault(**json.loads(text))


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _place_of(thread: int) -> str:
    """Return where the user's code is in `thread`: the innermost line outside of installed packages and lrfinder."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the documented way to look at another thread
    stack = traceback.extract_stack(frame) if frame is not None else []
    own = str(Path(__file__).parents[2])
    for place in reversed(stack):
        path = place.filename
        if not (path.startswith(("<", own)) or "site-packages" in path or path == threading.__file__):
            return f"{path}, line {place.lineno}, in {place.name}"
    return "an unknown place"
