"""Several processes of the script in one training, as torchrun starts them: watched each, and judged as one.

Each rank sends the losses that it sees itself. The loss of an update is their mean, and what that says ends all ranks
at the same update, however far each has come by then. Nothing is exchanged between the ranks but what the script itself
exchanges.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.options import Stop
from lrfinder.scripts.machines.layout import Layout
from lrfinder.scripts.process import WAIT_S, Running

LATER_S = 10.0  # that ranks may take to end after another one has come to its end
GONE_S = 1.0  # that the death of a rank may take to be seen, once others have failed because of it


class ScriptJob:
    """The processes of one trial, with the methods of a ScriptProcess. At its end all are gone.

    `failed_rank` is the one that failed first.
    """

    def __init__(self, layout: Layout, plan: Mapping[str, Any], *, log: Path) -> None:
        """Start the processes where the layout says; rank 0 writes to `log`, the others to files in its scratch."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch names it in no __all__

        size = self._size = layout.processes or 1
        self._layout = layout
        self._steps, self._drift = len(plan["rates"]), plan["drift"]
        self._rule: DivergenceRule | None = None
        self._losses: list[deque[dict[str, Any]]] = [deque() for _ in range(size)]
        self._firsts: list[dict[str, Any]] = []
        self._latest: dict[int, dict[str, Any]] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._until = math.inf  # when the ranks must have ended that haven't
        self._agreed = 0  # losses that all ranks have sent
        self._over = False
        self.failed_rank = 0
        self.logs = [log, *(layout.here.scratch / f"rank-{rank}.log" for rank in range(1, size))]
        # The controller holds the store, as torchrun does: so no port can be taken by others in between.
        self._store = TCPStore(layout.host, 0, is_master=True, wait_for_workers=False)
        with contextlib.ExitStack() as stack:
            self._processes: list[Running] = [
                stack.enter_context(layout.start({**plan, "rank": rank, "variables": variables}, self.logs[rank]))
                for rank in range(size)
                for variables in [layout.variables(rank, self._store.port)]
            ]
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._stack.__exit__(kind, error, trace)

    def messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield what one process would send: the means of the losses, one end, and what the file guards of all say.

        There is no end if a rank is gone without a word. Raises TimeoutError at `deadline`, and the first fault of
        lrfinder's own processes.
        """
        with selectors.DefaultSelector() as selector:
            for rank, process in enumerate(self._processes):
                selector.register(process.reading, selectors.EVENT_READ, rank)
            while True:
                ready = selector.select(WAIT_S)
                for key, _ in ready:
                    come = self._processes[key.data].come()
                    if come is None:
                        selector.unregister(key.fileobj)
                    for message in come or ():
                        yield from self._taken(key.data, message)
                        if self._over:
                            return
                self._layout.check()
                lost = self._lost_rank()
                if not ready and lost is not None:  # all that it has sent was read
                    self.failed_rank = lost
                    return
                if time.monotonic() >= self._until:
                    yield self._end_of_all()
                    return
                if time.monotonic() >= deadline:
                    raise TimeoutError

    def rest(self) -> list[dict[str, Any]]:
        """Return what the processes, which were ended, had still said."""
        return [message for process in self._processes for message in process.rest()]

    def exit_status(self) -> int:
        """Return the status of the rank that failed first; all are gone then."""
        lost = self._processes[self.failed_rank]
        status = lost.exit_status() if lost.is_gone else 0
        self.kill()
        return status

    def kill(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()

    def _lost_rank(self) -> int | None:
        return next((rank for rank, process in enumerate(self._processes) if process.is_gone), None)

    def _taken(self, rank: int, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = message["kind"]
        if kind == "loss":
            self._latest[rank] = message
            self._losses[rank].append(message)
            while all(self._losses) and not self._over:
                yield from self._agree([of_rank.popleft() for of_rank in self._losses])
        elif kind == "end":
            self._latest[rank] = self._ends[rank] = message
            yield from self._judge_end(rank, message)
        elif kind == "first":
            self._firsts = sorted([*self._firsts, {**message, "rank": rank}], key=lambda first: int(first["rank"]))
            if len(self._firsts) == self._size:
                sizes = {first["batch_size"] for first in self._firsts}
                yield {**self._firsts[0], "batch_size": sizes.pop() if len(sizes) == 1 else None}
        elif rank == 0 or kind != "started":
            yield message

    def _agree(self, everybodys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the mean loss of an update, and the end if it says so.

        It is the plain mean, whatever the samples of each rank: so DistributedDataParallel averages the gradients, too.
        """
        loss = sum(message["loss"] for message in everybodys) / self._size
        updates = self._agreed
        self._agreed += 1
        yield {"kind": "loss", "loss": loss, "updates": updates}
        if not math.isfinite(loss):
            rank = next((rank for rank, message in enumerate(everybodys) if message["why"]), 0)
            yield self._end(Stop.NON_FINITE, f"on rank {rank} {everybodys[rank]['why']}", updates)
            return
        if self._rule is None:
            drift = math.inf if self._drift is None else self._drift
            self._rule = DivergenceRule(least_rise=LEAST_SHARE * abs(loss) + drift)
        if self._rule.observe(loss):
            yield self._end(Stop.DIVERGED, self._rule.reason, updates)
        elif updates == self._steps:
            yield self._end(Stop.COMPLETED, "", updates)

    def _judge_end(self, rank: int, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        stop = Stop(message["stop"])
        if stop in {Stop.FAILED, Stop.NON_FINITE}:
            until = time.monotonic() + (0.0 if message["refused"] else GONE_S)
            while (lost := self._lost_rank()) is None and time.monotonic() < until:
                time.sleep(WAIT_S / 10)
            if lost is None and not message["refused"]:
                self._layout.check_all_live()
            self.failed_rank, self._over = (rank if lost is None else lost), True
            if lost is None:  # else the others have failed because of it
                yield self._end(stop, message["why"], message["updates"], refused=message["refused"])
        elif len(self._ends) == self._size:
            yield self._end_of_all()
        else:
            self._until = min(self._until, time.monotonic() + LATER_S)

    def _end_of_all(self) -> dict[str, Any]:
        """Return the end of ranks that have come to theirs; what one of them alone measured doesn't count."""
        first = min(self._ends.values(), key=lambda message: int(message["updates"]))
        return self._end(Stop(first["stop"]), first["why"], first["updates"])

    def _end(self, stop: Stop, why: str, updates: int, *, refused: bool = False) -> dict[str, Any]:
        self._over = True
        state = self._latest.get(0) or next(iter(self._latest.values()))
        told = {key: state[key] for key in ("skipped", "fresh", "own_rate_moved", "stepping_s", "pausing_s")}
        memory = max(message["memory"] for message in self._latest.values())
        ended = {"kind": "end", "stop": stop.value, "why": why, "refused": refused, "held_out": None, "idle": ""}
        return ended | told | {"updates": updates, "memory": memory}
