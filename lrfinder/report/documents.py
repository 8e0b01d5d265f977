"""The JSON documents of the commands: plain data, built from the records, here and nowhere else.

Scripts rely on them. A key is never renamed or removed; new keys may be added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrfinder.options import STOP_TEXT, Stop

if TYPE_CHECKING:
    from lrfinder.advice import Advice, CheckResult
    from lrfinder.advice.another_batch import BatchRate
    from lrfinder.advice.answer import RunAnswer
    from lrfinder.advice.checks.lint import Suspicion
    from lrfinder.advice.checks.used_rates import UsedRates
    from lrfinder.advice.comparison import Comparison
    from lrfinder.advice.explain import Fact
    from lrfinder.advice.verify.verification import Verification
    from lrfinder.config import ScheduleConfig
    from lrfinder.config.refine import Refined
    from lrfinder.export.base import Export
    from lrfinder.records import DryRun, Pick, ShortRun, SweepResult, Trace
    from lrfinder.search.critical_batch import CriticalBatch


def json_text(document: Mapping[str, Any], *, indent: int = 1) -> str:
    """Return the document as JSON, with a newline at its end. Raises ValueError for NaN and infinity."""
    return json.dumps(document, indent=indent, allow_nan=False) + "\n"


def error_document(kind: str, message: str, *, hint: str | None, status: int) -> dict[str, Any]:
    """Return what every command with `--json` prints if it fails; `kind` is the class of the error."""
    return {"error": {"kind": kind, "message": message, "hint": hint, "exit_status": status}}


def sweep_document(result: SweepResult, advice: Advice) -> dict[str, Any]:
    """Return what `lrfinder sweep --json` prints; `stopped_by` is None if every rate was tried."""
    return {
        "run": result.run,
        "status": result.status.value,
        "stopped_by": None if result.status is Stop.COMPLETED else STOP_TEXT[result.status],
        "updates": result.updates,
        "repeats": [_repeat(trace) for trace in result.traces],
        "short_sweeps": [_repeat(trace) for trace in result.short_sweeps],
        "runs": [_short_run(run) for run in result.runs],
        "advice": {"status": advice.status.value, "lr": advice.lr, "why": advice.why, "hint": advice.hint},
    }


def dry_run_document(run: DryRun) -> dict[str, Any]:
    """Return what `lrfinder sweep --dry-run --json` prints."""
    return {**asdict(run), "updates": run.updates, "seconds": run.seconds}


def recommend_document(advice: Advice) -> dict[str, Any]:
    """Return the part of `lrfinder recommend --json` that follows from the advice.

    The fit is left out: it follows from the curve, which is stored.
    """
    return {
        "config": _config(advice.schedule),
        "picks": [asdict(pick) for pick in advice.picks],
        "updates": advice.updates,
        "band": asdict(advice.band) if advice.band is not None else None,
        "status": advice.status.value,
        "why": advice.why,
        "hint": advice.hint,
        "against": [asdict(rate) for rate in advice.against],
        "start": advice.start,
    }


def batch_document(rate: BatchRate | None) -> dict[str, Any] | None:
    """Return what `lrfinder recommend --target-batch --json` adds as `target_batch`; JSON knows no infinite batch."""
    return None if rate is None else {**asdict(rate), "critical": critical_document(rate.critical)}


def critical_document(critical: CriticalBatch | None) -> dict[str, Any] | None:
    """Return what is known of the critical batch; None stands for an end that is larger than can be told."""
    if critical is None:
        return None
    return {key: value if math.isfinite(value) else None for key, value in asdict(critical).items()}


def verify_document(verification: Verification, *, run: str, written: str | None) -> dict[str, Any]:
    """Return what `lrfinder verify --json` prints, and what verification.json holds."""
    return {
        "config": _config(verification.schedule),
        "picks": [asdict(pick) for pick in verification.picks],
        "updates": verification.updates,
        "confirmed": verification.confirmed,
        "worse": verification.worse,
        "against": [asdict(rate) for rate in verification.against],
        "why": verification.why,
        "hint": verification.hint,
        "trials": [asdict(trial) for trial in verification.trials],
        "account": None if verification.account is None else asdict(verification.account),
        "run": run,
        "written": written,
    }


def find_document(
    advice: Advice, verification: Verification | None, *, unverified: str, run: str, written: str | None, seconds: float
) -> dict[str, Any]:
    """Return what `lrfinder find --json` prints; `verified` is None if trials can't tell, or weren't made."""
    return {
        **recommend_document(advice),
        "lr": advice.lr,
        "updates": advice.updates if verification is None else verification.updates,
        "seconds": round(seconds, 3),
        "verified": None if verification is None else verification.confirmed,
        "verification": unverified if verification is None else verification.why,
        "account": None if verification is None or verification.account is None else asdict(verification.account),
        "run": run,
        "written": written,
    }


def check_document(checked: CheckResult, *, config: str | None, updates: int) -> dict[str, Any]:
    """Return what `lrfinder check --json` prints."""
    return {**asdict(checked), "config": config, "updates": updates}


def used_rates_document(used: UsedRates, *, log: str, config: str) -> dict[str, Any]:
    """Return what `lrfinder check --log --json` prints."""
    return {**asdict(used), "log": log, "config": config}


def report_document(page: Path, runs: Sequence[Path]) -> dict[str, Any]:
    """Return what `lrfinder report --json` prints."""
    return {"report": str(page), "runs": [str(run) for run in runs]}


def compare_document(comparison: Comparison, *, png: Path | None) -> dict[str, Any]:
    """Return what `lrfinder compare --json` prints."""
    return {
        "runs": [_answer(run) for run in comparison.runs],
        "losses_comparable": comparison.losses_comparable,
        "rates_comparable": comparison.rates_comparable,
        "differences": [asdict(difference) for difference in comparison.differences],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "verdict": list(comparison.verdict),
        "png": None if png is None else str(png),
    }


def rates_document(configs: Sequence[tuple[str, ScheduleConfig]]) -> dict[str, Any]:
    """Return what `lrfinder schedule show --json` prints: the rate of every update, of one config or of several."""
    if len(configs) == 1:
        return {"lrs": configs[0][1].lrs()}
    return {"configs": [{"path": path, "lrs": config.lrs()} for path, config in configs]}


def batches_document(planned: ScheduleConfig, *, written: str | None) -> dict[str, Any]:
    """Return what `lrfinder schedule batches --json` prints."""
    epochs = [{"batch_size": it.batch_size, "factor": it.factor, "updates": it.updates} for it in planned.batch_plan()]
    return {"epochs": epochs, "config": planned.as_data(), "written": written}


def lint_document(found: Sequence[tuple[str, Sequence[Suspicion]]], *, invalid: Sequence[str]) -> dict[str, Any]:
    """Return what `lrfinder schedule lint --json` prints; `invalid` are the messages of configs that can't be read."""
    return {
        "suspicions": [{"config": config, **asdict(one)} for config, them in found for one in them],
        "invalid": list(invalid),
    }


