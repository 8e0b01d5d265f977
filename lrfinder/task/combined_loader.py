"""Several loaders as one, as Lightning's Trainer combines them: a batch holds one of each, in their structure.

This module never imports Lightning by itself: it uses the package that the user's file has imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from lrfinder.task.calling import user_call

_MODE = "max_size_cycle"  # of a Trainer: a pass is as long as the longest, and the others begin again


class CombinedBatches:
    """The batches of a CombinedLoader, which yields them with two numbers that a Trainer takes off again."""

    def __init__(self, combined: Any) -> None:
        self._combined = combined

    @property
    def flattened(self) -> list[Any]:
        """The loaders that are combined."""
        return list(self._combined.flattened)

    def __iter__(self) -> Iterator[Any]:
        try:
            for batch, _number, _loader in self._combined:
                yield batch
        finally:
            self._combined.reset()  # ends the workers

    def __len__(self) -> int:
        try:
            return len(self._combined)
        except RuntimeError:  # it knows its length only while it is gone through
            raise TypeError("this CombinedLoader's length isn't known before its first pass") from None

    def set_epoch(self, epoch: int) -> None:
        """Tell each loader's samplers the number of the pass."""
        for loader in self.flattened:
            for part in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
                if callable(set_epoch := getattr(part, "set_epoch", None)):
                    set_epoch(epoch)


def is_combined(loader: object) -> bool:
    """Return whether `loader` is Lightning's CombinedLoader."""
    return any(kind.__name__ == "CombinedLoader" and "lightning" in kind.__module__ for kind in type(loader).__mro__)


def combined(loader: Any, package: str) -> Any:
    """Return the batches of a CombinedLoader, or of a list or a mapping of loaders; anything else as it is.

    `package` is that of the LightningModule which returned it: "lightning" or "pytorch_lightning".
    """
    values = (
        list(loader.values()) if isinstance(loader, Mapping) else loader if isinstance(loader, list | tuple) else []
    )
    if any(isinstance(value, DataLoader) for value in values):
        path = "lightning.pytorch.utilities" if package == "lightning" else "pytorch_lightning.utilities"
        with user_call("combining the loaders of train_dataloader()"):
            loader = sys.modules[f"{path}.combined_loader"].CombinedLoader(loader, _MODE)
    return CombinedBatches(loader) if is_combined(loader) else loader
