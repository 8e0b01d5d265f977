"""The script as the user names it: checked before anything is started."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from lrfinder.engine.distributed.environment import launched_place
from lrfinder.errors import UsageError, fault_of_name
from lrfinder.records import Script
from lrfinder.task.reference import Reference, code_places, digest_of

# Off by what their documentation names: a sweep is no experiment to keep.
_TRACKERS = {
    "WANDB_MODE": "disabled",
    "SWANLAB_MODE": "disabled",
    "NEPTUNE_MODE": "debug",
    "CLEARML_OFFLINE_MODE": "1",
    "COMET_AUTO_LOG_DISABLE": "1",
    "COMET_MODE": "DISABLED",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
}


def check_script(script: Script) -> str | None:
    """Return the SHA-256 of the script's file, in hexadecimal; None for a module without one. Nothing is imported.

    Raises UsageError if there is no such file or module, if a name or an argument can't be written down, or if one
    optimizer is named and all are to be scaled.
    """
    if script.scale_others and script.which is not None:
        raise UsageError(
            f"all optimizers are to be scaled, and {script.which!r} is named too",
            hint="keep one; with --scale-others the rate is that of the first which makes a step",
        )
    for text in (script.program, *script.arguments):
        if fault := fault_of_name(text):
            raise UsageError(f"{text!a}: {fault}, and could not be written down", hint="rename it")
    if not script.module:
        path = Path(script.program)
        if path.is_dir():
            raise UsageError(f"{script.program!r} is a folder, not a script", hint="name the file in it")
        if path.suffix == ".ipynb":
            hint = f"jupyter nbconvert --to script {path.name} makes a script of it"
            raise UsageError(f"{script.program!r} is a notebook, not a script", hint=hint)
        if not path.exists():
            raise UsageError(f"no such file: {script.program!r}", hint="name the script; --module takes pkg.train")
        return digest_of(Reference(path=path))
    found = Reference(module=script.program)
    if not all(part.isidentifier() for part in script.program.split(".")) or not code_places(found):
        raise UsageError(f"no module named {script.program!r}, here or installed", hint="write --module pkg.train")
    return digest_of(found)


def processes_of(nproc: int | None) -> int | None:
    """Return how many processes make a run of the script: as many as the user says, or as torchrun has started.

    Raises UsageError if the user says another number than torchrun has started.
    """
    place = launched_place()
    if place is not None and nproc not in {None, place.size}:
        raise UsageError(
            f"{nproc} processes of the script are wanted, and torchrun has started {place.size}",
            hint="leave --nproc out",
        )
    return nproc if place is None else place.size


def command_line(script: Script) -> str:
    """Return how the user would start the script."""
    return shlex.join(["python", *(["-m"] if script.module else []), script.program, *script.arguments])


def sweep_environment(scratch: Path, processes: int | None = None) -> dict[str, str]:
    """Return the environment of the processes of a sweep: trackers off, temporary files in `scratch`.

    Of several processes in one training each gets its share of the cores, if the user says nothing else.

    The order of sets of text is the same in each process, since a vocabulary may be made of one.
    """
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    own = {
        **_TRACKERS,
        "MPLBACKEND": "agg",  # a window would wait for somebody to close it
        "MLFLOW_TRACKING_URI": (scratch / "mlflow").as_uri(),
        "COMET_OFFLINE_DIRECTORY": str(scratch),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    threads = {} if processes is None else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    return {"PYTHONHASHSEED": "0", **threads, **os.environ, **own}
