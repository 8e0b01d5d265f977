"""Look at how the first loss of a run is computed: the output, the target, and what is made of them.

Nothing is computed twice, and no random number is drawn: a run that is looked at stays the same bit for bit.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch.overrides import TorchFunctionMode

from lrfinder.records import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR
from lrfinder.task.batches import is_structure, parts_of
from lrfinder.task.made_tensors import MadeTensors

_MOST_SHAPES = 8  # of a batch that are told
_SUMS_TO_1 = 1e-3  # how far from 1 rows of probabilities may sum, in half precision too
_LEAST_ROWS = 2  # fewer have no spread
_ROWS, _TABLE = 64, 2  # are looked at for probabilities, of an output with two axes
_TOO_FEW = 64  # targets, or numbers; fewer don't tell whether all are alike, or how large they mostly are


class Seeing(Protocol):
    """What is shown what losses are computed of, until it has seen `enough`."""

    @property
    def enough(self) -> bool:
        """Whether it needs to see no more."""

    def see(self, kind: str, output: Any, target: Any, loss: Any) -> None:
        """Take in a loss of the kind `kind`, "" if it isn't recognised, and what it was computed of."""


class FirstLoss:
    """The first loss of a recognised kind that was computed: its value, and that of a constant prediction."""

    def __init__(self) -> None:
        self.kind = ""
        self.loss: float | None = None
        self.constant: float | None = None
        self.probabilities = False

    @property
    def enough(self) -> bool:
        """Whether there was a recognised loss."""
        return bool(self.kind)

    def see(self, kind: str, output: Any, target: Any, loss: Any) -> None:
        """Take in a loss of the kind `kind` and what it was computed of, unless there was one."""
        if self.kind or kind not in {CROSS_ENTROPY, SQUARED_ERROR}:
            return
        if not all(isinstance(part, torch.Tensor) for part in (output, target, loss)):
            return
        with torch.no_grad(), contextlib.suppress(RuntimeError, TypeError, IndexError):  # tensors of a rare kind
            self.constant = _entropy(target) if kind == CROSS_ENTROPY else _variance(target)
            self.probabilities = kind == CROSS_ENTROPY and _are_probabilities(output.detach(), target)
            self.loss = float(loss)
            self.kind = kind


class Targets:
    """All targets that losses are computed of, to tell the loss of the best constant prediction for them."""

    enough = False

    def __init__(self) -> None:
        self._labels: Counter[int] = Counter()
        self._count = 0
        self._first: torch.Tensor | None = None  # is subtracted, so that equal targets have no variance at all
        self._sum = self._squares = torch.zeros((), device="cpu")
        self._told, self._binary = True, False

    def see(self, kind: str, output: Any, target: Any, loss: Any) -> None:
        """Take in the targets of a loss."""
        del output, loss
        rare = (RuntimeError, TypeError, AttributeError)  # targets of a rare kind, or no tensors
        with torch.no_grad(), contextlib.suppress(*rare):
            if kind == CROSS_ENTROPY and not target.is_floating_point():
                values, counts = target[target >= 0].unique(return_counts=True)
                self._labels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
                return
            binary = kind == BINARY_CROSS_ENTROPY
            if (binary or kind == SQUARED_ERROR) and len(target) and (binary is self._binary or not self._count):
                self._binary = binary
                self._first = target[:1].clone() if self._first is None else self._first
                away = (target - self._first).cpu().double()  # in this order: MPS has no float64
                self._sum = self._sum + away.sum(0)
                self._squares = self._squares + away.square().sum(0)
                self._count += len(target)
                return
        self._told = False

    @property
    def constant(self) -> float | None:
        """The entropy of the labels' frequencies in nats, or the variance of the targets: the mean of all numbers.

        For the targets of a binary cross-entropy, from 0 to 1, it is the entropy of their mean, again that of all
        numbers. None for losses of another kind, and for fewer than 64 targets.
        """
        labels = self._labels.total()
        if not self._told or bool(labels) is bool(self._count) or labels + self._count < _TOO_FEW:
            return None
        if labels:
            return math.fsum(-count / labels * math.log(count / labels) for count in self._labels.values())
        if self._binary and self._first is not None:
            shares = self._first[0].cpu().double() + self._sum / self._count
            inside = shares.clamp(0.0, 1.0)  # but for rounding
            entropies = torch.special.entr(inside) + torch.special.entr(1 - inside)
            return float(entropies.mean()) if torch.allclose(inside, shares) else None
        variance = float((self._squares / self._count - (self._sum / self._count).square()).mean())
        return max(variance, 0.0) if math.isfinite(variance) else None


