"""A process that has imported torch, and is forked for each run of the script: it starts as far as a new one would be.

It runs nothing of the script's itself: what it has done is what every run would do first. If its import of torch has
asked CUDA for its devices, no fork of it can use them, as torch says: then the fork becomes a new Python.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
import time
from typing import Any, NoReturn

_PATH = 4096  # bytes of a message: the path of a plan
_START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
# Let torch count the devices in a way that leaves forks able to use them; the runs have the user's own environment.
_COUNT_BY_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"


def serve(plan: dict[str, Any]) -> NoReturn:
    """Fork for each plan that comes, with its pipe and its log, and report the process and its exit status."""
    os.environ[_COUNT_BY_DRIVER] = "1"
    from lrfinder.engine.runtime.parent import end_with_parent

    end_with_parent(plan["parent"])
    gc.disable()  # looking for garbage would take as long as a fifth of the imports
    importlib.import_module("lrfinder.scripts.inside.sweep_process")  # which the forks need
    with contextlib.suppress(ImportError):  # the first optimizer of a process imports it
        importlib.import_module("torch._dynamo")
    gc.freeze()  # what is here is shared with all forks
    gc.enable()
    with socket.socket(fileno=plan["handle"]) as parent:
        while True:
            path, handles, _, _ = socket.recv_fds(parent, _PATH, 2)
            if not path:
                os._exit(0)
            began = time.monotonic()
            child = os.fork()
            if child == 0:
                parent.close()
                _become(path.decode(), *handles, began=began)
            for handle in handles:
                os.close(handle)
            parent.sendall(f"{child}\n".encode())
            _, status = os.waitpid(child, 0)
            parent.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(path: str, messages: int, log: int, *, began: float) -> NoReturn:
    """Run the script of the plan in this process, as if it had been started for it."""
    from lrfinder.scripts.inside import sweep_process

    server = os.getppid()
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for handle in (nothing, log):
        os.close(handle)
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    plan = {**plan, "handle": messages, "parent": server}
    os.chdir(plan["folder"])
    if _cannot_use_devices():
        _become_new(path, plan)
    os.environ.clear()
    os.environ.update(plan["environment"])
    sweep_process.run(plan, began)


def _cannot_use_devices() -> bool:
    import torch

    return torch.cuda._is_in_bad_fork() or torch.xpu._is_in_bad_fork()


def _become_new(path: str, plan: dict[str, Any]) -> NoReturn:
    """Go on as a new Python, in the same process."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(plan, file)
    os.set_inheritable(plan["handle"], True)  # noqa: FBT003 - positional alone
    os.execve(sys.executable, [sys.executable, _START, path], plan["environment"])  # noqa: S606 - no shell is needed