def shapes_document() -> dict[str, Any]:
    """Return what `lrfinder schedule list --json` prints."""
    from lrfinder.report.schedule import shape_parameters
    from lrfinder.schedules import SCHEDULES

    shapes = SCHEDULES.items()
    return {
        "schedules": [{"name": name, "advice": it.advice, "parameters": shape_parameters(it)} for name, it in shapes]
    }


def export_document(made: Export, *, target: str, written: str | None) -> dict[str, Any]:
    """Return what `lrfinder schedule export --json` prints."""
    return {
        "target": target,
        "preset": made.preset,
        "suffix": made.suffix,
        "left_out": made.left_out,
        "text": made.text,
        "written": written,
    }


def import_document(config: ScheduleConfig, *, written: str | None) -> dict[str, Any]:
    """Return what `lrfinder schedule import --json` prints."""
    return {"config": config.as_data(), "written": written}


def refine_document(refined: Refined, *, written: str | None) -> dict[str, Any]:
    """Return what `lrfinder schedule refine --json` prints."""
    return {
        "config": refined.config.as_data(),
        "norm": refined.norm,
        "missing": refined.missing,
        "left_out": refined.left_out,
        "written": written,
    }


def explain_document(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return what `lrfinder schedule explain --json` prints."""
    return {"facts": [asdict(fact) for fact in facts]}


def runs_document(runs: Sequence[tuple[str, str, int, str, Pick | None]]) -> dict[str, Any]:
    """Return what `lrfinder runs --json` prints: folder, model, updates, ending and pick of each."""
    names = ("run", "model", "updates", "ended")
    return {
        "runs": [
            {**dict(zip(names, facts, strict=True)), "pick": None if pick is None else asdict(pick)}
            for *facts, pick in runs
        ]
    }


def init_document(file: Path) -> dict[str, Any]:
    """Return what `lrfinder init --json` prints."""
    return {"file": str(file)}


def _config(schedule: ScheduleConfig | None) -> dict[str, Any] | None:
    return None if schedule is None else schedule.as_data()


def _answer(run: RunAnswer) -> dict[str, Any]:
    setup, pick = run.result.setup, run.pick
    return {
        "run": run.name,
        "model": setup.model,
        "optimizer": setup.optimizer.name,
        "batch_size": setup.batch_size,
        "lr": run.advice.lr,
        "low": pick.low,
        "high": pick.high,
        "rule": pick.rule,
        "status": pick.status.value,
        "by": run.by,
        "why": run.advice.why,
        "updates": run.advice.updates,
    }


def _repeat(trace: Trace) -> dict[str, Any]:
    return {
        "repeat": trace.repeat,
        "seed": trace.seed,
        "stop": trace.stop.value,
        "points": len(trace.lrs),
        "why": trace.why,
        "skipped": trace.skipped,
        "micro_batches": trace.micro_batches,
    }


def _short_run(run: ShortRun) -> dict[str, Any]:
    return {
        "lr": run.plan.lr,
        "steps": run.plan.steps,
        "repeat": run.plan.repeat,
        "loss": run.loss,
        "stop": run.stop.value,
        "updates": run.updates,
        "why": run.why,
        "skipped": run.skipped,
        "micro_batches": run.micro_batches,
    }
