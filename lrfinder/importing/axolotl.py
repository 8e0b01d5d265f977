"""axolotl's config as the TrainingArguments that it makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lrfinder.config.document import Document, Problem
from lrfinder.config.problems import show_value
from lrfinder.importing.unfit import UnfitError

# No TrainingArguments have these.
MARKS = ("lr_scheduler", "base_model", "micro_batch_size", "sequence_len")
# What axolotl calls by another name than transformers.
NAMES: Mapping[str, str] = MappingProxyType({"lr_scheduler": "lr_scheduler_type", "optimizer": "optim"})
OWN_NAMES: Mapping[str, str] = MappingProxyType({theirs: own for own, theirs in NAMES.items()})
# Read in the source of axolotl 0.19.0: core/trainers/mixins/scheduler.py, .../optimizer.py and core/builders/base.py.
OWN_SCHEDULES = (
    "alternate_lr_scheduler_type",
    "cosine_min_lr_ratio",
    "cosine_constant_lr_ratio",
    "lr_quadratic_warmup",
    "jagged_restart_steps",
)
OWN_RATES = ("lr_groups", "embedding_lr", "embedding_lr_scale", "dion_lr", "dion_learning_rate")
LORA_PLUS = "loraplus_lr_ratio"  # counts at 0, too; without it loraplus_lr_embedding does nothing
LORA_PLUS_EMBEDDING = "loraplus_lr_embedding"
_OWN = ("one_cycle", "rex")
_PLUGIN = "lrfinder_schedule.SchedulePlugin"


def mark_of(data: Mapping[str, Any]) -> str | None:
    """Return the key that shows that this is an axolotl config; None: there is none, so it is transformers'."""
    return next((key for key in MARKS if data.get(key) is not None), None)


def refuse_own(document: Document) -> None:
    """Raise UnfitError for schedules and rates that are axolotl's own, also in the arguments that it has made."""
    data = document.data
    found = [*_schedules(data), *_rates(data)]
    if found:
        raise UnfitError(
            [Problem(document.place((key,)), f"{key}: {show_value(data[key])} {what}") for key, what in found],
            "these aren't read: import a scheduler in Python, or write the config by hand",
        )


def _schedules(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plugins = data.get("plugins")
    keys = [key for key in OWN_SCHEDULES if data.get(key)]
    keys += ["lr_scheduler"] if data.get("lr_scheduler") in _OWN else []
    keys += ["plugins"] if isinstance(plugins, list) and _PLUGIN in plugins else []
    return ((key, "is a schedule of axolotl's own") for key in keys)


def _rates(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    keys = [key for key in OWN_RATES if data.get(key)]
    if data.get(LORA_PLUS) is not None:
        keys += [key for key in (LORA_PLUS, LORA_PLUS_EMBEDDING) if data.get(key) is not None]
    return ((key, "gives some param groups another rate, and the model says which") for key in keys)


def training_arguments(document: Document, steps: int | None) -> Document:
    """Return the arguments that axolotl makes of its config for a run of `steps` updates, as its builder does.

    Its schedule is a cosine unless it says otherwise, its warm-up 3 % of the run and at most 100 updates, and never 1.
    Raises UnfitError for a warm-up that is said twice, as axolotl does.
    """
    data = {key: value for key, value in document.data.items() if value is not None}
    if data.get("warmup_steps") and data.get("warmup_ratio"):
        place = document.place(("warmup_ratio",), of_key=True)
        raise UnfitError(
            [Problem(place, "warmup_ratio: warmup_steps is there, too, and axolotl takes one of the two")],
            "remove the one that is not meant",
        )
    data.setdefault("lr_scheduler", "cosine")
    ratio = data.get("warmup_ratio")
    valid = ratio is None or (isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 <= ratio <= 1)
    if "warmup_steps" not in data and not valid:
        message = f"warmup_ratio: expected a number from 0 to 1, got {show_value(ratio)}"
        raise UnfitError([Problem(document.place(("warmup_ratio",)), message)])
    length = steps or (data.get("max_steps") if isinstance(data.get("max_steps"), int) else 0) or 0
    warmup = data.get("warmup_steps", data.pop("warmup_ratio", None))
    if warmup is None:
        warmup = min(int(0.03 * length), 100)
    elif "warmup_steps" not in data:
        warmup = int(warmup * length)
    data["warmup_steps"] = 2 if warmup == 1 else warmup
    renamed = {NAMES.get(key, key): value for key, value in data.items()}
    keys, values = (
        {(NAMES.get(str(path[0]), path[0]), *path[1:]): place for path, place in places.items() if path}
        for places in (document.keys, document.values)
    )
    return Document(data=renamed, keys=keys, values={(): document.place(()), **values})


def in_own_names(error: UnfitError) -> UnfitError:
    """Return the error of the arguments with the names that the keys have in axolotl's config."""
    told = []
    for place, message in error.problems:
        key, colon, rest = message.partition(":")
        told.append(Problem(place, f"{OWN_NAMES.get(key, key)}{colon}{rest}"))
    return UnfitError(told, error.hint)
