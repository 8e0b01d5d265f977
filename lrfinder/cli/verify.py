"""`lrfinder verify`: train shortly around a recommendation, and confirm or correct it."""

from __future__ import annotations

import dataclasses
import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrfinder.cli.loading import load_torch
from lrfinder.cli.options import Debug, Json, Quiet, Seed
from lrfinder.cli.output import print_json, print_line, print_text, warn
from lrfinder.errors import UsageError
from lrfinder.options import Stop

if TYPE_CHECKING:
    from lrfinder.advice import Advice
    from lrfinder.advice.budget import VerifyRequest
    from lrfinder.advice.verification import Verification
    from lrfinder.records import ShortRun, SweepResult
    from lrfinder.store import Source

_SIGNALLED = {Stop.INTERRUPTED: 128 + signal.SIGINT, Stop.TERMINATED: 128 + signal.SIGTERM}
_STATUS = {True: 0, False: 1, None: 5}
_CONFIG_SUFFIXES = frozenset({".yaml", ".yml", ".json", ".toml"})
INCONCLUSIVE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is verified: the run folder, the length, and the rate and shape where a config or an option names them."""

    folder: Path
    steps: int
    lr: float | None
    schedule: str | None
    warmup: int | None


def verify(
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN or CONFIG",
            help="A run folder that `sweep` wrote, or a schedule config that `recommend` wrote. "
            "[default: the newest run in lrfinder-runs]",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Length of the coming run, in updates.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Length of the coming run, in epochs.")] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Shape of the decay; see `lrfinder schedule list`.")
    ] = None,
    schedules: Annotated[
        str | None, typer.Option("--schedules", help="Other shapes to try at the best rate, such as cosine,constant.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Verify this peak rate instead of the recommended one.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="Updates to spend: 800, or a share of the coming run: 25% or 0.25. "
            "[default: 25%, at least 800; for a run of up to 400 updates, five times its length]",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Runs at once, each in a process of its own. [default: several where that is measured to be faster]",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model file, where it is not the one that was swept.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Where the config goes; .yaml, .json or .toml. [default: schedule.yaml in RUN]"),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train shortly around the recommended rate, and confirm or correct it; the schedule config is written.

    Short runs of two lengths, from scratch, with the schedule compressed and on so much of the data that they pass over
    it as often as the coming run, show where training ends lowest and how that moves with the length; a run of up to
    400 updates is tried at full length. They are kept in the run folder: asked again, only what is missing is trained.
    Leaves with status 0 where the recommendation was confirmed, 1 where it was corrected, 5 where training can't tell.
    """
    del debug
    from lrfinder.advice import Request, advise, gather_evidence
    from lrfinder.advice.budget import VerifyRequest, parse_budget
    from lrfinder.advice.trial_plan import TrialPlan
    from lrfinder.advice.verification import conclude
    from lrfinder.api.resuming import check_not_inside
    from lrfinder.store import config_path, load_run, load_source
    from lrfinder.task.reference import check_reference

    asked = _asked(target, steps=steps, epochs=epochs, schedule=schedule, lr=lr)
    sweep = load_run(asked.folder)
    source = load_source(asked.folder)
    if model is not None:
        source = dataclasses.replace(source, reference=model)
    else:
        check_not_inside(source, asked.folder)
    evidence = gather_evidence(sweep)
    advice = advise(evidence, Request(steps=asked.steps, schedule=asked.schedule, warmup=asked.warmup, lr=asked.lr))
    if advice.lr is None or advice.schedule is None:
        if as_json:
            print_json(_nothing(advice, sweep.updates, asked.folder, advice.why, advice.hint))
        else:
            print_text(f"There is no recommendation to verify: {advice.why}.", f"What to do: {advice.hint}.")
        raise typer.Exit(INCONCLUSIVE)
    shapes = _shapes(schedules)
    request = VerifyRequest(
        steps=asked.steps,
        budget=parse_budget(budget, asked.steps, len(shapes)),
        lr=advice.lr,
        schedule=advice.schedule.schedule.name,
        schedules=shapes,
        warmup=asked.warmup,
        seed=seed,
    )
    check_reference(source.reference)
    trials = _train(request, sweep, asked.folder, source, jobs=jobs, quiet=quiet or as_json)
    ended = next((trial.stop for trial in trials[-1:] if trial.stop in _SIGNALLED), None)
    if ended is not None:
        kept = f"{ended.value}: {len(trials) - 1} runs are kept in {asked.folder}"
        if as_json:
            spent = sweep.updates + sum(trial.updates for trial in trials)
            print_json(_nothing(advice, spent, asked.folder, kept, "the same command carries on"))
        else:
            print_text(f"{kept}; the same command carries on.")
        raise typer.Exit(_SIGNALLED[ended])
    for note in dict.fromkeys(trial.note for trial in trials if trial.note):
        warn(note)
    verification = conclude(TrialPlan(request=request, sweep=sweep, runs=trials), evidence)
    written = _write(verification, write if write is not None else config_path(asked.folder))
    document = _document(verification, asked.folder, written)
    _keep(asked.folder, document)
    if as_json:
        print_json(document)
    else:
        _show(verification, sweep, written, table=not quiet)
    raise typer.Exit(_STATUS[verification.confirmed])


