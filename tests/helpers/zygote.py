"""Command lines as processes of their own that start at once: forked from one that has imported everything.

Starting Python with torch takes seconds, a fork none; the child is a real process with signals, files and an exit
status of its own. Run as a script this is that one; each line of its standard input is a process to be started.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from helpers.processes import environment


class Child:
    """A command line that runs."""

    def __init__(self, pid: int, status_file: Path, stdout: Path, stderr: Path) -> None:
        self.pid, self._status_file, self._stdout, self._stderr = pid, status_file, stdout, stderr

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout: float = 60) -> int:
        """Return the exit status, negative for a signal."""
        deadline = time.monotonic() + timeout
        while not self._status_file.exists():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(self.stderr)
            time.sleep(0.005)
        return int(self._status_file.read_text())

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()


class Zygote:
    """The process that the others are forked from; a context manager."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0

    def __enter__(self) -> Self:
        places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), "PYTHONPATH": os.pathsep.join(places)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(
        self,
        *args: object,
        cwd: Path,
        fault: str = "",
        user: int | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Child:
        """Start `lrfinder ARGS` in the folder `cwd`, as `user`, with `env` added to the environment.

        `fault` is what `inject.install` reads.
        """
        self._count += 1
        names = [self._scratch / f"{self._count}.{part}" for part in ("status", "stdout", "stderr")]
        job = {"args": [*map(str, args)], "cwd": str(cwd), "fault": fault, "user": user, "env": {**env}}
        job["files"] = [*map(str, names)]
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Child(int(self._process.stdout.readline()), *names)

    def run(
        self,
        *args: object,
        cwd: Path,
        fault: str = "",
        timeout: float = 60,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, Child]:
        """Start it and wait for its end, at most `timeout` seconds."""
        child = self.start(*args, cwd=cwd, fault=fault, env=env)
        return child.wait(timeout), child


def serve() -> None:
    # So that the children needn't.
    import psutil  # noqa: F401
    import torch._dynamo  # noqa: F401 - the first optimizer would

    import lrfinder.api.script_sweep
    import lrfinder.api.sweeping.model_file
    import lrfinder.cli.app
    import lrfinder.cli.process.training
    import lrfinder.cli.process.user_code
    import lrfinder.cli.recommend
    import lrfinder.cli.sweep
    import lrfinder.cli.verify
    import lrfinder.report.figure
    import lrfinder.report.summary
    import lrfinder.report.terminal_plot  # noqa: F401

    _draw()
    codecs.lookup("utf-8-sig")  # a child that becomes somebody else may not read the standard library
    # From Python 3.12 on a fork beside threads warns; torch starts some, and none of them holds a lock here.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    # torch 2.6 keeps a temporary folder until the end of a process that has imported torch._dynamo.
    warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)
    while line := sys.stdin.readline():
        job = json.loads(line)
        # Two forks: the one in between waits for the command and writes down its status, while this one serves on.
        if os.fork() == 0:
            pid = os.fork()
            if pid == 0:
                run(job)
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            _, status = os.waitpid(pid, 0)
            target = Path(job["files"][0])
            target.with_suffix(".new").write_text(str(os.waitstatus_to_exitcode(status)))
            target.with_suffix(".new").replace(target)
            os._exit(0)


def _draw() -> None:
    """Draw a picture and a plot: most of what a short command would spend is importing what draws."""
    import plotext  # noqa: F401

    from lrfinder.report.style import figure_style, load_matplotlib

    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure()
        figure.add_subplot().semilogx([1, 2], label="a")
        figure.legend()
        FigureCanvasAgg(figure).print_png(io.BytesIO())


def run(job: dict) -> None:
    from helpers import inject
    from lrfinder.cli import main

    os.setsid()
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.path[1:1] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
    for number, path in enumerate([os.devnull, *job["files"][1:]]):
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    if job["user"] is not None:
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])
    inject.install(job["fault"])
    sys.argv = ["lrfinder", *job["args"]]
    status = 70
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
