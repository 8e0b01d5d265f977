"""Which tensors the user's step makes itself, of numbers alone: they aren't data."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

_FIXED = frozenset(
    f"{before}{name}{after}"
    for name in ("zeros", "ones", "full", "empty")
    for before, after in (("", ""), ("", "_like"), ("new_", ""))
) | {"zero_", "fill_"}


class MadeTensors:
    """Follows torch's functions from zeros(), ones() and full() on, through those that take nothing but such tensors.

    A target of one number that a step makes itself is a device of its loss: the label 0 of each positive pair in a
    contrastive loss, the 0 of a differential equation's residual. What a constant prediction of the data would cost
    can't be told of it.
    """

    def __init__(self) -> None:
        self._made: dict[int, weakref.ref[torch.Tensor]] = {}  # by id: two tensors can't be compared as a whole

    def note(self, function: Callable[..., Any], given: Iterable[Any], result: Any) -> None:
        """Take in a call of torch's: what it was given, and its result."""
        name = getattr(function, "__name__", "")
        taken = list(_tensors(given))
        from_data = any(not self._holds(tensor) for tensor in taken)
        if name in _FIXED or (taken and not from_data):
            self._made.update({id(tensor): weakref.ref(tensor) for tensor in _tensors([result])})
        elif from_data and (name.startswith("__i") or name == "__setitem__" or name.endswith("_")):
            for tensor in taken:  # data may have been written into it
                self._made.pop(id(tensor), None)

    def is_one_number(self, target: Any) -> bool:
        """Tell whether `target` was made so, and all its numbers are the same."""
        return self._holds(target) and bool((target == target.flatten()[:1]).all())

    def _holds(self, tensor: Any) -> bool:
        known = self._made.get(id(tensor))
        return known is not None and known() is tensor


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
