"""Run a script or a module as Python itself would: as `__main__`, with its arguments and its first path."""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
import types


def run_program(program: str, arguments: list[str], *, module: bool) -> None:
    """Run the program in this process. What it raises passes through."""
    if module:
        if not sys.flags.safe_path:
            sys.path.insert(0, os.getcwd())
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(program)))
    sys.argv = [program, *arguments]
    main = types.ModuleType("__main__")
    place = os.path.abspath(program)
    main.__dict__.update(__file__=place, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = main
    with io.open_code(place) as source:
        code = compile(source.read(), place, "exec", dont_inherit=True)
    exec(code, main.__dict__)  # noqa: S102 - running the user's script is the job


def user_traceback(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the part of a traceback that begins with the script's own frames."""
    here = trace
    while here is not None and _is_ours(here.tb_frame.f_code.co_filename):
        here = here.tb_next
    return here if here is not None else trace


def _is_ours(filename: str) -> bool:
    return filename.startswith((os.path.dirname(__file__), "<frozen runpy>")) or filename == runpy.__file__
