"""Split a batch into parts with fewer samples, along the first axis of every tensor in it."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from lrfinder.task.batches import is_structure, parts_of, with_parts

# Values of these types in a batch belong to all its samples.
_SHARED = (str, bytes, int, float, bool, complex, type(None), torch.dtype, torch.device)


def samples_of(batch: Any) -> int | None:
    """Return the number of samples in `batch`, which is the common length of its tensors; None if it can't be split.

    Tensors without axes, text and numbers belong to all samples and don't count. A batch can't be split if no tensor
    has a length, if the lengths differ, if a tensor is sparse or nested, or if the batch holds an object of a type
    that isn't listed here.
    """
    lengths: set[int] = set()
    if not _gather(batch, lengths) or len(lengths) != 1:
        return None
    return lengths.pop()


def split(batch: Any, count: int) -> list[tuple[float, Any]]:
    """Split `batch` into `count` parts, and return each part with its share of the samples as (share, part).

    If the batch has fewer than `count` samples, each sample becomes a part. The shares sum to 1, and the sizes of the
    parts differ by at most one sample. Containers keep their types. The tensors of the parts are views.

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
    """Add the lengths of the tensors in `value` to `lengths`; return False if `value` holds something unsplittable."""
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
        return value[rows]  # one text or number for each sample
    return with_parts(value, lambda part: _rows(part, rows, length)) if is_structure(value) else value
