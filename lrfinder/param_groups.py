"""Param groups: their peaks, and those whose rates fall from layer to layer, from the output down to the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrfinder.errors import ConfigError, UsageError


def set_peaks(optimizer: Optimizer, peak: float, ratios: Sequence[float] | None) -> None:
    """Set each group's `initial_lr` to its rate at factor 1: `peak` times its ratio; see `ConfiguredScheduler`.

    Groups of different peaks whose rates are one tensor, which torch gives to all of them, get one each. Raises
    ConfigError if the ratios don't fit, UsageError for a rate in a tensor of whole numbers and for the rate of an added
    group that is no share of the peak, before anything is changed.
    """
    groups = optimizer.param_groups
    peaks = _peaks(optimizer, peak, ratios)
    places: dict[int, float] = {}
    for group in groups:
        if isinstance(group["lr"], torch.Tensor) and not group["lr"].is_floating_point():
            kind = f"a tensor of {group['lr'].dtype}"
            raise UsageError(f"the learning rate is {kind}, which no rate fits in", hint="make it torch.tensor(1.0)")
    for group, own in zip(groups, peaks, strict=True):
        group["initial_lr"] = own
        if isinstance(group["lr"], torch.Tensor):
            own_tensor(group, own, places)


def own_tensor(group: dict[str, Any], peak: float, places: dict[int, float]) -> torch.Tensor:
    """Return the tensor that holds the group's rate; a new one, if `places` has another peak where it lies.

    `places` is filled for the groups that follow: the peak at each address, so that views of one tensor count as one.
    """
    held: torch.Tensor = group["lr"]
    if places.setdefault(held.data_ptr() or id(held), peak) != peak:  # some devices have no addresses
        held = group["lr"] = held.clone()
    return held


def _peaks(optimizer: Optimizer, peak: float, ratios: Sequence[float] | None) -> list[float]:
    groups = optimizer.param_groups
    if ratios is not None:
        if len(ratios) != len(groups):
            raise ConfigError(
                f"optimizer.groups has {len(ratios)} ratios, but the optimizer has {len(groups)} param groups",
                hint="build the optimizer with the param groups that were swept, or remove `groups` from the config",
            )
        return [peak * ratio for ratio in ratios]
    begun = [float(group["initial_lr"]) for group in groups if "initial_lr" in group]
    if not begun:
        return _scaled([float(group["lr"]) for group in groups], peak)
    known = iter(_scaled(begun, peak))
    return [
        next(known) if "initial_lr" in group else _added(optimizer, index, peak) for index, group in enumerate(groups)
    ]


def _scaled(rates: list[float], peak: float) -> list[float]:
    """Return the rates times what brings the largest of them to the peak."""
    largest = max(rates)
    if largest == 0:
        return [peak] * len(rates)
    if largest == peak:  # as they are: scaling by peak / peak would round what an earlier scheduler of this peak left
        return rates
    return [peak * (rate / largest) for rate in rates]


def _added(optimizer: Optimizer, index: int, peak: float) -> float:
    """Return the peak of a group that came after the scheduler of the others, which may have moved the default rate."""
    rate, default = float(optimizer.param_groups[index]["lr"]), optimizer.defaults.get("lr")
    if isinstance(default, float | int | torch.Tensor) and rate == float(default):
        return peak
    if rate > peak * (1 + _SINGLE):
        raise UsageError(
            f"param group {index} was added at the rate {rate:g}, above the config's peak of {peak:g}, and its rate at "
            "the peak can't be told",
            hint=f"set its lr to its own peak, at most {peak:g}, or write the ratio of each param group as `groups` of "
            "the config's optimizer",
        )
    return min(rate, peak)


_SINGLE = 1e-6  # relative: what single precision may add to a rate


def layerwise(
    model: nn.Module, lr: float, *, decay: float = 0.8, layers: Sequence[nn.Module | Sequence[nn.Module]] | None = None
) -> list[dict[str, Any]]:
    """Return param groups for an optimizer, one for each layer of `model`, in its order from input to output.

    lr_l = lr * decay ** (L - l)        l = 0 ... L; the last layer, the head, has the whole rate

    `decay` is above 0 and at most 1: 0.65 to 0.95 for fine-tuning transformers, 1/2.6 in ULMFiT. `layers` names the
    layers, each a module or several, from input to output; parameters of none of them belong to the first. Without it
    they are found: the blocks of the longest nn.ModuleList or nn.Sequential that holds the most parameters are a layer
    each, what is registered before it is the one below them, and what comes behind the one above. Frozen parameters
    are left out. `groups` of a swept config keep these ratios.

    Howard & Ruder, arXiv:1801.06146 (discriminative fine-tuning); Bao et al., arXiv:2106.08254 (layer decay).

    Raises UsageError for a decay or a rate that can't be meant, a layer that isn't in the model, or one listed twice.
    """
    if not 0 < decay <= 1:
        raise UsageError(f"decay must be above 0 and at most 1, got {decay:g}")
    if not lr > 0:
        raise UsageError(f"lr must be above 0, got {lr:g}")
    depth = _depths(model, _listed(layers) if layers is not None else _found(model))
    last = max(depth.values(), default=0)
    groups: dict[int, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(depth[id(parameter)], []).append(parameter)
    if not groups:
        raise UsageError("the model has no parameter that wants a gradient", hint="unfreeze some layers first")
    return [{"params": params, "lr": lr * decay ** (last - layer)} for layer, params in sorted(groups.items())]


def _depths(model: nn.Module, layers: list[list[nn.Parameter]]) -> dict[int, int]:
    """Return the layer of every parameter of the model, by its identity; a shared one belongs to the first it is in."""
    depth: dict[int, int] = {}
    own = {id(parameter) for parameter in model.parameters()}
    for index, parameters in enumerate(layers):
        if any(id(parameter) not in own for parameter in parameters):
            raise UsageError(f"layer {index} has parameters that aren't the model's", hint="name modules of this model")
        for parameter in parameters:
            depth.setdefault(id(parameter), index)
    return {key: depth.get(key, 0) for key in own}


def _listed(layers: Sequence[nn.Module | Sequence[nn.Module]]) -> list[list[nn.Parameter]]:
    listed = [[layer] if isinstance(layer, nn.Module) else list(layer) for layer in layers]
    modules = [id(module) for layer in listed for module in layer]
    if len(set(modules)) < len(modules):
        raise UsageError("a module is listed in two layers", hint="list each layer once, from input to output")
    return [[parameter for module in layer for parameter in module.parameters()] for layer in listed]


def _found(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters before the model's stack of blocks, of each block, and behind; empty ones are left out."""
    stack = _stack(model)
    if stack is None:
        layers = [list(child.parameters()) for child in model.children()]
        return [layer for layer in layers if layer]
    blocks = [list(block.parameters()) for block in stack.children()]
    inside = {id(parameter) for block in blocks for parameter in block}
    before: list[nn.Parameter] = []
    behind: list[nn.Parameter] = []
    side = before
    for parameter in model.parameters():
        if id(parameter) in inside:
            side = behind
        else:
            side.append(parameter)
    return [layer for layer in (before, *blocks, behind) if layer]


def _stack(model: nn.Module) -> nn.Module | None:
    """Return the list of blocks that holds the most parameters, the longest of them if several do."""
    lists = [
        (sum(parameter.numel() for parameter in module.parameters()), len(module), module)
        for module in model.modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
    ]
    best = max((it for it in lists if it[1] > 1 and it[0]), key=lambda it: it[:2], default=None)
    return None if best is None else best[2]
