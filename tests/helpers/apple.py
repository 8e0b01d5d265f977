"""A stand-in for Apple's MPS, which has no float64: its tensors are the CPU's, and are marked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS = torch.device("mps")
REFUSED = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
    "Please use float32 instead."
)  # torch's own words
_NAMES = {torch.device, torch._C._nn._parse_to}  # make a device of a name, and nothing on it
_SETTERS = {torch.Tensor.data.__set__, torch.Tensor.copy_, torch.Tensor.set_}  # of contents: the mark stays or follows


class _Marking(TorchFunctionMode):
    """Whatever is moved to the device, or made of what is there, is marked, until `cpu()` or `.to("cpu")` is called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = (args, kwargs or {})
        leaves = tree_leaves(given)
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if func == torch.Tensor.device.__get__ and is_there(tensors[0]):
            return MPS
        if func in _NAMES:
            return func(*args, **given[1])
        args, kwargs = tree_map(lambda leaf: "cpu" if _names(leaf, "mps") else leaf, given)
        made = func(*args, **kwargs)
        if func in _SETTERS:
            if func == torch.Tensor.data.__set__:
                _mark(tensors[0], there=is_there(tensors[1]))
            return made
        to_host = func is torch.Tensor.cpu or any(_names(leaf, "cpu") for leaf in leaves)
        there = any(_names(leaf, "mps") for leaf in leaves) or (not to_host and any(map(is_there, tensors)))
        new = [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        if there and any(tensor.dtype is torch.float64 for tensor in new):
            raise TypeError(REFUSED)
        if to_host and isinstance(made, torch.Tensor) and is_there(made):
            return made.view_as(made) if torch.is_grad_enabled() else made.clone()
        for tensor in new:
            _mark(tensor, there=there or is_there(tensor))
        return made


def _mark(tensor: torch.Tensor, *, there: bool) -> None:
    tensor.on_mps = there


def is_there(tensor: torch.Tensor) -> bool:
    """Return whether `tensor` is on the device."""
    return getattr(tensor, "on_mps", False)


def _names(value: object, kind: str) -> bool:
    return (isinstance(value, torch.device) and value.type == kind) or (isinstance(value, str) and value == kind)


@contextmanager
def apple(monkeypatch: Any) -> Iterator[torch.device]:
    """Let MPS be there, and be what `--device auto` takes."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("manual_seed", "get_rng_state", "set_rng_state", "empty_cache", "synchronize"):
        monkeypatch.setattr(torch.mps, name, lambda *_: torch.zeros(1))
    with _Marking():
        yield MPS
