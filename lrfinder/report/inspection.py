"""What the first batch of a sweep shows, in words."""

from __future__ import annotations

from lrfinder.formatting import format_bytes, format_count, format_duration, format_loss
from lrfinder.records import DryRun, Inspection

_MOST_GROUPS = 6  # that are told one by one


def inspection_facts(inspection: Inspection) -> list[str]:
    """Return the batch, its loss beside that of a constant prediction, the param groups, and the memory."""
    facts = [f"batch: {', '.join(inspection.shapes)}"] if inspection.shapes else []
    if inspection.loss is not None:
        beside = ""
        if inspection.constant is not None:
            beside = f", and {format_loss(inspection.constant)} for a constant prediction"
        facts.append(f"its {inspection.kind} {format_loss(inspection.loss)}{beside}")
    if len(inspection.groups) > 1:
        each = [f"{count:,} at {ratio:.3g}" for count, ratio in inspection.groups[:_MOST_GROUPS]]
        more = ", ..." if len(inspection.groups) > _MOST_GROUPS else ""
        facts.append(f"{len(inspection.groups)} param groups: parameters {', '.join(each)}{more} times the rate")
    if inspection.memory is not None:
        total, free = inspection.memory
        facts.append(f"{format_bytes(free)} of {format_bytes(total)} of memory free")
    return facts


def dry_run_lines(run: DryRun) -> list[str]:
    """Return what would be swept and what it would cost."""
    setup = run.setup
    optimizer, after = setup.optimizer, ""
    if run.trials:
        after = f" with {run.trials} trial runs of {run.trial_updates}, or more"
    chosen = "" if optimizer.chosen_by == "model file" else f" ({optimizer.chosen_by})"
    size = "" if setup.batch_size is None else f", {setup.batch_size} samples an update"
    length = "" if setup.batches_per_epoch is None else f", {format_count(setup.batches_per_epoch, 'update')} an epoch"
    facts = [fact[0].upper() + fact[1:] + "." for fact in inspection_facts(run.inspection)]
    return [
        f"{setup.model}: {setup.parameters:,} parameters, on {setup.device}; torch {setup.torch}.",
        f"Loss: {setup.loss}. Optimizer: {optimizer.name}{chosen}{size}{length}.",
        *facts,
        f"A sweep takes {format_count(run.updates, 'update')}{after}: about {format_duration(run.seconds)}.",
        "Nothing was written, and the updates that were made are undone.",
    ]