_KINDS = {
    F.cross_entropy: CROSS_ENTROPY,
    F.mse_loss: SQUARED_ERROR,
    F.binary_cross_entropy_with_logits: BINARY_CROSS_ENTROPY,
    F.binary_cross_entropy: BINARY_CROSS_ENTROPY,
}


def show(seen: Seeing, compute: Callable[[], Any]) -> Any:
    """Return the loss that `compute()` returns, and show `seen` what it was computed of.

    It is of a kind that is known if it is what the only call of one of torch's loss functions returned. That call may
    be in the user's own code, in a module of torch's or in a model that returns its loss. Not known is the loss of a
    target of one number that `compute` makes itself, as contrastive and physics losses do (see `MadeTensors`).
    """
    calls = _LossCalls()
    with calls:
        made = compute()
    loss = made.get("loss") if isinstance(made, Mapping) else made
    if len(calls.noted) == 1:
        kind, output, target, returned = calls.noted[0]
        # Not one that is equal: to see that, a GPU would be waited for.
        if returned is loss and not calls.made.is_one_number(target):
            seen.see(kind, output, target, loss)
            return made
    seen.see("", None, None, loss)
    return made


class _LossCalls(TorchFunctionMode):
    """Notes what torch's own loss functions are called with while it is entered: kind, output, target and result."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, Any, Any, Any]] = []
        self.made = MadeTensors()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, and note it if it is a loss."""
        del types
        named = kwargs or {}
        made = func(*args, **named)
        if func in _KINDS:
            given = inspect.signature(func).bind(*args, **named).arguments
            self.noted.append((kind_of(func, given), given["input"], given["target"], made))
        else:
            self.made.note(func, (*args, *named.values()), made)
        return made


def kind_of(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return the kind of a loss function of torch's own, with the settings that `FirstLoss` assumes; else ""."""
    defaults = inspect.signature(function).parameters
    settings = {name: value for name, value in given.items() if name not in {"input", "target"}}
    # torch's modules hand on what they were made with: None and the defaults too. A weight is a tensor.
    usual = all(value is None or value == defaults[name].default for name, value in settings.items())
    return _KINDS[function] if usual else ""


def shapes_of(batch: Any) -> tuple[str, ...]:
    """Return the shapes and types of the tensors in a batch, such as "32 x 64 float32"."""
    if isinstance(batch, torch.Tensor):
        size = "nested" if batch.is_nested else " x ".join(map(str, batch.shape)) or "a single"
        return (f"{size} {str(batch.dtype).removeprefix('torch.')}",)
    if not is_structure(batch):
        return ()
    return tuple(shape for part in parts_of(batch) for shape in shapes_of(part))[:_MOST_SHAPES]


def sizes_of(batch: Any) -> tuple[float | None, ...]:
    """Return the median of |x| over all numbers x of each tensor in a batch that are finite and not 0.

    None for a tensor of whole numbers, and for fewer than 64 such numbers.
    """
    if isinstance(batch, torch.Tensor):
        if not batch.is_floating_point() or batch.layout is not torch.strided or batch.is_nested:
            return (None,)
        sizes = batch.detach().abs().flatten().float()
        sizes = sizes[(sizes > 0) & sizes.isfinite()]
        return (float(sizes.median()) if sizes.numel() >= _TOO_FEW else None,)
    if not is_structure(batch):
        return ()
    return tuple(size for part in parts_of(batch) for size in sizes_of(part))[:_MOST_SHAPES]


def _entropy(target: torch.Tensor) -> float | None:
    """Return the entropy of the labels' frequencies, in nats; None for targets that are no labels."""
    if target.is_floating_point():
        return None
    labels = target[target >= 0]
    if labels.numel() < _LEAST_ROWS:
        return None
    _, counts = labels.unique(return_counts=True)  # type: ignore[no-untyped-call]
    shares = counts.cpu().double() / labels.numel()  # in this order: MPS has no float64
    return float(-(shares * shares.log()).sum())


def _variance(target: torch.Tensor) -> float | None:
    """Return the variance over the samples, the mean of all numbers of a target."""
    if target.ndim == 0 or len(target) < _LEAST_ROWS:
        return None
    variance = float(target.float().var(dim=0, correction=0).mean())
    return variance if math.isfinite(variance) else None


def _are_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Tell whether the first rows of the output are distributions over the classes.

    The classes are on the last axis if the labels have all others, else on the second.
    """
    axis = -1 if output.shape[:-1] == target.shape else 1
    if output.ndim <= 1 or output.shape[axis] <= 1 or not output.is_floating_point():
        return False
    rows = output[: _ROWS if output.ndim == _TABLE else 1].float()  # no copy of a large output: there may be no room
    return bool((rows >= 0).all() and ((rows.sum(axis) - 1).abs() < _SUMS_TO_1).all())
