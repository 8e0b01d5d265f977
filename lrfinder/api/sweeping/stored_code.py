"""Code that a run folder names: a stranger's folder must not run any of its own."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

from lrfinder.errors import RunError
from lrfinder.records import Script
from lrfinder.scripts.program import check_script, command_line
from lrfinder.store import Source
from lrfinder.task.reference import Reference, check_reference, code_places, model_path

Tell = Callable[[str], object]


def announce_model(source: Source, folder: Path, tell: Tell | None) -> None:
    """Tell which model a run folder names, before it is imported.

    Raises RunError if code in the folder itself would be imported.
    """
    found, whole = check_reference(source.reference), folder.resolve()
    if any(place.resolve().is_relative_to(whole) for place in code_places(found)):
        raise RunError(
            f"{folder}: its run.json names a model file inside the folder, {source.reference}",
            hint="move the model file out of the run folder",
        )
    _check_imports(found, folder)
    if tell is not None:
        tell(f"model of {folder}: {model_path(found) or source.reference}")


def announce_script(script: Script, folder: Path, tell: Tell | None, *, stored: bool) -> None:
    """Tell which script is about to be started for a run folder, before it is.

    If the folder names it (`stored`), its arguments may not lead into the folder either. Raises UsageError if it isn't
    there, RunError if code in the folder itself could be run.
    """
    if stored:
        _check_launcher(script, folder)
    check_script(script)
    found = Reference(module=script.program) if script.module else Reference(path=Path(script.program))
    if any(place.resolve().is_relative_to(folder.resolve()) for place in code_places(found)):
        raise RunError(
            f"{folder}: its run.json names a script inside the folder, {script.program}",
            hint="move the script out of the run folder",
        )
    if stored:
        _check_arguments(script, folder)
    _check_imports(found, folder)
    if tell is not None:
        tell(f"script of {folder}: {command_line(script)}")


def _check_imports(found: Reference, folder: Path) -> None:
    """Raise RunError if what the code imports may be found in the folder."""
    whole = folder.resolve()
    if found.module is not None and Path.cwd().resolve().is_relative_to(whole):  # it is searched first
        raise RunError(
            f"{folder}: its run.json names the module {found.module}, whose imports would be looked for in the folder",
            hint="run the command in another folder",
        )
    package = PathFinder.find_spec(whole.name, [str(whole.parent)])
    if package is not None and package.has_location and Path(str(package.origin)).is_relative_to(whole):
        raise RunError(  # an import of the code may find it
            f"{folder}: the run folder is a Python package, which would run {package.origin}", hint="remove that file"
        )


def _check_launcher(script: Script, folder: Path) -> None:
    """Raise RunError for a part of Python's standard library: `runpy` and others run what their arguments name."""
    places = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    file = Path(script.program).resolve()
    in_library = any(file.is_relative_to(place) for place in places) and "site-packages" not in file.parts
    if script.program.partition(".")[0] in sys.stdlib_module_names if script.module else in_library:
        raise RunError(
            f"{folder}: its run.json names {script.program} of Python's standard library, which may run any code that "
            "its arguments name",
            hint=_by_hand(folder),
        )


def _check_arguments(script: Script, folder: Path) -> None:
    """Raise RunError if an argument, or what stands behind its `=`, is a file or a module inside the folder."""
    for argument in script.arguments:
        if any(_leads_into(text, folder.resolve()) for text in {argument, argument.partition("=")[2]} - {""}):
            raise RunError(
                f"{folder}: its run.json gives the script a file inside the folder, {argument}", hint=_by_hand(folder)
            )


def _leads_into(text: str, whole: Path) -> bool:
    """Return whether `text` is a file or a module in the folder `whole`, or the folder itself as a program."""
    places = [Path(text)]
    if all(part.isidentifier() for part in text.split(".")):
        places += code_places(Reference(module=text))
    inside = [place for place in map(os.path.realpath, places) if Path(place).is_relative_to(whole)]
    starts = (whole / "__main__.py").exists()
    return any(os.path.exists(place) for place in inside if starts or place != str(whole))  # noqa: PTH110 - of any length


def _by_hand(folder: Path) -> str:
    return f"if you know it, name the script yourself: lrfinder verify {folder} --script train.py -- ARGS"
