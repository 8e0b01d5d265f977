"""Remember the hooks of tensors, and later remove the hooks that were added in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch

# torch has no public names for these attributes. Each is None or a dictionary; `handle.remove()` deletes its entry.
_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def remember_hooks(tensor: torch.Tensor) -> Callable[[], None]:
    """Return a function that restores the hooks that the leaf tensor `tensor` has now, and removes all others."""
    kept = {name: dict(getattr(tensor, name, None) or {}) for name in _HOOKS}

    def restore() -> None:
        for name, hooks in kept.items():
            now = getattr(tensor, name, None)
            if now is not None and now != hooks:
                now.clear()
                now.update(hooks)

    return restore


@contextlib.contextmanager
def hooks_taken_off(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """When the context ends, remove the hooks that were added to `tensors` inside it."""
    restores = [remember_hooks(tensor) for tensor in tensors]
    try:
        yield
    finally:
        for restore in restores:
            restore()
