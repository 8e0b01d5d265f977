"""Which trial is made on which node of a cluster, and what a trial, a process or a node that fails costs.

A trial takes whole devices of one node. One whose process or node is lost is made again, at most twice. One that fails
is made again elsewhere: if it succeeds there, the node is to blame and gets no more trials, else the trial is.
"""

from __future__ import annotations

import heapq
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lrfinder.api.training.failure import Failure
from lrfinder.api.training.trial import Trial, TrialSpec
from lrfinder.errors import EnvironmentFailure, OwnWarning

RETRIES = 2  # a trial is made at most once and twice again
LOOK_S = 1.0  # seconds between two looks at which nodes there are
REST_S = 2.0  # seconds without new trials for a node that lost one, times how often in a row it did
BLAMED = 2  # times in a row that a node lost trials, each since it had rested, for it to be left out
NOBODY_S = 60.0  # seconds to wait for a node if there is none any more


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster: its name for people, and how many devices it has."""

    name: str
    devices: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The process of a trial is gone, or with it its node. If the trial never `began`, that is no attempt."""

    why: str
    node_too: bool = False
    began: bool = True


Outcome = Trial | Failure | Lost


class Cluster(Protocol):
    """Where trials are made."""

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes that are alive, by their identity."""

    def start(self, number: int, spec: TrialSpec, node: str) -> None:
        """Start a trial on a node; `number` is the caller's name for it."""

    def next_end(self, seconds: float) -> tuple[int, Outcome] | None:
        """Wait for a trial to end, and return its number and how it ended; None if none does in so many seconds."""


@dataclass(slots=True, eq=False)
class _Attempts:
    """A trial, and where it failed and was lost so far."""

    spec: TrialSpec
    failed: dict[str, Failure] = field(default_factory=dict)
    lost: dict[str, Lost] = field(default_factory=dict)
    count: int = 0  # attempts that have ended

    def blame(self) -> BaseException:
        """Return what to raise if it is given up: its own first failure, or that it was lost."""
        for failure in self.failed.values():
            return failure.error()
        why = next(reversed(self.lost.values())).why
        return EnvironmentFailure(
            f"a trial's process was lost {self.count} times, at last since {why}",
            hint="processes are often killed for lack of memory; the same command carries on",
        )


_Running = dict[int, tuple[_Attempts, str, float]]  # by number: the trial, its node, and when it was started


