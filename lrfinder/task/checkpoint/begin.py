"""Let a model and its optimizer begin where a checkpoint ended."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lrfinder.errors import UsageError, error_text
from lrfinder.formatting import format_count
from lrfinder.optimizers import NO_SETTINGS, class_name
from lrfinder.records import Start
from lrfinder.task.checkpoint.read import Checkpoint, State
from lrfinder.task.problem import SweptOptimizer

_PARALLEL, _COMPILED = "module.", "_orig_mod."  # what DataParallel puts before all names, torch.compile into some
_MOST = 5  # names that a message lists
_CYCLED = {"max_momentum", "base_momentum"}  # in a group whose momentum OneCycleLR or CyclicLR changes at each update
# What torch's optimizers keep of a weight in its own shape.
_LIKE_THE_WEIGHT = frozenset({"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "sum"})


def load_weights(checkpoint: Checkpoint, model: nn.Module, where: str) -> None:
    """Copy the weights of a checkpoint into `model`, every one. Raises UsageError that names those that don't fit."""
    own = model.state_dict()
    weights = _as_named(checkpoint.weights, own)
    if getattr(model, "peft_config", None) is not None and set(weights) != set(own):
        _load_adapter(checkpoint, model, where)
        return
    weights = _with_tied(weights, own)
    missing, extra = [key for key in own if key not in weights], [key for key in weights if key not in own]
    shapes = [
        f"{key} ({tuple(weights[key].shape)} there, {tuple(value.shape)} here)"
        for key, value in own.items()
        if key in weights and isinstance(value, torch.Tensor) and not is_lazy(value)
        if isinstance(weights[key], torch.Tensor) and weights[key].shape != value.shape
    ]
    faults = [
        f"{what} {_listed(names)}"
        for what, names in (("it lacks", missing), ("the model has no", extra), ("other shapes:", shapes))
        if names
    ]
    if faults:
        raise _unfit(checkpoint, where, "; ".join(faults))
    model.load_state_dict(dict(weights))


def load_optimizer(checkpoint: Checkpoint, parts: Sequence[SweptOptimizer], where: str) -> None:
    """Give the optimizer the state of a checkpoint, if it has one; settings and rates stay those of the model file.

    Raises UsageError if it is that of another optimizer, or of other param groups.
    """
    states = checkpoint.optimizers
    if not states:
        return
    if len(states) != len(parts) or len(parts) > 1:
        raise _unfit(
            checkpoint,
            where,
            f"it has the state of {format_count(len(states), 'optimizer')}, and {len(parts)} are trained here: only a "
            "single one can go on",
        )
    state, optimizer = states[0], parts[0].optimizer
    groups = optimizer.state_dict()["param_groups"]
    theirs = state["param_groups"]
    sizes, others = [len(group["params"]) for group in groups], [len(group["params"]) for group in theirs]
    if sizes != others:
        why = f"its param groups have {_said(others)} weights, and those of the model file {_said(sizes)}"
        raise _unfit(checkpoint, where, why)
    _check_settings(checkpoint, where, groups, theirs)
    _check_shapes(checkpoint, where, optimizer, state)
    _check_kind(checkpoint, where, optimizer, state)
    own = [{**group, "params": other["params"]} for group, other in zip(groups, theirs, strict=True)]
    # A copy: torch would let the optimizer write into the checkpoint's tensors, from which the next run begins.
    optimizer.load_state_dict({"state": copy.deepcopy(dict(state["state"])), "param_groups": own})


def describe_start(checkpoint: Checkpoint, group_ratios: Sequence[float]) -> Start:
    """Return the record of a checkpoint. Its last rate is that of the first group that the sweep changes."""
    rates = [] if not checkpoint.optimizers else [group.get("lr") for group in checkpoint.optimizers[0]["param_groups"]]
    pairs = zip(rates, group_ratios, strict=False)
    lr = next((float(rate) / ratio for rate, ratio in pairs if rate is not None and ratio), None)
    return Start(
        file=checkpoint.place,
        sha256=checkpoint.sha256,
        step=checkpoint.step,
        lr=lr,
        optimizer=bool(checkpoint.optimizers),
    )


def _load_adapter(checkpoint: Checkpoint, model: Any, where: str) -> None:
    """Load the weights of an adapter alone, as PEFT saves them, into a model of PEFT."""
    from peft import set_peft_model_state_dict

    try:
        loaded: Any = set_peft_model_state_dict(model, dict(checkpoint.weights))
    except RuntimeError as error:  # torch's, with a line for each weight of another shape
        lines = [line.strip() for line in error_text(error).splitlines() if "size mismatch" in line]
        raise _unfit(checkpoint, where, "; ".join(lines[:_MOST]) or error_text(error)) from None
    if loaded.unexpected_keys:
        raise _unfit(checkpoint, where, f"the model has no {_listed(loaded.unexpected_keys)}")
    adapter = [key for key in loaded.missing_keys if "lora_" in key]
    if adapter:
        raise _unfit(checkpoint, where, f"it lacks {_listed(adapter)}")


