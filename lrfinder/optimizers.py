"""What lrfinder knows about optimizers: a row for each class of torch.optim, used by every layer of the package."""

from __future__ import annotations

import ast
import inspect
import keyword
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

LARGEST_INTEGER = 2**63 - 1  # TOML's integers have 64 bits, and a config must say the same in every format
# Of a param group what is no setting: rates, choices of torch's implementation, and bookkeeping.
NO_SETTINGS = frozenset(
    {"params", "param_names", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"}
)
SEVERAL = " + "  # joins the classes of optimizers that were swept together


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerTraits:
    """The traits of an optimizer's class. Of one that isn't known they are the defaults: guesses, which nobody is told.

    `defaults` are torch's for the rate and for what binds it, `takes` all settings that torch's class takes (None: not
    known); the tests hold both equal to torch's own signatures.
    """

    known: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    takes: frozenset[str] | None = None
    second_moment: tuple[str | int, ...] = ()  # where its decay stands in the settings; (): none, or not known
    decoupled: bool | None = False  # its weight decay shrinks the weights by rate x decay, apart from the gradient
    adds_momentum: bool = False  # its `momentum` adds up updates, so that a steady gradient moves it by 1/(1 - m)
    accumulates: bool = False  # it never forgets a squared gradient, so its own step falls with every update
    no_decay: str | None = None  # why a decay of the rate does it no good
    norm: Literal["l1", "l2"] = "l1"  # of the gradient, which bounds its update: see `lrfinder schedule refine`
    graphable: bool = False  # its update can be recorded as a CUDA graph
    stackable: bool = False  # its update is known for several members at once


_BETAS = (0.9, 0.999)
_BETA2 = ("betas", 1)
_ON_GPU = "foreach maximize differentiable capturable"


def _words(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


# By the name of the class in torch.optim.
TRAITS: Mapping[str, OptimizerTraits] = MappingProxyType(
    {
        "ASGD": OptimizerTraits(
            defaults={"lr": 0.01, "weight_decay": 0.0}, takes=_words("lambd alpha t0 weight_decay", _ON_GPU), norm="l2"
        ),
        "Adadelta": OptimizerTraits(
            defaults={"lr": 1.0, "rho": 0.9, "weight_decay": 0.0},
            takes=_words("rho eps weight_decay", _ON_GPU),
            second_moment=("rho",),
        ),
        "Adafactor": OptimizerTraits(
            defaults={"lr": 0.01, "weight_decay": 0.0},
            takes=_words("beta2_decay eps d weight_decay foreach maximize"),
            decoupled=True,
        ),
        "Adagrad": OptimizerTraits(
            defaults={"lr": 0.01, "weight_decay": 0.0},
            takes=_words("lr_decay weight_decay initial_accumulator_value eps foreach maximize differentiable fused"),
            accumulates=True,
        ),
        "Adam": OptimizerTraits(
            defaults={"lr": 0.001, "betas": _BETAS, "weight_decay": 0.0},
            takes=_words("betas eps weight_decay amsgrad fused decoupled_weight_decay", _ON_GPU),
            second_moment=_BETA2,
            graphable=True,
            stackable=True,
        ),
        "AdamW": OptimizerTraits(
            defaults={"lr": 0.001, "betas": _BETAS, "weight_decay": 0.01},
            takes=_words("betas eps weight_decay amsgrad fused", _ON_GPU),
            second_moment=_BETA2,
            decoupled=True,
            graphable=True,
            stackable=True,
        ),
        "Adamax": OptimizerTraits(
            defaults={"lr": 0.002, "betas": _BETAS, "weight_decay": 0.0},
            takes=_words("betas eps weight_decay", _ON_GPU),
            second_moment=_BETA2,
        ),
        "LBFGS": OptimizerTraits(
            # maximize: from torch 2.14 on
            takes=_words("max_iter max_eval tolerance_grad tolerance_change history_size line_search_fn maximize"),
            norm="l2",
            no_decay="LBFGS chooses the length of its steps by their curvature, and the rate only scales them",
        ),
        "Muon": OptimizerTraits(
            defaults={"lr": 0.001, "momentum": 0.95, "weight_decay": 0.1},
            takes=_words("weight_decay momentum nesterov ns_coefficients eps ns_steps adjust_lr_fn"),
            decoupled=True,
        ),
        "NAdam": OptimizerTraits(
            defaults={"lr": 0.002, "betas": _BETAS, "weight_decay": 0.0},
            takes=_words("betas eps weight_decay momentum_decay decoupled_weight_decay", _ON_GPU),
            second_moment=_BETA2,
        ),
        "RAdam": OptimizerTraits(
            defaults={"lr": 0.001, "betas": _BETAS, "weight_decay": 0.0},
            takes=_words("betas eps weight_decay decoupled_weight_decay", _ON_GPU),
            second_moment=_BETA2,
        ),
        "RMSprop": OptimizerTraits(
            defaults={"lr": 0.01, "alpha": 0.99, "momentum": 0.0, "weight_decay": 0.0},
            takes=_words("alpha eps weight_decay momentum centered", _ON_GPU),
            second_moment=("alpha",),
            adds_momentum=True,
        ),
        "Rprop": OptimizerTraits(
            defaults={"lr": 0.01},
            takes=_words("etas step_sizes", _ON_GPU),
            no_decay="Rprop sets the size of each weight's steps itself, and the rate is only where they begin",
        ),
        "SGD": OptimizerTraits(
            defaults={"lr": 0.001, "momentum": 0.0, "weight_decay": 0.0},
            takes=_words("momentum dampening weight_decay nesterov maximize foreach differentiable fused"),
            adds_momentum=True,
            norm="l2",
            graphable=True,
            stackable=True,
        ),
        "SparseAdam": OptimizerTraits(
            defaults={"lr": 0.001, "betas": _BETAS}, takes=_words("betas eps maximize"), second_moment=_BETA2
        ),
    }
)
_ADAMS = OptimizerTraits(known=False, decoupled=None, second_moment=_BETA2)
# By a part of the name, the first that fits: AdamW8bit, PagedAdamW8bit, AdamWScheduleFree, StableAdamW; Lion,
# PagedLion8bit, FusedLion; of the rest only the second moment is known: Adam8bit, FusedAdam, RAdamScheduleFree, ...
_FAMILIES: Mapping[str, OptimizerTraits] = MappingProxyType(
    {
        "AdamW": OptimizerTraits(decoupled=True, second_moment=_BETA2),
        "Lion": OptimizerTraits(decoupled=True),  # both of its betas are of the momentum
        "Adan": OptimizerTraits(known=False, decoupled=None, second_moment=("betas", 2)),
        **dict.fromkeys(("Adam", "Lamb", "LAMB", "Adopt", "ADOPT", "Prodigy"), _ADAMS),
    }
)
_UNKNOWN = OptimizerTraits(known=False, decoupled=None)
# Settings by which classes say whether their decay is decoupled: torch's, timm's, apex's, DeepSpeed's, and others'.
_DECOUPLED = ("decoupled_weight_decay", "decoupled_decay", "adam_w_mode", "adamw_mode", "weight_decouple")


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes that a name is made of: one, or several that were swept together."""
    return tuple(name.split(SEVERAL))


def traits_of(name: str) -> OptimizerTraits:
    """Return the traits of the class called `name`: torch's, or what all of a family have in common.

    Of several classes it is what they have in common; where they differ it isn't known.
    """
    each = [_traits_of_one(one) for one in classes_of(name)]
    return each[0] if len(each) == 1 else _common(each)


def _traits_of_one(name: str) -> OptimizerTraits:
    own = TRAITS.get(name.removeprefix("torch.optim."))
    return own or next((traits for part, traits in _FAMILIES.items() if part in name), _UNKNOWN)


def _common(each: Sequence[OptimizerTraits]) -> OptimizerTraits:
    first = each[0]
    alike = all(it.norm == first.norm for it in each)
    return OptimizerTraits(
        known=alike and all(it.known for it in each),
        decoupled=first.decoupled if all(it.decoupled == first.decoupled for it in each) else None,
        second_moment=first.second_moment,  # the settings are recorded of the first optimizer
        adds_momentum=all(it.adds_momentum for it in each),
        accumulates=all(it.accumulates for it in each),
        no_decay=first.no_decay if all(it.no_decay == first.no_decay for it in each) else None,
        norm=first.norm if alike else _UNKNOWN.norm,
    )


def not_taken(name: str, settings: Iterable[str]) -> tuple[str, ...]:
    """Return those of the settings that torch's class of that name doesn't take; nothing of what isn't torch's."""
    takes = traits_of(name).takes
    return () if takes is None else tuple(key for key in settings if key not in takes)


def decoupled_decay(name: str, settings: Mapping[str, object]) -> bool | None:
    """Tell whether the weight decay shrinks the weights by rate x decay, apart from the gradient; None: not known."""
    said = [settings[key] for key in _DECOUPLED if isinstance(settings.get(key), bool)]
    if not said:
        return traits_of(name).decoupled
    return bool(said[0]) if len(classes_of(name)) == 1 else None  # of several it is said of the first


def second_moment_decay(name: str, settings: Mapping[str, object]) -> float | None:
    """Return the decay of the optimizer's average of squared gradients; None if none in [0, 1) is known."""
    found: object = settings
    for part in traits_of(name).second_moment:
        if isinstance(part, str) and isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(part, int) and isinstance(found, tuple) and part < len(found):
            found = found[part]
        else:
            return None
    return found if isinstance(found, float) and 0 <= found < 1 else None


def second_moment_updates(beta2: float) -> float:
    """Return 2 / (1 - beta2), the updates for which the average rests on few gradients (arXiv:1910.04209)."""
    return 2 / (1 - beta2)


def check_name(name: str) -> str:
    """Return the name of an optimizer's class, dotted if it has a module, or of several joined by " + ".

    Exports write it into code. Raises ValueError for text that is no name.
    """
    if not all(_is_word(part) for one in classes_of(name) for part in one.split(".")):
        raise ValueError(f"expected the name of a class, such as AdamW or package.Lion, got {name[:60]!a}")
    return name


def check_setting(key: str) -> str:
    """Return the name of a setting: a keyword that an optimizer's class may take, beside its parameters and its rate.

    Exports write it into code. Raises ValueError for a name that can't be one.
    """
    if not _is_word(key) or key.startswith("_") or key in {"params", "lr"}:
        raise ValueError(f"expected the name of a keyword argument, such as weight_decay, got {key[:60]!a}")
    return key


def is_setting(key: object) -> bool:
    """Tell whether `check_setting` accepts the name; a param group may have keys that are no text."""
    try:
        return isinstance(key, str) and bool(check_setting(key))
    except ValueError:
        return False


def tells(name: str, key: object, value: object) -> bool:
    """Tell whether a param group's value belongs into a config of that class.

    It doesn't if it is switched off, if the name of the class says it already, as AdamW's says that its weight decay
    is decoupled, or if its key is no keyword.
    """
    says = key != "decoupled_weight_decay" or key in (traits_of(name).takes or ())
    return value is not False and says and is_setting(key)


def is_value(value: object) -> bool:
    """Tell whether every format of a config can hold a setting's value.

    That is true or false, a finite number of 64 bits, text, and a list or tuple of finite numbers.
    """
    if isinstance(value, list | tuple):
        return all(isinstance(item, int | float) and is_value(item) for item in value)
    if isinstance(value, str):  # half a character is not in UTF-8
        return all(not "\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return abs(value) <= LARGEST_INTEGER
    return isinstance(value, float) and math.isfinite(value)


def list_in(text: object) -> tuple[float | None, ...] | None:
    """Return the list that a setting's text stands for, or None if it is none of numbers and at least one None.

    No config can hold such a list; torch's Adafactor takes one, eps=(None, 0.001).
    """
    try:
        found = ast.literal_eval(text) if isinstance(text, str) and text[:1] in set("([") else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(found, list | tuple) or None not in found:
        return None
    return tuple(found) if is_value([item for item in found if item is not None]) else None


def default_of(kind: type, key: str) -> Any:
    """Return what the class `kind` takes if `key` isn't given; None if that can't be told."""
    try:
        parameter = inspect.signature(kind).parameters.get(key)
    except (TypeError, ValueError):  # a class without a signature
        return None
    return None if parameter is None else parameter.default


def class_name(optimizer: object) -> str:
    """Return the name of the optimizer's class, or of the next of its bases whose name is one: a class may have any."""
    return next(kind.__name__ for kind in type(optimizer).__mro__ if _is_word(kind.__name__))


def same_classes(one: str, other: str) -> bool:
    """Tell whether two names mean the same optimizer: in any case of letters, with or without the module."""
    return _bare_names(one) == _bare_names(other)


def _bare_names(name: str) -> set[str]:
    return {one.rpartition(".")[2].lower() for one in classes_of(name)}


def is_called(optimizer: object, name: str) -> bool:
    """Tell whether a live optimizer is what a config calls `name`.

    That is one of that class, or of a class derived from it, or a wrapper of one, such as accelerate's; in any case of
    letters, with or without the module; of several names one is enough. Among torch's own classes nothing derived
    counts: its AdamW is derived from its Adam.
    """
    wanted = _bare_names(name)
    for kind in type(optimizer).__mro__:
        if kind.__name__.lower() in wanted:
            return True
        if kind.__module__.startswith("torch.optim"):
            break
    inner = getattr(optimizer, "optimizer", None)
    return inner is not None and is_called(inner, name)


def _is_word(text: str) -> bool:
    """Tell whether the text is a word of Python code, and stands for itself there: a word may be written in ways."""
    return text.isidentifier() and not keyword.iskeyword(text) and unicodedata.normalize("NFKC", text) == text