class Dispatcher:
    """Makes trials on the nodes of a cluster, `devices_per_trial` for each.

    `left_out` says which nodes get no more trials, and why; each is told as a warning, too.
    """

    def __init__(
        self, cluster: Cluster, *, devices_per_trial: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.left_out: dict[str, str] = {}
        self._cluster = cluster
        self._share = devices_per_trial
        self._clock = clock
        self._nodes: Mapping[str, Node] = {}
        self._names: dict[str, str] = {}  # also of nodes that are gone
        self._looked = -float("inf")
        self._gone: set[str] = set()
        self._busy: Counter[str] = Counter()  # trials on each node
        self._resting: dict[str, float] = {}  # until when
        self._lost: Counter[str] = Counter()  # times in a row that a node lost trials: several at once are one
        self._lost_at: dict[str, float] = {}
        self._numbers = 0

    def run(self, specs: Sequence[TrialSpec]) -> Iterator[Trial]:
        """Yield the trials as they end.

        Raises what a trial fails with that fails elsewhere, too; EnvironmentFailure if it was lost too often, or if
        there is no node any more.
        """
        waiting = deque(_Attempts(spec) for spec in specs)
        running: _Running = {}
        nobody_since: float | None = None
        while waiting or running:
            self._look()
            self._start(waiting, running)
            if running or self._usable():
                nobody_since = None
            elif nobody_since is None:
                nobody_since = self._clock()
            elif self._clock() - nobody_since > NOBODY_S:
                raise EnvironmentFailure(self._no_node(), hint="the same command carries on")
            ended = self._cluster.next_end(LOOK_S)
            if ended is None:
                continue
            attempts, node, begun = running.pop(ended[0])
            self._busy[node] -= 1
            if isinstance(ended[1], Trial):
                self._succeeded(attempts, node)
                yield ended[1]
            else:
                self._failed(attempts, node, begun, ended[1])
                waiting.appendleft(attempts)

    def _look(self) -> None:
        """See which nodes there are, if that was long enough ago."""
        if self._clock() - self._looked >= LOOK_S:
            self._nodes = self._cluster.nodes()
            self._names.update((identity, node.name) for identity, node in self._nodes.items())
            self._looked = self._clock()

    def _usable(self) -> list[str]:
        """Return the nodes that are there, not left out, and large enough."""
        return [
            identity
            for identity, node in self._nodes.items()
            if identity not in self._gone and identity not in self.left_out and node.devices >= self._share
        ]

    def _start(self, waiting: deque[_Attempts], running: _Running) -> None:
        """Start what finds free devices, the node with the most of them first."""
        if not waiting:
            return
        now, usable = self._clock(), self._usable()
        free = []
        for identity in usable:
            room = self._nodes[identity].devices // self._share - self._busy[identity]
            if room > 0 and self._resting.get(identity, now) <= now:
                free.append((-room, identity))
        heapq.heapify(free)
        stay: list[_Attempts] = []
        while free and waiting:
            attempts = waiting.popleft()
            node = self._take(free, self._shunned(attempts, usable))
            if node is None:
                if attempts.failed and attempts.failed.keys() >= set(usable):  # the others are gone
                    raise attempts.blame()
                stay.append(attempts)
                continue
            self._numbers += 1
            self._busy[node] += 1
            running[self._numbers] = attempts, node, now
            self._cluster.start(self._numbers, attempts.spec, node)
        waiting.extendleft(reversed(stay))

    @staticmethod
    def _take(free: list[tuple[int, str]], shunned: frozenset[str]) -> str | None:
        """Take a device of the node with the most free ones, but for some nodes; None if there is none."""
        if shunned:
            node = min((entry for entry in free if entry[1] not in shunned), default=None)
            if node is None:
                return None
            free.remove(node)
            heapq.heapify(free)
        else:
            node = heapq.heappop(free)
        if node[0] < -1:
            heapq.heappush(free, (node[0] + 1, node[1]))
        return node[1]

    @staticmethod
    def _shunned(attempts: _Attempts, usable: list[str]) -> frozenset[str]:
        """Return where a trial is not made again: where it failed; also where it was lost, if there is another node."""
        if not attempts.count:
            return frozenset()
        gone_wrong = frozenset(attempts.failed) | frozenset(attempts.lost)
        return gone_wrong if any(node not in gone_wrong for node in usable) else frozenset(attempts.failed)

    def _succeeded(self, attempts: _Attempts, node: str) -> None:
        self._lost[node] = 0
        for other, failure in attempts.failed.items():
            self._leave_out(other, f"a trial failed on it that succeeded elsewhere: {failure.text}")
        for other in attempts.lost:
            if self._lost[other] >= BLAMED and other not in self._gone:
                self._leave_out(other, f"{self._lost[other]} times it lost trials that succeeded elsewhere")

    def _failed(self, attempts: _Attempts, node: str, begun: float, outcome: Failure | Lost) -> None:
        """Note an attempt that failed; raise what the trial is given up with, if it is."""
        if isinstance(outcome, Failure):
            attempts.failed[node] = outcome
            attempts.count += 1
            elsewhere = set(self._usable()) - set(attempts.failed)
            if not elsewhere or attempts.count > RETRIES:
                raise attempts.blame()
            return
        if begun >= self._lost_at.get(node, begun):
            self._lost[node] += 1
        self._lost_at[node] = self._clock()
        self._resting[node] = self._clock() + REST_S * self._lost[node]
        if outcome.node_too:  # the cluster itself may need a quarter of a minute to see it
            self._gone.add(node)
        if outcome.began:
            attempts.lost[node] = outcome
            attempts.count += 1
        if attempts.count > RETRIES:
            raise attempts.blame()

    def _leave_out(self, node: str, why: str) -> None:
        if node not in self.left_out:
            self.left_out[node] = why
            warnings.warn(f"{self._names[node]} is left out: {why}", OwnWarning, stacklevel=4)

    def _no_node(self) -> str:
        if self.left_out:
            reasons = "; ".join(f"{self._names[node]}: {why}" for node, why in self.left_out.items())
            return f"no node is left to make trials on. Left out: {reasons}"
        count = "a device" if self._share == 1 else f"{self._share} devices"
        return f"no node with {count} is left in the cluster"
