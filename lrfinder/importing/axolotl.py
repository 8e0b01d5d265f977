"""axolotl's config as the TrainingArguments that it makes of it."""

from __future__ import annotations

from typing import Any

from lrfinder.config.document import Document, Problem
from lrfinder.importing.unfit import UnfitError

_MARKS = frozenset(
    {"lr_scheduler", "base_model", "micro_batch_size", "sequence_len"}
)  # no TrainingArguments have these
_NAMES = {"lr_scheduler": "lr_scheduler_type", "optimizer": "optim"}
_OTHER = ("cosine_min_lr_ratio", "cosine_constant_lr_ratio", "lr_quadratic_warmup", "jagged_restart_steps", "lr_groups")
_OWN = ("one_cycle", "rex")
_PLUGIN = "lrfinder_schedule.SchedulePlugin"


def is_axolotls(data: dict[str, Any]) -> bool:
    """Tell whether the keys are those of an axolotl config."""
    return "lr_scheduler_type" not in data and not _MARKS.isdisjoint(data)


def training_arguments(document: Document, steps: int | None) -> Document:
    """Return the arguments that axolotl makes of its config for a run of `steps` updates, as its builder does.

    Its schedule is a cosine unless it says otherwise, its warm-up 3 % of the run and at most 100 updates, and never 1.
    Raises UnfitError for schedules and keys that are axolotl's own.
    """
    data = {key: value for key, value in document.data.items() if value is not None}
    shape = data.setdefault("lr_scheduler", "cosine")
    wrong = [key for key in _OTHER if data.get(key)] + (["lr_scheduler"] if shape in _OWN else [])
    plugins = data.get("plugins")
    wrong += ["plugins"] if isinstance(plugins, list) and _PLUGIN in plugins else []
    if wrong:
        found = [
            Problem(document.place((key,)), f"{key}: {data[key]!r} is a schedule of axolotl's own") for key in wrong
        ]
        raise UnfitError(found, "these aren't read: import a scheduler in Python, or write the config by hand")
    length = steps or (data.get("max_steps") if isinstance(data.get("max_steps"), int) else 0) or 0
    warmup = data.get("warmup_steps", data.pop("warmup_ratio", None))
    if warmup is None:
        warmup = min(int(0.03 * length), 100)
    elif "warmup_steps" not in data and isinstance(warmup, int | float):
        warmup = int(warmup * length)
    data["warmup_steps"] = 2 if warmup == 1 else warmup
    renamed = {_NAMES.get(key, key): value for key, value in data.items()}
    keys, values = (
        {(_NAMES.get(str(path[0]), path[0]), *path[1:]): place for path, place in places.items() if path}
        for places in (document.keys, document.values)
    )
    return Document(data=renamed, keys=keys, values={(): document.place(()), **values})
