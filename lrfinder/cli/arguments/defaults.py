"""Defaults of a command's options from `[tool.lrfinder.COMMAND]` in the nearest pyproject.toml that has such a table.

An environment variable LRFINDER_COMMAND_OPTION, such as LRFINDER_SWEEP_STEPS, wins over the file, and the command line
over both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfinder.errors import UsageError, unknown_choice

PREFIX = "LRFINDER"  # of the environment variables
TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})  # of a flag there, as click reads it


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """A default that isn't lrfinder's own: the option, its value, and where it comes from."""

    command: str
    option: str
    value: Any
    source: str


def file_defaults(command: str, commands: Sequence[str], options: Mapping[str, str], folder: Path) -> list[Default]:
    """Return what the nearest pyproject.toml above `folder` says for a command; `options` are flags by parameter.

    Raises UsageError for a file that can't be read, and for a table or a key that is no command or option.
    """
    file, table = _nearest(folder)
    for name, value in table.items():
        if name not in commands:
            raise unknown_choice(f"command in {file}, [tool.lrfinder]:", name, commands)
        if not isinstance(value, dict):
            raise UsageError(
                f"{file}: tool.lrfinder.{name} is no table", hint=f"write [tool.lrfinder.{name}], and options in it"
            )
    found = []
    for key, value in table.get(command, {}).items():
        flag = f"--{key.replace('_', '-')}"
        if flag not in options.values():
            known = [flag.removeprefix("--") for flag in options.values()]
            raise unknown_choice(f"option in {file}, [tool.lrfinder.{command}]:", key, known)
        found.append(Default(command=command, option=flag, value=value, source=str(file)))
    return found


def variable_of(command: str, flag: str) -> str:
    """Return the name of the environment variable for a flag of a command."""
    return f"{PREFIX}_{command}_{flag.removeprefix('--')}".replace("-", "_").upper()


def environment_defaults(command: str, options: Mapping[str, str]) -> list[Default]:
    """Return what the environment says for a command."""
    names = {variable_of(command, flag): flag for flag in options.values()}
    return [
        Default(command=command, option=flag, value=os.environ[name], source=name)
        for name, flag in names.items()
        if os.environ.get(name)
    ]


def _nearest(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the nearest pyproject.toml with a table of lrfinder's, and that table; an empty one if there is none."""
    for parent in (folder, *folder.parents):
        file = parent / "pyproject.toml"
        tool = _read(file).get("tool")
        table = tool.get("lrfinder") if isinstance(tool, dict) else None
        if isinstance(table, dict):
            return file, table
        if table is not None:
            raise UsageError(
                f"{file}: tool.lrfinder is no table", hint="write [tool.lrfinder.sweep], and options in it"
            )
    return folder, {}


def _read(file: Path) -> dict[str, Any]:
    """Return what a pyproject.toml holds; nothing if there is none, or its folder may not be searched."""
    import tomllib

    try:
        if not file.is_file():
            return {}
    except PermissionError:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        hint = "mend the file: options of lrfinder may stand in it"
        raise UsageError(f"{file}: can't be read: {error}", hint=hint) from None
