"""Command lines as processes of their own that start at once: forked from one that has imported everything.

Starting Python with torch takes seconds, a fork none; the child is a real process with signals, files and an exit
status of its own. Run as a script this is that one; each line of its standard input is a process to be started.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import io
import json
import multiprocessing.util
import os
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from helpers.processes import environment

LOOK_S = 0.005  # between two looks at processes that run


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
            time.sleep(LOOK_S)
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
        return self._fork({"args": ["lrfinder", *map(str, args)], "fault": fault, "user": user}, cwd, env)

    def _fork(self, job: dict, cwd: Path, env: Mapping[str, str], given: str = "") -> Child:
        self._count += 1
        names = [self._scratch / f"{self._count}.{part}" for part in ("status", "stdout", "stderr")]
        job |= {"cwd": str(cwd), "env": {**env}, "files": [os.devnull, *map(str, names[1:])], "status": str(names[0])}
        for name in names[1:]:
            name.touch()  # it may be read before the process has come so far
        if given:
            job["files"][0] = str(self._scratch / f"{self._count}.stdin")
            Path(job["files"][0]).write_text(given)
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

    def start_python(
        self,
        script: Path | str,
        *args: object,
        given: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Child:
        """Start a file, or this code, with `given` as its input, as by `python -W ignore`."""
        job = {"args": [str(script), *map(str, args)], "code": isinstance(script, str)}
        return self._fork(job, cwd or Path.cwd(), env, given)

    def python(
        self,
        script: Path | str,
        given: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 120,
    ) -> str:
        """Run a file, or this code, as a process of its own with `given` as its input; return what it prints.

        For what needs a process, and not one that has imported nothing.
        """
        child = self.start_python(script, given=given, cwd=cwd, env=env)
        status = child.wait(timeout)
        assert status == 0, child.stderr[-3000:]
        return child.stdout


def serve() -> None:
    gc.disable()  # no garbage is made here: with the collector, importing torch takes half as long again
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
    gc.freeze()  # what is here is never searched, by no child either
    gc.enable()
    running: dict[int, Path] = {}
    while True:
        for pid in [*running]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _write_status(status, running.pop(pid))
        if not select.select([sys.stdin], [], [], LOOK_S if running else None)[0]:
            continue
        if not (line := sys.stdin.readline()):
            break
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(job)
        running[pid] = Path(job["status"])
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in running:  # those of tests that failed
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _write_status(status: int, file: Path) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(os.waitstatus_to_exitcode(status)))
    new.replace(file)


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
    os.setsid()
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.path[1:1] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
    for number, path in enumerate(job["files"]):
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = job["args"]
    status = 70
    try:
        _run_python(job) if "code" in job else _run_lrfinder(job)
        status = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - whatever it is ends the process
        traceback.print_exc()
    finally:
        multiprocessing.util._run_finalizers()  # its temporary folders, which the end of a Python removes
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run_lrfinder(job: dict) -> None:
    from helpers import inject
    from lrfinder.cli import main

    if job["user"] is not None:
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])
    inject.install(job["fault"])
    main()


def _run_python(job: dict) -> None:
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    script = job["args"][0]
    if job["code"]:
        sys.path[0] = ""
        exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as `python -c`
    else:
        sys.path[0] = str(Path(script).parent)
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    serve()
