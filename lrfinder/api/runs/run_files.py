"""The files that advice leaves in a run folder: the picture, recommendation.json, verification.json, the config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfinder.config import ScheduleConfig, load_schedule
from lrfinder.config.files import check_config_target, parse_schedule
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.errors import LrfinderError, UsageError, fault_of_name
from lrfinder.files import UnfitFileError, read_limited, write_atomic
from lrfinder.records import Chart
from lrfinder.report.documents import json_text
from lrfinder.report.figure import HEAD_BYTES, curve_png, figure_digest, is_drawn
from lrfinder.store import CONFIG, COST, NOISE, PICTURE, RECOMMENDATION, RUN, VERIFICATION, config_path

_MAX_BYTES = 16 * 2**20  # of a file that lrfinder wrote here; a picture has 0.1 MB
_OWN = frozenset({RUN, COST, NOISE, RECOMMENDATION, VERIFICATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRecommendation:
    """The schedule that `recommend` planned last for a run, and the file that holds it; None if that file is gone."""

    config: ScheduleConfig
    path: Path | None


def check_written(folder: Path, write: Path | None) -> None:
    """Raise UsageError or ConfigError if no config can be written to `write`, or the run folder keeps results there.

    UsageError, too, if a config and the files of the run can't hold one of the names.
    """
    check_name(folder)
    if write is None:
        return
    check_name(write)
    check_config_target(write)
    if write.name in _OWN and write.parent.samefile(folder):
        raise UsageError(f"{write}: the run folder keeps its own results there", hint="name another file")


def check_name(path: Path) -> None:
    """Raise UsageError if a config and the files of a run can't hold the name of `path`."""
    if fault := fault_of_name(str(path)):
        raise UsageError(
            f"{path}: {fault}: no config can name it", hint="rename it, or go to its folder and name it from there"
        )


def write_picture(folder: Path, chart: Chart) -> None:
    """Draw the picture of the run, unless the one that is there shows the same: drawing costs more than all the rest.

    Raises EnvironmentFailure if the disk refuses.
    """
    path = folder / PICTURE
    try:
        if is_drawn(read_limited(path, _MAX_BYTES)[:HEAD_BYTES], figure_digest(chart)):
            return
    except (OSError, UnfitFileError):  # there is none yet, or something else, which is replaced
        pass
    with Interrupts():  # compiled modules are loaded: a signal under their C++ would abort the process
        write_atomic(path, curve_png(chart))


def write_recommendation(folder: Path, document: dict[str, Any], *, written: Path | None) -> None:
    """Save the recommendation and the path of its schedule: absolute, or relative if it is inside the run folder.

    A path that the file can't hold is left out.
    """
    place = None
    if written is not None:
        whole, run = written.absolute(), folder.absolute()
        path = str(whole.relative_to(run) if whole.is_relative_to(run) else whole)
        place = None if fault_of_name(path) else path
    write_atomic(folder / RECOMMENDATION, json_text({**document, "config_path": place}).encode())


def write_verification(folder: Path, document: dict[str, Any]) -> None:
    """Save the verification."""
    write_atomic(folder / VERIFICATION, json_text(document).encode())


def last_recommendation(folder: Path) -> LastRecommendation | None:
    """Return what `recommend` planned last for the run: its config file if that is still of this run, else its copy.

    None if no schedule was planned. A file elsewhere that is damaged or of another run is not used, and never written.
    Raises ConfigError if the one in the run folder is damaged: it is the user's own slip of the pen.
    """
    config, place = _stored(folder)
    for path in (place, folder / CONFIG):
        if path is not None and _is_of_run(path, folder):
            return LastRecommendation(config=load_schedule(path), path=path)
    return None if config is None else LastRecommendation(config=config, path=None)


def config_target(folder: Path, last: LastRecommendation | None) -> Path:
    """Return where a verified schedule goes: to the file of the last recommendation, else into the run folder."""
    if last is not None and last.path is not None and not last.path.is_symlink():
        return last.path
    return config_path(folder)


def _stored(folder: Path) -> tuple[ScheduleConfig | None, Path | None]:
    """Return the config that recommendation.json holds, and the file that it names."""
    try:
        document = json.loads(read_limited(folder / RECOMMENDATION, _MAX_BYTES))
        place = document.get("config_path")
        config = document.get("config")
        return (
            None if config is None else parse_schedule(json.dumps(config), suffix=".json", where=RECOMMENDATION),
            _from_here(folder / place) if isinstance(place, str) else None,
        )
    except (
        OSError,
        ValueError,
        AttributeError,
        RecursionError,
        UnfitFileError,
        LrfinderError,
    ):  # none, or not one of ours
        return None, None


def _from_here(path: Path) -> Path:
    """Return a path as a user in the working directory would write it."""
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _is_of_run(path: Path, folder: Path) -> bool:
    """Tell whether a file is a valid schedule config that was recommended for this run."""
    try:
        if not path.is_file() or path.parent == folder:
            return path.is_file()
        evidence = load_schedule(path).evidence
    except (OSError, LrfinderError):  # OSError: a name from a file may be too long for one
        return False
    return evidence is not None and evidence.run is not None and Path(evidence.run).resolve() == folder.resolve()
