"""Sweeps of the scripts in programs/, by processes that are forked from one that all tests share."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from lrfinder.api.script_sweep import script_run
from lrfinder.api.sweeping.sweep_run import SweepRun
from lrfinder.records import Mode, Script, SweepSettings
from lrfinder.scripts.process import ForkServer, Handle

from .apart import Apart

PROGRAMS = Path(__file__).parent / "programs"
Swept = Callable[..., SweepRun]


class Borrowed:
    """The shared server, with an environment of its own."""

    def __init__(self, server: ForkServer, environment: Mapping[str, str]) -> None:
        self._server, self._environment = server, environment

    def start(self, plan: Mapping[str, Any], *, file: Path, log: Path, messages: int) -> Handle:
        told = {**plan, "environment": self._environment}
        return self._server.start(told, file=file, log=log, messages=messages)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    made = ForkServer({**os.environ, "OMP_NUM_THREADS": "1"})
    yield made
    made.close()


@pytest.fixture(scope="session")
def second_server() -> Iterator[ForkServer]:
    made = ForkServer({**os.environ, "OMP_NUM_THREADS": "1"})
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Copy a program into the test's own folder, which becomes the working folder."""
    monkeypatch.chdir(tmp_path)

    def copied(name: str) -> str:
        shutil.copy(PROGRAMS / name, tmp_path)
        return name

    return copied


@pytest.fixture
def sweep(
    program: Callable[[str], str], server: ForkServer, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> Swept:
    """Sweep a program continuously, once; `settings` say otherwise. The run folder is elsewhere."""
    monkeypatch.setattr("lrfinder.scripts.machines.machine.starter", lambda environment: Borrowed(server, environment))
    # The picture takes longer than the rest.
    monkeypatch.setattr("lrfinder.api.sweeping.sweep_run.write_picture", lambda *_: None)

    def run(
        name: str,
        *arguments: object,
        which: str | None = None,
        scale_others: bool = False,
        sinks: Sequence[str] = (),
        **settings: Any,
    ) -> SweepRun:
        own = tuple(map(str, arguments))
        script = Script(program=program(name), arguments=own, which=which, scale_others=scale_others)
        told = {"mode": Mode.CONTINUOUS, "repeats": 1, "steps": 40, "min_lr": 1e-3, "max_lr": 1.0, **settings}
        return script_run(script, SweepSettings(**told), out=tmp_path_factory.mktemp("run") / "out", sinks=sinks)

    return run


@pytest.fixture
def together(
    program: Callable[[str], str],
    server: ForkServer,
    second_server: ForkServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: Any,
) -> Swept:
    """Sweep ddp.py by two processes; afterwards none of them is left."""
    servers = [server, second_server]
    turns = itertools.cycle(servers)
    monkeypatch.setattr(
        "lrfinder.scripts.machines.machine.starter", lambda environment: Borrowed(next(turns), environment)
    )
    monkeypatch.setattr("lrfinder.api.sweeping.sweep_run.write_picture", lambda *_: None)

    def run(*arguments: str) -> Any:
        told = {"mode": Mode.CONTINUOUS, "repeats": 1, "steps": 30, "min_lr": 1e-3, "max_lr": 1.0}
        script = Script(program=program("ddp.py"), arguments=arguments, processes=2)
        try:
            return script_run(script, SweepSettings(**told), out=tmp_path_factory.mktemp("run") / "out")
        finally:
            assert [child for one in servers for child in psutil.Process(one.pid).children()] == []

    return run


@pytest.fixture
def apart(
    tmp_path: Path,
    server: ForkServer,
    second_server: ForkServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: Any,
) -> Apart:
    """Sweep ddp.py by two processes, each as on a machine of its own."""
    monkeypatch.setattr("lrfinder.api.sweeping.sweep_run.write_picture", lambda *_: None)
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(PROGRAMS / "ddp.py", folder)
        (folder / "notes.txt").write_text("mine\n")
    return Apart(
        monkeypatch,
        lambda server: lambda environment: Borrowed(server, environment),
        here=folders[0],
        there=folders[1],
        run=tmp_path_factory.mktemp("run") / "out",
        servers=(server, second_server),
    )
