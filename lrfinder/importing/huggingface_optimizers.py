"""Hugging Face's `optim`: the class of optimizer that the Trainer makes, and the settings that it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

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
# Arguments of each class in `optim_args`, "momentum=0.9,nesterov=true", that bind its rate.
_OWN = MappingProxyType({"SGD": ("momentum", "dampening", "weight_decay"), "RMSprop": ("momentum", "alpha")})


def optimizer_class(optim: str) -> str | None:
    """Return the class of optimizer that `optim` names, or None if it names none of the Trainer's."""
    found = [start for start in _CLASSES if optim == start or optim.startswith(f"{start}_")]
    return _CLASSES[max(found, key=len)] if found else None


def optimizer_settings(
    name: str, *, betas: tuple[float, float], eps: float, weight_decay: float, optim_args: str | None
) -> dict[str, Any]:
    """Return the settings that the Trainer gives this class: AdamW's, and what binds the rate of others.

    Raises ValueError for what is no number in `optim_args`, and for a rate there.
    """
    given = dict(part.strip().split("=", maxsplit=1) for part in (optim_args or "").split(",") if "=" in part)
    if "lr" in given:
        raise ValueError(f"lr={given['lr']} is another rate than learning_rate; remove it")
    if name == "AdamW":
        return {"betas": betas, "eps": eps, "weight_decay": weight_decay}
    settings = {}
    for key in _OWN.get(name, ()):
        if key in given:
            settings[key] = float(given[key])
            if not math.isfinite(settings[key]):
                raise ValueError(f"expected a finite number, got {given[key]!r}")
    return settings