def _asked(
    target: Path | None, *, steps: int | None, epochs: float | None, schedule: str | None, lr: float | None
) -> _Asked:
    from lrfinder.advice.length import run_length
    from lrfinder.config import load_schedule
    from lrfinder.store import latest_run, load_run

    folder = target if target is not None else latest_run()
    config = folder if folder.suffix in _CONFIG_SUFFIXES and not folder.is_dir() else folder / "schedule.yaml"
    if config is folder:
        loaded = load_schedule(config)
        if loaded.evidence is None or loaded.evidence.run is None:
            raise UsageError(f"{config}: evidence.run is missing: the config doesn't name its run", hint=_NAME_RUN)
        folder = Path(loaded.evidence.run)
    if steps is None and epochs is None:
        if not config.is_file():
            raise UsageError("the length of the coming run is needed", hint="add --steps T or --epochs E")
        loaded = load_schedule(config)
        return _Asked(
            folder=folder,
            steps=loaded.steps,
            lr=lr if lr is not None else loaded.optimizer.lr,
            schedule=schedule or loaded.schedule.name,
            warmup=loaded.schedule.warmup,
        )
    length = run_length(load_run(folder).setup, steps, epochs)
    return _Asked(folder=folder, steps=length or 1, lr=lr, schedule=schedule, warmup=None)


_NAME_RUN = "give the run folder instead: lrfinder verify RUN --steps T"


def _shapes(text: str | None) -> tuple[str, ...]:
    from lrfinder.schedules import SCHEDULES

    names = tuple(name.strip() for name in text.split(",")) if text else ()
    for name in names:
        if name not in SCHEDULES:
            raise UsageError(f"unknown schedule {name!r}", hint=f"choose of: {', '.join(SCHEDULES)}")
    return names


def _train(
    request: VerifyRequest, sweep: SweepResult, folder: Path, source: Source, *, jobs: int | None, quiet: bool
) -> tuple[ShortRun, ...]:
    load_torch()
    from lrfinder.api.verify import make_trials
    from lrfinder.cli.measuring import users_code
    from lrfinder.report.progress import SweepProgress

    with users_code(), SweepProgress(sweep.settings, quiet=quiet) as progress:
        return make_trials(request, sweep, folder, source=source, jobs=jobs, observers=[progress])


def _write(verification: Verification, path: Path) -> Path | None:
    from lrfinder.config import dump

    if verification.schedule is None:
        return None
    dump(verification.schedule, path)
    return path


def _document(verification: Verification, folder: Path, written: Path | None) -> dict[str, Any]:
    return {
        "config": verification.schedule.as_data() if verification.schedule is not None else None,
        "picks": [asdict(pick) for pick in verification.picks],
        "updates": verification.updates,
        "confirmed": verification.confirmed,
        "why": verification.why,
        "hint": verification.hint,
        "trials": [asdict(trial) for trial in verification.trials],
        "run": str(folder),
        "written": str(written) if written is not None else None,
    }


def _nothing(advice: Advice, updates: int, folder: Path, why: str, hint: str) -> dict[str, Any]:
    """Return the document of a verification that came to no conclusion, with the picks of the sweep."""
    return {
        "config": None,
        "picks": [asdict(pick) for pick in advice.picks],
        "updates": updates,
        "confirmed": None,
        "why": why,
        "hint": hint,
        "trials": [],
        "run": str(folder),
        "written": None,
    }


def _keep(folder: Path, document: dict[str, Any]) -> None:
    from lrfinder.files import write_atomic
    from lrfinder.store import VERIFICATION

    write_atomic(folder / VERIFICATION, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _show(verification: Verification, sweep: SweepResult, written: Path | None, *, table: bool) -> None:
    from lrfinder.report.verification import trials_table

    if table:
        print_text(trials_table((*sweep.runs, *verification.trials)), "")
    print_text(verification.why)
    if written is None:
        print_text("", f"What to do: {verification.hint}.")
        return
    print_text("", f"Written: {written}. In the training script, after the optimizer is made:", "")
    print_line("    from lrfinder import load_schedule")
    print_line(f"    scheduler = load_schedule({json.dumps(str(written))}).scheduler(optimizer)")
