"""Two processes of lrfinder, each as on a machine of its own: the test is rank 0, and a fork of it is rank 1."""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore

import lrfinder
from lrfinder.engine.distributed.environment import launch_variables
from lrfinder.errors import LrfinderError
from lrfinder.scripts.process import ForkServer

Starter = Callable[[ForkServer], Callable[..., Any]]
MADE = 6  # updates, after which something happens
STARTER = "lrfinder.scripts.machines.machine.starter"


class Apart:
    """Sweeps ddp.py by both. `here` and `there` are their working folders.

    `servers` fork the script's processes of each rank, and `run` is the run folder. Afterwards `other` is rank 1's
    process, which has ended, and `told` is what it got: the losses, or the error.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        starter: Starter,
        *,
        here: Path,
        there: Path,
        run: Path,
        servers: tuple[ForkServer, ForkServer],
    ) -> None:
        self.here, self.there, self.run = here, there, run
        self.host = socket.gethostname()  # of rank 1
        self.other: Any = None
        self.told: Any = None
        self._shares = True  # the server of rank 1
        self._patch, self._starter, self._servers = patch, starter, servers
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def sweep(self, *arguments: str, when: Callable[[int], object] | None = None) -> Any:
        """Sweep, and return what rank 0 gets; `when` is called with the id of rank 1's process after some updates.

        Then rank 1 has a server of its own, that ends with it: one that is shared would go on to wait for its fork.
        """
        self._shares = when is None
        gc.collect()  # an earlier test's store, collected in a fork, would wait for its thread, which isn't there
        told, tells = multiprocessing.Pipe(duplex=False)
        self.other = multiprocessing.get_context("fork").Process(target=self._follow, args=(tells, arguments))
        self.other.start()
        tells.close()
        if when is not None:
            threading.Thread(target=self._call, args=(when,), daemon=True).start()
        try:
            return self._swept(0, self.here, arguments)
        finally:
            if told.poll(30):
                try:
                    self.told = told.recv()
                except EOFError:
                    self.told = "nothing"
            self.other.join(10)
            if self.other.is_alive():
                self.other.kill()
                self._servers[1].close()  # no later test may use it
                raise AssertionError("rank 1 has not ended")

    def _follow(self, tells: Any, arguments: tuple[str, ...]) -> None:
        self._patch.setattr(socket, "gethostname", lambda: self.host)
        if self._shares:
            self._patch.setattr(ForkServer, "is_gone", False)  # it is no child of this process
        told: Any
        try:
            told = [trace.losses for trace in self._swept(1, self.there, arguments).sweep.traces]
        except LrfinderError as error:
            told = error
        tells.send(told)
        os._exit(0)

    def _swept(self, rank: int, folder: Path, arguments: tuple[str, ...]) -> Any:
        of_machine = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank), "GROUP_WORLD_SIZE": "2"}
        for name, value in (launch_variables(rank, 2, "127.0.0.1", self._store.port) | of_machine).items():
            self._patch.setenv(name, value)
        self._patch.chdir(folder)
        if rank == 0 or self._shares:
            self._patch.setattr(STARTER, self._starter(self._servers[rank]))
        return lrfinder.sweep_script(
            "ddp.py", arguments, steps=30, min_lr=1e-3, max_lr=1.0, repeats=1, mode="continuous", out=self.run
        )

    def _call(self, when: Callable[[int], object]) -> None:
        log = self.there / "results-1" / "log.txt"
        while not log.exists() or len(log.read_text().splitlines()) < MADE:
            time.sleep(0.02)
        when(self.other.pid)