def _with_tied(weights: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights with those that are tied to another one, which safetensors keeps once."""
    there = {
        value.data_ptr(): key
        for key, value in own.items()
        if key in weights and isinstance(value, torch.Tensor) and not is_lazy(value)
    }
    tied = {
        key: weights[there[value.data_ptr()]]
        for key, value in own.items()
        if key not in weights and isinstance(value, torch.Tensor) and not is_lazy(value) and value.numel()
        if value.data_ptr() in there
    }
    return {**weights, **tied}


def _as_named(weights: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights by the names that the model has for them, whichever of the two a wrapper has renamed."""
    here = {plain: key for key, plain in _plain_names(own).items()}
    return {here.get(plain, key): weights[key] for key, plain in _plain_names(weights).items()}


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name without what wrappers have put into it."""
    plain = {name: name.replace(_COMPILED, "") for name in names}
    while plain and all(name.startswith(_PARALLEL) for name in plain.values()):
        plain = {name: short.removeprefix(_PARALLEL) for name, short in plain.items()}
    return plain


def _check_settings(checkpoint: Checkpoint, where: str, own: Sequence[State], theirs: Sequence[State]) -> None:
    """Refuse a checkpoint whose run had other settings: a script that loads it would go on with those."""
    for index, (here, there) in enumerate(zip(own, theirs, strict=True)):
        cycled = not _CYCLED.isdisjoint(there)
        for name, value in here.items():
            if name not in there or name in NO_SETTINGS or (cycled and name == "momentum"):
                continue
            of_last = there[name]
            if cycled and name == "betas":  # such a schedule changes the first
                of_last = (value[0], *of_last[1:])
            if not _alike(value, of_last):
                raise _unfit(
                    checkpoint,
                    where,
                    f"{name} of param group {index} was {there[name]}, and is {value} here: optimizer.load_state_dict "
                    "would bring back the old one",
                    hint=f"give the model file's optimizer that {name}, or go on from the weights alone",
                )


def _alike(here: Any, there: Any) -> bool:
    if isinstance(here, list | tuple) and isinstance(there, list | tuple):
        return len(here) == len(there) and all(map(_alike, here, there))
    return bool(here == there)


def _check_shapes(checkpoint: Checkpoint, where: str, optimizer: torch.optim.Optimizer, state: State) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for number, weight in zip(numbers, weights, strict=True):
        for name, value in state["state"].get(number, {}).items():
            if name in _LIKE_THE_WEIGHT and isinstance(value, torch.Tensor) and value.shape != weight.shape:
                raise _unfit(
                    checkpoint,
                    where,
                    f"{name} of weight {number} has the shape {tuple(value.shape)}, and the weight has "
                    f"{tuple(weight.shape)}: they come in another order",
                )


def _check_kind(checkpoint: Checkpoint, where: str, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Raise UsageError if the state is not what this kind of optimizer keeps of a weight."""
    found = {
        name
        for each in state["state"].values()
        if isinstance(each, Mapping)
        for name, value in each.items()
        if value is not None  # older versions of torch write that of an SGD without momentum
    }
    kept = [_kept_by(optimizer, group) for group in optimizer.param_groups]
    known = [names for names in kept if names is not None]
    if not found or len(known) < len(kept):
        return
    foreign = (found & _LIKE_THE_WEIGHT).difference(*known)
    if foreign or not known[0] <= found:
        keeps = _said(sorted(set().union(*known))) or "nothing"
        raise _unfit(
            checkpoint, where, f"its optimizer kept {_said(sorted(found))}, and {class_name(optimizer)} keeps {keeps}"
        )


def _kept_by(optimizer: torch.optim.Optimizer, group: State) -> set[str] | None:
    """Return the names of what an optimizer of this class keeps of a weight of such a group; None: not known."""
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    known = inspect.signature(type(optimizer)).parameters
    settings = {name: value for name, value in group.items() if name in known and name != "params"}
    try:
        twin = type(optimizer)([weight], **settings)
        twin.step()
    except Exception:  # noqa: BLE001 - somebody's own class: what it needs isn't known
        return None
    return set(twin.state.get(weight, {}))


def _unfit(checkpoint: Checkpoint, where: str, why: str, hint: str | None = None) -> UsageError:
    return UsageError(
        f"{checkpoint.place} doesn't fit {where}: {why}",
        hint=hint or "name a checkpoint of this very model and optimizer, or one with the weights alone",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _said(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
