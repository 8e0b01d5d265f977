"""Reading a run folder back, whole or cut short; a damaged one is refused with the place of the damage."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lrfinder.errors import CONTROL, RunError
from lrfinder.files import read_measured_text
from lrfinder.options import SAME_RATE
from lrfinder.records import Mode, Stop, SweepResult, SweepSettings, Trace
from lrfinder.store.layout import (
    COLUMNS,
    CONFIG,
    CURVE,
    FORMAT,
    MOST_UPDATES,
    RUN,
    RUNS_FOLDER,
    SETTINGS,
    SETUP,
    SHORT_CURVE,
    SHORT_RUNS,
    SOURCE,
    TRACE,
    VERSION,
)
from lrfinder.store.migrations import migrate
from lrfinder.store.run_log import read_log
from lrfinder.store.source import Source

_Record = TypeVar("_Record")
_Rows = list[tuple[float, float]]  # (lr, loss), in the order of steps

_MAX_BYTES = 256 * 2**20  # a million updates are 60 MB: anything larger is not a curve, and would fill the memory
# Most runs have 2 kB, and a thousand repeats 1 MB; what is longer would take memory and minutes to be judged.
_MAX_RUN_BYTES = 4 * 2**20
_MAX_DEPTH = 16  # run.json is 4 levels deep
_AGAIN = "the file is damaged or was edited; sweep again"


def latest_run(root: Path | None = None) -> Path:
    """Return the newest run folder under `root` (default: lrfinder-runs); raise RunError if there is none."""
    folder = root or Path(RUNS_FOLDER)
    runs = all_runs(folder)
    if not runs:
        raise RunError(f"{folder}: no run found", hint="run `lrfinder sweep MODEL` first, or name a run folder")
    return runs[0]


def all_runs(folder: Path) -> list[Path]:
    """Return the run folders in `folder`, newest first."""
    runs: list[tuple[int, Path]] = []
    for path in folder.glob(f"*/{RUN}"):
        with contextlib.suppress(OSError):  # a link to nowhere, or a folder that can't be entered
            state = path.stat()
            if stat.S_ISREG(state.st_mode):
                runs.append((state.st_mtime_ns, path.parent))
    return [path for _, path in sorted(runs, reverse=True)]


def load_run(path: Path) -> SweepResult:
    """Read a run folder, finished or not. Raises RunError, with the file and the place, if it is not valid."""
    file = path / RUN
    document = migrate(read_document(path))
    settings = validated(SETTINGS, document.get("settings"), "settings", file)
    setup = validated(SETUP, document.get("setup"), "setup", file)
    short = settings.short()
    return SweepResult(
        settings=settings,
        setup=setup,
        traces=_traces(document.get("repeats"), "repeats", path / CURVE, settings),
        run=str(path),
        runs=read_log(path / SHORT_RUNS),
        short_sweeps=()
        if short is None
        else _traces(document.get("short_sweeps", []), "short_sweeps", path / SHORT_CURVE, short),
    )


def _traces(endings: object, key: str, curve: Path, settings: SweepSettings) -> tuple[Trace, ...]:
    """Return the repeats whose points are in `curve` and whose endings run.json has under `key`, or has not yet."""
    file = curve.parent / RUN
    if not isinstance(endings, list) or not all(isinstance(row, dict) for row in endings):
        raise RunError(f"{file}: {key}: expected a list of objects", hint=_AGAIN)
    curves = {} if settings.mode is Mode.RESTART else _read_curve(curve, settings)
    traces = [_ended(f"{key}.{index}", row, curves, file) for index, row in enumerate(endings)]
    ended = {trace.repeat for trace in traces}
    if len(ended) < len(traces) or max(ended, default=0) >= settings.repeats:
        what = f"expected each of the {settings.repeats} repeats once, got {[trace.repeat for trace in traces][:20]}"
        raise RunError(f"{file}: {key}: {what}", hint=_AGAIN)
    cut_short = [_cut_short(repeat, rows, settings) for repeat, rows in curves.items() if repeat not in ended]
    return (*traces, *cut_short)


def config_path(path: Path) -> Path:
    """Return where the schedule config of a run folder goes. Raises RunError if a link or a pipe is there."""
    file = path / CONFIG
    # `dump` writes through links and into pipes, which is right if people name the file themselves.
    if file.is_symlink() or (file.exists() and not file.is_file()):
        what = "a symbolic link: nothing is written through it" if file.is_symlink() else "not a regular file"
        raise RunError(f"{file}: {what}", hint="name another file with --write")
    return file


def load_source(path: Path) -> Source:
    """Return where the model of a run folder came from. Raises RunError if run.json doesn't say or is not valid."""
    file = path / RUN
    document = migrate(read_document(path))
    return validated(SOURCE, document.get("source"), "source", file)


def model_digest(path: Path) -> str | None:
    """Return the digest of the model file that was swept, if run.json has one. Raises RunError if it is not valid."""
    digest = read_document(path).get("model_sha256")
    if not isinstance(digest, str | None):
        raise RunError(f"{path / RUN}: model_sha256: expected a text, got {digest!r}", hint="sweep again")
    return digest


def read_document(path: Path) -> dict[str, Any]:
    """Return what run.json says, its format and version checked. Raises RunError if it can't be read."""
    file = path / RUN
    document = read_json(file)
    _check_version(file, document)
    return document


