"""Weights that are divided over the processes by torch's FSDP2 (`fully_shard`), by this project or by the model file.

Between two forward passes each process holds its part of every weight, gradient and optimizer state: a DTensor.
torch's package for it takes a second to import, so it is imported only by who divides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lrfinder.engine.runtime.divided import fsdp_modules, is_divided_model
from lrfinder.errors import UsageError, error_text
from lrfinder.task.problem import BuiltProblem

# What torch says if an operation has no rule for divided tensors.
_UNDIVIDED = ("Sharding propagation failed", "placement", "unevenly sharded", "mixed torch.Tensor and DTensor")


class LossOf(nn.Module):
    """The loss of a batch as a module, so that all that is computed with the weights is inside of its forward.

    The user's step then sees its own model, with all its methods and attributes.
    """

    def __init__(self, model: nn.Module, *, beside: Iterable[Any] = ()) -> None:
        super().__init__()
        self.model = model
        self.beside = nn.ModuleList(part for part in beside if isinstance(part, nn.Module))
        self.trial: BuiltProblem | None = None

    def forward(self, batch: Any) -> torch.Tensor | None:
        assert self.trial is not None  # noqa: S101 - `with_loss` was called
        return self.trial.loss(self.model, batch)

    def with_loss(self, trial: BuiltProblem) -> BuiltProblem:
        """Return `trial`, whose losses are computed by this module from now on."""
        self.trial = trial
        return dataclasses.replace(trial, loss=lambda _, batch: self(batch))


def divide(model: nn.Module, mesh: Any) -> tuple[LossOf, int]:
    """Divide the weights of `model` over the processes of `mesh`; return its loss as a module, and how many blocks.

    All processes get the weights of rank 0. Each member with weights of the outermost `nn.Sequential`s and
    `nn.ModuleList`s is a block: its weights are gathered for its own forward and backward pass, and freed after it. All
    other weights, and those that are shared with others, belong to the root: they are there for the whole loss. Raises
    UsageError for what `fully_shard` doesn't divide.
    """
    from torch.distributed.fsdp import fully_shard

    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            whole = tensor.detach().contiguous()
            dist.broadcast(whole, 0)
            tensor.copy_(whole)
    root, blocks = LossOf(model), list(blocks_of(model))
    try:
        for module in (*blocks, root):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"fsdp2 can't divide {type(model).__name__}: {error}",
            hint="use --strategy ddp, or divide it yourself in the model file: `def model(mesh)`",
        ) from error
    return root, len(blocks)


def divide_state(optimizer: torch.optim.Optimizer) -> None:
    """Divide whole state tensors of `optimizer`, as a checkpoint has them, as the weights are that they belong to."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(weight, DTensor) and isinstance(value, torch.Tensor) and value.shape == weight.shape:
                state[name] = distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of `model`: see `divide`."""
    for block in _listed(model):
        inside = set(block.modules())
        own = {id(weight) for weight in block.parameters()}
        others = (module for module in model.modules() if module not in inside)
        if own and not any(id(weight) in own for module in others for weight in module.parameters(recurse=False)):
            yield block


def _listed(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(module, nn.Sequential | nn.ModuleList) and not isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield child
        else:
            yield from _listed(child)


def check_divided(model: nn.Module) -> bool:
    """Return whether the weights of `model` were divided by `fully_shard`; raise UsageError for another division.

    Tensor parallelism needs the same data on several processes, which get their own parts here.
    """
    divided = is_divided_model(model)
    if divided and not fsdp_modules([model]):
        raise UsageError(
            f"{type(model).__name__} has divided weights, but no module that `fully_shard` was called on: processes "
            "would train on different data",
            hint="call `fully_shard(net, mesh=mesh)` in model(mesh), or leave the division to --strategy fsdp2",
        )
    return divided


def undivided_operation(error: Exception, optimizer: str) -> UsageError | None:
    """Return what to tell if `optimizer` can't update weights that are divided; None if `error` is another one."""
    text = error_text(error)
    if not any(sign in text for sign in _UNDIVIDED):
        return None
    return UsageError(
        f"{optimizer} can't update weights that are divided over processes: {text.partition(chr(10))[0][:200]}",
        hint="use --strategy ddp, or an optimizer that works number by number, such as AdamW or SGD",
    )
