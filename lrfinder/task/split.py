"""Cut a batch into parts of fewer samples, along the first axis of every tensor in it."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from lrfinder.task.batches import is_structure, parts_of, with_parts

# What may stand in a batch once for all its samples.
_SHARED = (str, bytes, int, float, bool, complex, type(None), torch.dtype, torch.device)


def samples_of(batch: Any) -> int | None:
    """Return the number of samples in `batch`, if it can be split: the length that all its tensors share; else None.

    A tensor without axes, text and numbers are shared by all samples. A batch can't be split if its tensors differ
    in length, if one is sparse or nested, or if it holds an object that isn't known.
    """
    lengths: set[int] = set()
    if not _gather(batch, lengths) or len(lengths) != 1:
        return None
    return lengths.pop()


def split(batch: Any, count: int) -> list[tuple[float, Any]]:
    """Return `count` parts of a batch that can be split, and the share of each in its samples; fewer if it is short.

    The shares sum to 1, and the sizes differ by one sample at most. Containers keep their types; tensors are views.
    Raises ValueError if the batch can't be split.
    """
    length = samples_of(batch)
    if length is None:
        raise ValueError("the tensors of the batch have no length in common")
    count = min(count, length)
    bounds = [length * index // count for index in range(count + 1)]
    return [
        ((end - start) / length, _rows(batch, slice(start, end), length)) for start, end in itertools.pairwise(bounds)
    ]


def _gather(value: Any, lengths: set[int]) -> bool:
    """Add the lengths of the tensors in `value`; return whether it consists of what can be split or shared."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_nested:
            return False
        if value.dim():
            lengths.add(len(value))
        return True
    if is_structure(value):
        return all(_gather(part, lengths) for part in parts_of(value))
    return isinstance(value, _SHARED)


def _rows(value: Any, rows: slice, length: int) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows] if value.dim() else value
    if type(value) in {list, tuple} and len(value) == length and all(isinstance(item, _SHARED) for item in value):
        return value[rows]  # one text or number a sample
    return with_parts(value, lambda part: _rows(part, rows, length)) if is_structure(value) else value
