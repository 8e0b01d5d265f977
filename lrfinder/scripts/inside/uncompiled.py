"""Keeps what watches a script out of what the script compiles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.utils.hooks import RemovableHandle


class _Compilers:
    used = False  # by the script
    waiting: ClassVar[list[Callable[[], None]]] = []  # what is called when it uses one for the first time


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that nothing of it is compiled: else the first rate would be compiled in.

    `torch.compiler.disable` does it, but between two batches it takes 10 us a call. So it is left out until the script
    compiles something: scripts/README.md#what-an-update-takes.
    """
    _watch_compilers()
    compiler: Any = torch.compiler
    disabled = compiler.disable(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        return disabled(*args, **kwargs) if _Compilers.used else function(*args, **kwargs)

    return call


def register_uncompiled(register: Callable[[Callable[..., Any]], RemovableHandle], hook: Callable[..., Any]) -> None:
    """Register a hook with torch such that nothing of it is compiled.

    Nobody else has it: so it can be exchanged when the script compiles something, and costs no call more until then.
    """
    _watch_compilers()
    handle = register(hook)
    compiler: Any = torch.compiler

    def exchange() -> None:
        hooks = handle.hooks_dict_ref()
        if hooks is not None and handle.id in hooks:
            hooks[handle.id] = compiler.disable(hook)

    _Compilers.waiting.append(exchange)


@functools.cache
def _watch_compilers() -> None:
    """Have torch.compile, also where a module's `compile` calls it, and what it rests on, say that they were used."""
    import torch._dynamo

    for owner, name in ((torch, "compile"), (torch._dynamo, "optimize")):
        setattr(owner, name, _telling(getattr(owner, name)))


def _telling(compiler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compiler)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _Compilers.used:
            _Compilers.used = True
            for exchange in _Compilers.waiting:
                exchange()
        return compiler(*args, **kwargs)

    return call
