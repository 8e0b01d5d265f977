"""One of several processes: the first decides and returns, the others follow it. See `engine/distributed/`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lrfinder.api.sweeping.model_file import load_source_problem
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.engine.distributed.orders import (
    Begin,
    CloseRuns,
    End,
    LoadModel,
    MakeRun,
    MakeSweep,
    MeasureNoise,
    OpenRuns,
)
from lrfinder.engine.distributed.team import Team, join
from lrfinder.engine.gradient_noise import measure_noise
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.store import load_source
from lrfinder.task.problem import Problem
from lrfinder.task.source import modules_put_back

_Value = TypeVar("_Value")


def together(lead: Callable[[], _Value], *, device: str, live: Callable[[], Problem] | None = None) -> _Value:
    """Return what `lead` returns, on every process of a job that torchrun started; else just call it.

    Rank 0 calls `lead`; the others do what it tells them, with the problem that `live` makes, if there is one. Raises
    what `lead` raises there; on the others, and if one of them fails, what the first failure was.
    """
    team = join(device)
    if team is None:
        return lead()
    try:
        value = lead() if team.leads else follow(team, live() if live is not None else None)
        if team.leads:
            finish(team, value)
    except BaseException as error:
        cause = team.failed(error, None)
        if cause is error:
            raise
        raise cause from error
    else:
        return value
    finally:
        team.leave()


def device_of(run: Path) -> str:
    """Return the device of a run folder, on which the processes of a job join; a process by itself has none to join."""
    return "auto" if launched_place() is None else load_source(run).device


def finish(team: Team, value: Any = None) -> None:
    """Tell the others that all is done."""
    team.watch.all_done()
    team.tell(End(value))


def follow(team: Team, problem: Problem | None = None) -> Any:
    """Do what rank 0 says until it ends, and return what it returns.

    Raises what the engine raises here, and the first failure of another process.
    """
    follower = _Follower(problem)
    with modules_put_back(), contextlib.closing(follower):
        while not isinstance(order := team.next_order(), End):
            follower.obey(order, team)
    return order.value


class _Follower:
    """What this process has built by the orders so far."""

    def __init__(self, problem: Problem | None) -> None:
        self._problem = problem
        self._device = choose_device("cpu")
        self._batching = MicroBatching()
        self._runs: ShortRuns | None = None
        self._stack = contextlib.ExitStack()

    def obey(self, order: object, team: Team) -> None:
        """Do what `order` says."""
        match order:
            case LoadModel(source, seed):
                self._problem = load_source_problem(source, seed=seed)
            case Begin(settings, device):
                self._device = choose_device(device)
                self._batching = micro_batching_for(self._known, settings, self._device, team=team)
            case MakeSweep(settings, known):
                observer, batching = Observer(), self._batching
                run_sweep(self._known, settings, device=self._device, observer=observer, batching=batching, known=known)
            case OpenRuns(seed):
                runs = ShortRuns(
                    self._known, seed=seed, device=self._device, observer=Observer(), batching=self._batching
                )
                self._runs = self._stack.enter_context(runs)
            case MakeRun(plan) if self._runs is not None:
                self._runs.run(plan)
            case MeasureNoise(plan, batch) if self._runs is not None:
                measure_noise(self._runs, plan, batch=batch)
            case CloseRuns():
                self.close()
            case _:
                raise TypeError(f"an order that makes no sense here: {order}")

    def close(self) -> None:
        """Put the objects of the short runs back."""
        self._runs = None
        self._stack.close()

    @property
    def _known(self) -> Problem:
        if self._problem is None:
            raise TypeError("no model was loaded")
        return self._problem
