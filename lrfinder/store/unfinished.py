"""What is kept of a run folder if its sweep is resumed: the repeats and short runs that were finished."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfinder.errors import RunError
from lrfinder.records import Mode, Setup, ShortRun, Stop, SweepSettings, Trace
from lrfinder.store.layout import RUN, VERSION
from lrfinder.store.load import load_run, load_source, model_digest, read_document
from lrfinder.store.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableRun:
    """A run folder as its sweep left it. Traces and runs are the finished ones, in the order of the sweep.

    `header` is run.json without its repeats, and `model_sha256` the digest of the model file, if that is known.
    """

    path: Path
    source: Source
    settings: SweepSettings
    setup: Setup
    traces: tuple[Trace, ...]
    short_sweeps: tuple[Trace, ...]
    runs: tuple[ShortRun, ...]
    header: dict[str, Any]
    model_sha256: str | None


def load_unfinished(path: Path) -> ResumableRun:
    """Read a run folder whose sweep is to be resumed. Raises RunError if it is not valid or of an older format."""
    document = read_document(path)
    if document["version"] != VERSION:
        raise RunError(
            f"{path / RUN}: version {document['version']} was written by an older lrfinder, which kept too little",
            hint="sweep again",
        )
    result = load_run(path)
    # Batches that are kept come from the first repeat: without it there are none, so all is made again.
    start_over, short = result.settings.cache_batches is not None, result.settings.short()
    traces = () if start_over else _finished(result.traces)
    all_there = not start_over and len(traces) == (
        0 if result.settings.mode is Mode.RESTART else result.settings.repeats
    )
    short_sweeps = _finished(result.short_sweeps) if all_there else ()
    all_there = all_there and len(short_sweeps) == (0 if short is None else short.repeats)
    runs = itertools.takewhile(lambda run: not run.stop.worth_repeating, result.runs if all_there else ())
    return ResumableRun(
        path=path,
        source=load_source(path),
        settings=result.settings,
        setup=result.setup,
        traces=traces,
        short_sweeps=short_sweeps,
        runs=tuple(runs),
        header={key: value for key, value in document.items() if key not in {"repeats", "short_sweeps"}},
        model_sha256=model_digest(path),
    )


def _finished(traces: tuple[Trace, ...]) -> tuple[Trace, ...]:
    """Return those before the first that is missing or did not end by itself."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1].repeat and _ended(pair[1]), enumerate(traces))
    return tuple(trace for _, trace in pairs)


def _ended(trace: Trace) -> bool:
    """Tell whether a repeat ended by itself and all of its points are there: a power cut may have taken the last."""
    # The one update after which the data ran out has no loss.
    without_loss = trace.updates - len(trace.lrs)
    if trace.micro_batches > 1:  # it began again when memory ran out: those updates count, too
        return not trace.stop.worth_repeating and without_loss >= 0
    return not trace.stop.worth_repeating and without_loss in ({0, 1} if trace.stop is Stop.OUT_OF_DATA else {0})
