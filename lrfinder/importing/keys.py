"""The keys of a file of arguments: nothing that would bind the rate is passed over without a word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lrfinder.config.document import Document, Problem, show_path
from lrfinder.config.problems import show_value
from lrfinder.importing.axolotl import (
    LORA_PLUS,
    LORA_PLUS_EMBEDDING,
    MARKS,
    NAMES,
    OWN_NAMES,
    OWN_RATES,
    OWN_SCHEDULES,
    mark_of,
)
from lrfinder.importing.deepspeed_file import deepspeed_scheduler
from lrfinder.importing.unfit import UnfitError

_NEARLY = 0.8  # alike: no field of transformers' and axolotl's is but those below, see the tests
# Fields of axolotl 0.19.0 (utils/schemas) that are nearly a key that is read, or are called after the rate, and bind
# nothing of it. Of transformers 5.24.0 there are none.
_HARMLESS = frozenset(
    {
        "adam_beta3",
        "adam_epsilon2",
        "eval_sequence_len",
        "jagged_restart_anneal_steps",
        "jagged_restart_warmup_steps",
        "lr_div_factor",
        "pad_to_sequence_len",
        "sequence_length",
    }
)
_READ_OF_AXOLOTLS = (*MARKS, *NAMES, *OWN_SCHEDULES, *OWN_RATES, LORA_PLUS, LORA_PLUS_EMBEDDING, "plugins")
# What other tools call the same, without its underscores, by transformers' names.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("lr", "peaklr", "baselr", "maxlr", "initlr", "stepsize"), "learning_rate"),
        **dict.fromkeys(("scheduler", "schedulertype", "schedulername", "schedule"), "lr_scheduler_type"),
        **dict.fromkeys(
            ("warmup", "warmupiters", "warmupupdates", "numwarmupsteps", "lrwarmupsteps", "lrwarmup"), "warmup_steps"
        ),
        **dict.fromkeys(
            ("steps", "numsteps", "totalsteps", "trainsteps", "maxtrainsteps", "numtrainingsteps", "maxiters"),
            "max_steps",
        ),
        **dict.fromkeys(("betas", "adambetas"), "adam_beta1 and adam_beta2"),
        "beta1": "adam_beta1",
        "beta2": "adam_beta2",
        "wd": "weight_decay",
    }
)
_OF_THE_RATE = re.compile(r"(?:^|_)(?:lr|lrs|warmup|scheduler|schedule|learning_rates?)(?:_|$)")


def names_the_rate(key: str) -> bool:
    """Tell whether one of the words of a key says that it is about the rate: `vision_tower_lr`, `warmup_init`."""
    return _OF_THE_RATE.search(key.lower().replace("-", "_")) is not None


def check_keys(document: Document, arguments: Collection[str], folder: Path) -> str:
    """Raise UnfitError for each key that binds the rate and isn't read: a slip, another tool's name, a second one.

    `arguments` are those of transformers that are read; a file has them or axolotl's keys. Keys that have nothing to
    do with the rate are none of ours. Case, and what joins the words, make no difference. Returns what to say if
    DeepSpeed's config, in `folder` or in the working folder, couldn't be read.
    """
    mark = mark_of(document.data)
    others = OWN_NAMES if mark else {"optimizer": NAMES["optimizer"]}
    read = (*arguments, *_READ_OF_AXOLOTLS)
    found = {
        key: _doubled(str(key), document.data, others, mark) or _unread(str(key), value, read, others)
        for key, value in document.data.items()
    }
    wrong = [
        Problem(document.place((key,), of_key=True), f"{show_path((str(key),))}: {message}")
        for key, message in found.items()
        if message
    ]
    instead_of = others.get("lr_scheduler_type", "lr_scheduler_type")
    schedulers, unread = deepspeed_scheduler(document, folder=folder, instead_of=instead_of)
    wrong += schedulers
    if wrong:
        raise UnfitError(wrong, "keep the one that is meant" if any(found.get(key) for key in others) else None)
    return unread


def _doubled(key: str, data: Mapping[str, Any], others: Mapping[str, str], mark: str | None) -> str | None:
    """Say that a key is transformers' in an axolotl config, or the other way round: it would do nothing there."""
    own = others.get(key)
    if own is None or data[key] is None:
        return None
    if data.get(own) is not None:
        return f"{own}: {show_value(data[own])} is there, too; one is transformers' key, the other axolotl's"
    whose = f"{mark} shows that this is a config of axolotl's, whose" if mark else "transformers'"
    return f"{whose} key for it is {own}"


def _unread(key: str, value: Any, read: Collection[str], others: Mapping[str, str]) -> str | None:
    """Say what else a key would be that isn't read; None: it is read, or has nothing to do with the rate."""
    if key in read or key in others or key in _HARMLESS:
        return None
    if key == "adafactor":  # transformers 4 writes it into every file
        return "isn't read; write optim: adafactor" if value else None
    plain = _plain(key)
    names = {_plain(name): name for name in read}
    near = [plain] if plain in names else difflib.get_close_matches(plain, names, n=1, cutoff=_NEARLY)
    meant = _ELSEWHERE.get(plain) or (names[near[0]] if near else None)
    if meant is not None:
        return f"unknown; did you mean {others.get(meant, meant)}?"
    if names_the_rate(key) and value and value is not True:
        return "unknown, and by its name it changes the rate; remove it if this run does without"
    return None


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")
