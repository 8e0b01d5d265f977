"""A recorder for the CPU: it keeps every operation that torch dispatches, and does them again in the same memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape:
    """Records as CUDA graphs do: what isn't an operation of torch's is done once, and a number can't be asked for.

    Unlike a graph's, the operations are done while they are recorded, too.
    """

    def __init__(self) -> None:
        self.recorded = 0
        self.repeated = 0

    def warm_up(self, work: Callable[[], Any]) -> Any:
        return work()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with _Keeping([]):
            yield

    def capture(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], object]]:
        kept: list[tuple[Any, Any, Any, list[Any]]] = []
        with _Keeping(kept):
            made = work()
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            with torch.no_grad():
                for operation, arguments, keywords, places in kept:
                    results = tree_leaves(operation(*arguments, **keywords))
                    for place, result in zip(places, results, strict=True):
                        if isinstance(place, torch.Tensor) and place is not result:
                            place.copy_(result)

        return made, repeat


class _Keeping(TorchDispatchMode):
    def __init__(self, kept: list[tuple[Any, Any, Any, list[Any]]]) -> None:
        super().__init__()
        self._kept = kept

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number was asked for while recording")
        made = operation(*args, **(kwargs or {}))
        aliases = [value.alias_info for value in operation._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        if not is_view:  # a view looks at its memory by itself
            self._kept.append((operation, args, kwargs or {}, tree_leaves(made)))
        return made
