"""Hugging Face's `optim`: the class of optimizer that the Trainer makes, and the settings that it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lrfinder.optimizers import not_taken

DEFAULT = "AdamW"  # what the Trainer takes without `optim`, with or without torch's fused implementation

# The classes, by the beginning of their names in `optim`; the longest that fits counts. Behind it stand the number of
# bits, where the state is paged, and the implementation.
_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "adamw": "AdamW",
        "paged_adamw": "AdamW",
        "adafactor": "Adafactor",
        "ademamix": "AdEMAMix",
        "paged_ademamix": "AdEMAMix",
        "sgd": "SGD",
        "adagrad": "Adagrad",
        "lion": "Lion",
        "paged_lion": "Lion",
        "rmsprop": "RMSprop",
        "galore_adamw": "GaLoreAdamW",
        "galore_adafactor": "GaLoreAdafactor",
        "lomo": "Lomo",
        "adalomo": "AdaLomo",
        "grokadamw": "GrokAdamW",
        "schedule_free_radam": "RAdamScheduleFree",
        "schedule_free_adamw": "AdamWScheduleFree",
        "schedule_free_sgd": "SGDScheduleFree",
        "apollo_adamw": "APOLLOAdamW",
        "stable_adamw": "StableAdamW",
    }
)
# Settings of each class that the Trainer takes from `optim_args`, "momentum=0.9,nesterov=true". weight_decay is none of
# them: it gives its param groups that of the arguments.
_OWN = MappingProxyType(
    {
        "SGD": ("momentum", "dampening", "nesterov"),
        "RMSprop": ("momentum", "alpha", "eps", "centered"),
        "Adagrad": ("lr_decay", "eps"),
    }
)
_FLAGS = frozenset({"nesterov", "centered"})
_TRUE = frozenset({"true", "1", "yes"})
_OTHER_GROUPS = ("GaLore", "APOLLO", "Lomo", "AdaLomo")  # the Trainer makes these classes' groups without its decay


def optimizer_class(optim: str) -> str | None:
    """Return the class of optimizer that `optim` names, or None if it names none of the Trainer's."""
    found = [start for start in _CLASSES if optim == start or optim.startswith(f"{start}_")]
    return _CLASSES[max(found, key=len)] if found else None


def optimizer_settings(
    name: str, *, betas: tuple[float, float], eps: float, weight_decay: float, optim_args: str | None
) -> dict[str, Any]:
    """Return the settings that the Trainer gives this class: AdamW's, the weight decay and `optim_args` of others.

    Raises ValueError for what is no number in `optim_args`, and for a rate there.
    """
    given = dict(part.strip().split("=", maxsplit=1) for part in (optim_args or "").split(",") if "=" in part)
    if "lr" in given:
        raise ValueError(f"lr={given['lr']} is another rate than learning_rate; remove it")
    name = name.removeprefix("torch.optim.")
    if name == "AdamW":
        return {"betas": betas, "eps": eps, "weight_decay": weight_decay}
    own = [key for key in _OWN.get(name, ()) if key in given]
    settings: dict[str, Any] = {
        key: given[key].lower() in _TRUE if key in _FLAGS else _finite(given[key]) for key in own
    }
    if name.startswith(_OTHER_GROUPS) or not_taken(name, ["weight_decay"]):
        return settings
    return {**settings, "weight_decay": weight_decay}


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"expected a finite number, got {text!r}")
    return number
