"""Keeps what watches a script out of what the script compiles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


class _Compilers:
    used = False  # by the script


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


@functools.cache
def _watch_compilers() -> None:
    """Have torch.compile, also where a module's `compile` calls it, and what it rests on, say that they were used."""
    import torch._dynamo

    for owner, name in ((torch, "compile"), (torch._dynamo, "optimize")):
        setattr(owner, name, _telling(getattr(owner, name)))


def _telling(compiler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compiler)
    def call(*args: Any, **kwargs: Any) -> Any:
        _Compilers.used = True
        return compiler(*args, **kwargs)

    return call
