"""What stands behind `--` on a command line that names a training script: the script's own arguments."""

from __future__ import annotations

from typing import Any

ARGUMENTS = "lrfinder.script_arguments"  # their key in the context's meta
_NAMED = frozenset({"--script", "--module"})


def split_script_arguments(context: Any, args: list[str]) -> list[str]:
    """Return what comes before `--` if a script is named there, and keep what comes behind it in the context."""
    end = args.index("--") if "--" in args else len(args)
    if not any(argument.partition("=")[0] in _NAMED for argument in args[:end]):
        return args
    context.meta[ARGUMENTS] = tuple(args[end + 1 :])
    return args[:end]