def _read_text(path: Path, limit: int = _MAX_BYTES) -> str:
    return read_measured_text(path, limit=limit, kind="file of lrfinder's", again=_AGAIN)


def read_json(path: Path) -> dict[str, Any]:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        hint = "name the folder that `lrfinder sweep` wrote"
        raise RunError(f"{path.parent}: not a run folder: there is no {path.name} in it", hint=hint) from None
    except OSError:  # said below, with its reason
        pass
    text = _read_text(path, _MAX_RUN_BYTES)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # a JSONDecodeError is a ValueError that names line and column
        raise RunError(f"{path}: not valid JSON: {error}", hint=_AGAIN) from None
    _refuse_control(document, path)
    if not isinstance(document, dict):
        raise RunError(f"{path}: expected an object, got {type(document).__name__}", hint=_AGAIN)
    return document


def _refuse_control(value: object, path: Path, depth: int = 0) -> None:
    """Raise RunError if a text or a key holds a control character, which a terminal would obey, or if it nests deep."""
    if depth > _MAX_DEPTH:
        raise RunError(f"{path}: nested deeper than {_MAX_DEPTH} levels", hint=_AGAIN)
    if isinstance(value, str) and CONTROL.search(value):
        raise RunError(f"{path}: a control character in {value[:80]!a}", hint=_AGAIN)
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_control(key, path)
            _refuse_control(part, path, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _refuse_control(part, path, depth + 1)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _check_version(path: Path, document: dict[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise RunError(f"{path}: format: expected {FORMAT!r}, got {document.get('format')!r}", hint=_AGAIN)
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RunError(f"{path}: version: expected a whole number from 1, got {version!r}", hint=_AGAIN)
    if version > VERSION:
        raise RunError(
            f"{path}: version {version} was written by a newer lrfinder; this one reads up to version {VERSION}",
            hint="upgrade: pip install --upgrade lrfinder",
        )


def validated(adapter: TypeAdapter[_Record], value: object, key: str, path: Path) -> _Record:
    try:
        # By way of JSON: there a list may be a tuple and a text an enumeration, but strictly no text is a number.
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (key, *first["loc"]))
        raise RunError(f"{path}: {place}: {first['msg']}", hint=_AGAIN) from None


def _read_curve(path: Path, settings: SweepSettings) -> dict[int, _Rows]:
    """Return the rows of each repeat. A last line without its newline is torn, and left out."""
    header = ",".join(COLUMNS)
    lines = (_read_text(path) if path.exists() else "").split("\n")
    if len(lines) == 1 and header.startswith(lines[0]):  # killed before the first line was whole
        return {}
    if lines[0] != header:
        raise RunError(f"{path}:1: expected the header {header}, got {lines[0][:80]!r}", hint=_AGAIN)
    curves: dict[int, _Rows] = {}
    planned = settings.lrs()
    for number, line in enumerate(lines[1:-1], start=2):
        repeat, step, lr, loss = _row(line, number, path)
        rows = curves.setdefault(repeat, [])
        if not 0 <= repeat < settings.repeats or step != len(rows) or step >= settings.steps:
            raise RunError(f"{path}:{number}: repeat {repeat}, step {step} is out of order", hint=_AGAIN)
        if not (math.isfinite(lr) and lr > 0):
            raise RunError(f"{path}:{number}: lr: expected a finite number above 0, got {lr}", hint=_AGAIN)
        if abs(lr - planned[step]) > SAME_RATE * planned[step]:
            what = f"the settings in {RUN} give {planned[step]:.6g} for this step, got {lr:.6g}"
            raise RunError(f"{path}:{number}: lr: {what}", hint=_AGAIN)
        rows.append((lr, loss))
    return curves


def _row(line: str, number: int, path: Path) -> tuple[int, int, float, float]:
    try:
        repeat, step, lr, loss = line.split(",")
        return int(repeat), int(step), float(lr), float(loss)
    except ValueError:
        raise RunError(f"{path}:{number}: expected four numbers, got {line[:80]!r}", hint=_AGAIN) from None


def _ended(key: str, row: dict[str, Any], curves: dict[int, _Rows], path: Path) -> Trace:
    ending = validated(TRACE, {**row, "lrs": [], "losses": []}, key, path)
    for name in ("repeat", "updates", "skipped"):
        if not 0 <= getattr(ending, name) <= MOST_UPDATES:
            what = f"expected a whole number from 0 to {MOST_UPDATES:g}, got {getattr(ending, name)}"
            raise RunError(f"{path}: {key}.{name}: {what}", hint=_AGAIN)
    rows = curves.get(ending.repeat, [])
    return dataclasses.replace(ending, lrs=tuple(lr for lr, _ in rows), losses=tuple(loss for _, loss in rows))


def _cut_short(repeat: int, rows: _Rows, settings: SweepSettings) -> Trace:
    return Trace(
        repeat=repeat,
        seed=settings.seed,
        initial_loss=None,
        lrs=tuple(lr for lr, _ in rows),
        losses=tuple(loss for _, loss in rows),
        stop=Stop.INTERRUPTED,
        updates=len(rows),
        why="no end of this repeat is noted: the sweep was killed, or is still going",
    )
