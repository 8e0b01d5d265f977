"""`lrfinder.sweep_script`: the range test of a training script as it is, from Python and for the command line."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.settings import make_settings
from lrfinder.api.sweeping.sinks import begin_sinks, check_sinks, finish_sinks
from lrfinder.api.sweeping.sweep_parts import deadline_of, make_sweep
from lrfinder.api.sweeping.sweep_run import SweepRun, Watch, advised
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.engine.observer import Observer
from lrfinder.errors import ModelFileError, UsageError
from lrfinder.formatting import format_count, format_duration
from lrfinder.options import MAX_LR, MIN_LR, MOST_PROCESSES, REPEATS, RUN_STEPS, STEPS, Mode, Spacing
from lrfinder.records import Script, SweepSettings, Trace
from lrfinder.scripts.program import check_script, processes_of
from lrfinder.scripts.runs import ScriptRuns
from lrfinder.store import SCRIPT_LOG, RunFolder, Source
from lrfinder.version import CREATED_BY


def sweep_script(
    program: str | os.PathLike[str],
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    which: str | None = None,
    scale_others: bool = False,
    nproc: int | None = None,
    min_lr: float = MIN_LR,
    max_lr: float = MAX_LR,
    steps: int = STEPS,
    repeats: int = REPEATS,
    spacing: str = Spacing.EXP,
    mode: str = Mode.AUTO,
    run_steps: int = RUN_STEPS,
    seed: int = 0,
    max_seconds: float | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> SweepRun:
    """Sweep a training script as it is, `python PROGRAM ARGUMENTS`; with `module`, `python -m PROGRAM ARGUMENTS`.

    Every repeat and every short run is a new process of the script. Its rates are set around each step of its
    optimizer, and its losses are what it calls `backward()` on. Of several optimizers `which` names the swept one, by
    its class or a variable; with `scale_others` it is the first that makes a step, and the rates of the others keep
    their ratio to its rate. With `nproc` each run is so many processes, as `torchrun --nproc-per-node` starts them, and
    the loss of an update is their mean. Where torchrun has started this program, on one or more machines, each of its
    processes calls this and gets the same result: a run is so many processes, and rank 0 keeps it. All is kept in the
    run folder `out` (default: lrfinder-runs/<script>-<time>). The other keywords are those of `sweep`.

    Raises UsageError for keywords that make no sense, ModelFileError if the script fails or can't be swept,
    EnvironmentFailure if its process is killed or the disk refuses.
    """
    from lrfinder.report.progress import SweepProgress

    settings = make_settings(
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        repeats=repeats,
        spacing=spacing,
        mode=mode,
        run_steps=run_steps,
        seed=seed,
        max_seconds=max_seconds,
    )
    if nproc is not None and not 1 <= nproc <= MOST_PROCESSES:
        raise UsageError(f"nproc must be from 1 to {MOST_PROCESSES}, got {nproc}")
    processes = processes_of(nproc)
    if isinstance(arguments, str):
        raise UsageError(
            f"arguments is a list, and one text was given: {arguments!r}", hint="give each apart: ['--epochs', '3']"
        )
    script = Script(
        program=os.fspath(program),
        arguments=tuple(map(str, arguments)),
        module=module,
        which=which,
        scale_others=scale_others,
        processes=processes,
    )

    def lead() -> SweepRun:
        return script_run(
            script, settings, out=None if out is None else Path(out), watch=SweepProgress if progress else None
        )

    if processes is None or launched_place() is None:
        return lead()
    from lrfinder.scripts.machines.following import lead_or_follow  # torch

    return lead_or_follow(lead, processes)


def script_run(
    script: Script,
    settings: SweepSettings,
    *,
    out: Path | None = None,
    watch: Watch | None = None,
    sinks: Sequence[str] = (),
) -> SweepRun:
    """Sweep a script, and keep it in the run folder `out`, or in `lrfinder-runs/<script>-<time>`; the one way to do it.

    `watch` gives an observer of the sweep, and `sinks` are others by their names. Raises as `sweep_script` does.
    """
    begun = time.monotonic()
    digest = check_script(script)
    check_sinks(sinks)
    source = Source(reference=script.program, script=script)
    with (
        RunFolder.create(
            out, model=script.title, source=source, settings=settings, created_by=CREATED_BY, model_sha256=digest
        ) as folder,
        contextlib.ExitStack() as stack,
    ):
        observers: list[Observer] = [folder]
        if watch is not None:
            observers.append(stack.enter_context(watch(settings)))
        told = begin_sinks(sinks, settings, folder.place)
        observers.extend(told)
        listeners, deadline = Broadcast(observers), deadline_of(settings)
        runs = stack.enter_context(
            ScriptRuns(script, seed=settings.seed, observer=listeners, log=folder.place / SCRIPT_LOG, deadline=deadline)
        )
        result = make_sweep(ScriptParts(runs), settings, listeners, deadline=deadline, run=str(folder.path))
        finish_sinks(told, result)
    remarks = (_starts(runs.starts), *runs.remarks)
    return advised(result, folder, time.monotonic() - begun, of_script=True, remarks=remarks)


class ScriptParts:
    """Makes the parts of a sweep by processes of the script."""

    def __init__(self, runs: ScriptRuns) -> None:
        self._runs = runs

    def repeats(self, settings: SweepSettings, known: tuple[Trace, ...]) -> tuple[Trace, ...]:
        """Make the repeats."""
        traces = list(known)
        while len(traces) < settings.repeats and not (traces and traces[-1].stop.cut_short):
            traces.append(self._runs.repeat(settings, len(traces)))
        return tuple(traces)

    @contextlib.contextmanager
    def short_runs(self) -> Iterator[ScriptRuns]:
        """Return the context in which short runs are made."""
        yield self._runs

    def can_begin_again(self, settings: SweepSettings) -> bool:
        """Tell that a script can be started again."""
        del settings
        return True

    def most_memory(self) -> int | None:
        """Return the most memory that a process of the script has had."""
        return self._runs.memory

    def nothing_left(self) -> ModelFileError:
        """Return the error to raise if not even a first loss was measured."""
        return ModelFileError(
            f"{self._runs.script.program}: the script ended before its first update",
            hint="its arguments, behind --, must let it train, in this process: others that it starts aren't followed",
        )


def _starts(seconds: Sequence[float]) -> str:
    """Say what the starts cost: every run is a new process."""
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    return f"{format_count(len(seconds), 'start')} of the script, {format_duration(mean)} each to its first update"
