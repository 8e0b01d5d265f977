"""A process of the script: started, listened to, and ended, whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lrfinder.errors import EnvironmentFailure, UsageError

START = Path(__file__).parent / "inside" / "start.py"
_CHUNK = 65536  # bytes, what a pipe holds
WAIT_S = 0.2  # between two looks at a process that says nothing
_LAST_S = 10.0  # for a process that has reported its end to be gone


class Handle(Protocol):
    """A process that was started, in a session of its own, so that Ctrl-C in the terminal doesn't reach it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Return its exit status, minus the signal if one ended it; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status; raises subprocess.TimeoutExpired."""


class Starter(Protocol):
    """Starts processes of the script."""

    def start(self, plan: Mapping[str, Any], *, file: Path, log: Path, messages: int) -> Handle:
        """Start one by the plan, which goes to `file`; its output goes to `log`, its messages to the pipe.

        Raises EnvironmentFailure if it can't be started.
        """

    def close(self) -> None:
        """End what is left of it."""


def starter(environment: Mapping[str, str]) -> Starter:
    """Return what starts the processes with this environment, in the present folder.

    On Linux each is forked from one that has imported torch and done nothing else, elsewhere it is a new Python.
    """
    if os.name != "posix":
        raise UsageError("scripts are swept on Linux and macOS alone", hint="write a model file: lrfinder init")
    return ForkServer(environment) if sys.platform == "linux" else NewPython(environment)


class NewPython:
    """Starts a new Python for each process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def start(self, plan: Mapping[str, Any], *, file: Path, log: Path, messages: int) -> Handle:
        """Start one."""
        told = {**plan, "handle": messages, "parent": os.getpid()}
        with _starting(), log.open("ab") as output:
            file.write_text(json.dumps(told), encoding="utf-8")
            return _python([str(file)], self._environment, messages, output)

    def close(self) -> None:
        """Do nothing."""


class ForkServer:
    """Starts each process as a fork of one that has imported torch: what every run would do first is done once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._socket, theirs = socket.socketpair()
        told = json.dumps({"job": "serve", "handle": theirs.fileno(), "parent": os.getpid()})
        with _starting(), theirs:
            self._server = _python([told], self._environment, theirs.fileno(), subprocess.DEVNULL)
        self.pid = self._server.pid

    def start(self, plan: Mapping[str, Any], *, file: Path, log: Path, messages: int) -> Handle:
        """Start one."""
        told = {"environment": self._environment, "folder": str(Path.cwd()), **plan}
        with _starting(), log.open("ab") as output:
            file.write_text(json.dumps(told), encoding="utf-8")
            socket.send_fds(self._socket, [os.fsencode(file)], [messages, output.fileno()])
            pid = self.line(None)
        if pid is None:
            raise EnvironmentFailure("the script can't be started: no process with torch could be made")
        return _Forked(pid, self)

    def line(self, timeout: float | None) -> int | None:
        """Return the next number that the server says; None after `timeout` seconds, or if it is gone."""
        self._socket.settimeout(timeout)
        text = b""
        try:
            while not text.endswith(b"\n"):
                if not (part := self._socket.recv(1)):
                    return None
                text += part
        except (TimeoutError, BlockingIOError):
            return None
        return int(text)

    @property
    def is_gone(self) -> bool:
        """Whether the server has ended, and can say no more."""
        return self._server.poll() is not None

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()


class _Forked:
    """A process that the server has forked."""

    def __init__(self, pid: int, server: ForkServer) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.line(0)
            if self.returncode is None and self._server.is_gone:  # its forks end with it
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("script", timeout or 0.0)
            self.returncode = self._server.line(WAIT_S)
        return self.returncode if self.returncode is not None else 0


class Running(Protocol):
    """A process of the script that runs, here or on another machine. At the end of the context it is gone."""

    reading: int  # a file that can be read when something has come
    logs: list[Path]

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def come(self) -> list[dict[str, Any]] | None:
        """Return the messages that have come; None if no more can."""

    def rest(self) -> list[dict[str, Any]]:
        """Return what it had still said, when it is gone."""

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""

    def exit_status(self) -> int:
        """Wait for its end, and return its status: minus the signal, if one did it."""

    def kill(self) -> None:
        """End it."""


class ScriptProcess:
    """A running process of the script. Use as a context manager: at the end it and all that it started are gone."""

    failed_rank = 0

    def __init__(self, starter: Starter, plan: Mapping[str, Any], *, scratch: Path, log: Path) -> None:
        """Start the process; its output is appended to `log`. Raises EnvironmentFailure if it can't be started."""
        self.reading, writing = os.pipe()
        self._rest = b""  # of a message that hasn't come whole
        self.logs = [log]
        try:
            told = {**plan, "scratch": str(scratch)}
            self._process = starter.start(told, file=scratch / f"{log.stem}.json", log=log, messages=writing)
        except BaseException:
            os.close(self.reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(self.reading, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        os.close(self.reading)

    def messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield each message as it comes, until the process is gone.

        Raises TimeoutError at `deadline`, a time of `time.monotonic`.
        """
        gone = False
        with selectors.DefaultSelector() as selector:
            selector.register(self.reading, selectors.EVENT_READ)
            while True:
                readable = bool(selector.select(0 if gone else WAIT_S))
                if gone and not readable:
                    return
                come = self.come() if readable else []
                if come is None:
                    return
                yield from come
                gone = gone or self.is_gone
                if time.monotonic() >= deadline:
                    raise TimeoutError

    def come(self) -> list[dict[str, Any]] | None:
        """Return the messages that can be read now; None if every end of the pipe is closed."""
        chunk = os.read(self.reading, _CHUNK)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def rest(self) -> list[dict[str, Any]]:
        """Return what a process that was ended had still said."""
        with contextlib.suppress(BlockingIOError):
            come: list[dict[str, Any]] = []
            while (more := self.come()) is not None:
                come += more
        return come

    def exit_status(self) -> int:
        """Wait for the end of a process that has reported it, and return its status: minus the signal, if one did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_S)
        self.kill()
        return self._process.returncode or 0

    def kill(self) -> None:
        """End the process and whatever it has started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, for one that is gone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _python(arguments: list[str], environment: dict[str, str], handle: int, output: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the user's own script, by this interpreter
        [sys.executable, str(START), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=(handle,),
        start_new_session=True,
    )


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFailure(f"the script can't be started: {error.strerror or error}") from error
