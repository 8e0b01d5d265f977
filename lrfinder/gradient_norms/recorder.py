"""Record the gradient's norms while a run trains, for refining its schedule afterwards."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from lrfinder.errors import UsageError
from lrfinder.files import AppendFile, disk_errors
from lrfinder.gradient_norms.log import HEADER

CHUNK = 100  # updates whose norms stay on the device: one copy to the host for all of them costs next to nothing


class GradientNorms:
    """Write the l1 and the l2 norm of the whole gradient of each update to a CSV file.

    They are taken when `optimizer.step()` begins. If gradients are clipped, call `observe()` before the clipping
    (and after `scaler.unscale_(optimizer)`): refining needs the norms as they were. Norms are kept where the gradients
    are, and written each 100 updates, by `flush()`, and when the program ends. A file has one recorder: a new one takes
    the place of the one before, of whatever optimizer, which then writes what it has and records no more. The optimizer
    doesn't hold it, nor it what `position` is a method of.

    Raises UsageError if the file is something else, EnvironmentFailure if it can't be written.
    """

    def __init__(self, optimizer: Optimizer, path: str | os.PathLike[str], *, position: Callable[[], int]) -> None:
        self.path = Path(os.path.realpath(path))  # the program may change its folder
        self._optimizer = weakref.ref(optimizer)
        self._position = weakref.WeakMethod(position)
        self._observed = False
        self._retired = False
        self._rows: list[tuple[int, torch.Tensor]] = []
        self._lines: list[str] = []  # that a full disk didn't take
        _begin(self.path)
        before = _RECORDING.get(self.path)
        if before is not None:
            before.retire()
        _RECORDING[self.path] = self
        self._hook = optimizer.register_step_pre_hook(partial(_before_step, weakref.ref(self)))
        weakref.finalize(self, _write, self.path, self._rows, self._lines)

    def retire(self) -> None:
        """Write what has been observed, and record no more."""
        self.flush()
        self._hook.remove()
        self._retired = True

    def observe(self) -> None:
        """Record the norms of the gradients as they are now, as those of the coming update."""
        optimizer, position = self._optimizer(), self._position()
        if self._retired or optimizer is None or position is None:
            return
        gradients = [_dense(p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = torch.stack([torch.nn.utils.get_total_norm(gradients, norm_type=order) for order in (1.0, 2.0)])
        # A fused optimizer under a GradScaler unscales the gradients itself, inside its step.
        scale = getattr(optimizer, "grad_scale", None)
        self._rows.append((position(), norms if scale is None else norms / scale))
        self._observed = True

    def flush(self) -> None:
        """Write what has been observed."""
        _write(self.path, self._rows, self._lines)

    def before_step(self) -> None:
        """Record the coming update's norms, unless that was done."""
        if not self._observed:
            self.observe()
        self._observed = False
        if len(self._rows) >= CHUNK:
            self.flush()


# What records into each file.
_RECORDING: weakref.WeakValueDictionary[Path, GradientNorms] = weakref.WeakValueDictionary()


def _before_step(recorder: weakref.ref[GradientNorms], *_: Any) -> None:
    if (found := recorder()) is not None:
        found.before_step()


def _dense(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient.detach()


def _begin(path: Path) -> None:
    """Write the header of a new log; let an older one be carried on, without a last line that was cut short."""
    with disk_errors(path), contextlib.closing(AppendFile(path)) as file:
        first, _, _ = file.read().partition(b"\n")
        if first.strip() not in {b"", HEADER.encode()}:
            raise UsageError(f"{path}: not a log of gradient norms", hint="name a new file, or remove this one")
        file.keep()
        if not file.size:
            file.add([HEADER])


def _write(path: Path, rows: list[tuple[int, torch.Tensor]], lines: list[str]) -> None:
    """Append `rows` to the log, after the `lines` that wait; what the disk doesn't take waits for the next call."""
    if rows:
        norms = torch.stack([values for _, values in rows]).tolist()
        lines += [f"{update},{l1!r},{l2!r}" for (update, _), (l1, l2) in zip(rows, norms, strict=True)]
        rows.clear()
    if lines:
        with disk_errors(path), contextlib.closing(AppendFile(path)) as file:
            file.add(lines)
