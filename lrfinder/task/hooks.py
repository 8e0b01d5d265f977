"""Remember the hooks on tensors, and remove those that were added since."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch

# torch has no public name for them; each is None or a dictionary, which `handle.remove()` takes an entry out of.
_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def remember_hooks(tensor: torch.Tensor) -> Callable[[], None]:
    """Return a function that leaves `tensor`, a leaf, with the hooks that it has now."""
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
    """Remove the hooks that are added to `tensors` within the context when it ends."""
    restores = [remember_hooks(tensor) for tensor in tensors]
    try:
        yield
    finally:
        for restore in restores:
            restore()
