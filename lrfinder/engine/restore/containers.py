"""Remember which objects the user's dictionaries, lists, sets and own objects hold, and put them back."""

from __future__ import annotations

import dataclasses
import operator
import sys
from collections import deque
from pathlib import PurePath
from types import MemberDescriptorType, SimpleNamespace
from typing import Any

from torch.utils.data import DataLoader, Dataset

_UNCHANGING = frozenset({bool, int, float, str, bytes, type(None)})
_EMPTY = object()  # in a slot that nothing was assigned to
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_container(value: object) -> bool:
    """Return whether `value` may hold tensors or other containers."""
    return isinstance(value, dict | list | set | deque | tuple)


def parts_of(container: Any) -> list[Any]:
    """Return what the container holds beside numbers and text, also of a dictionary's keys: some are tensors.

    A list of a million numbers is no rarity: a vocabulary, a text.
    """
    parts = (*container.keys(), *container.values()) if isinstance(container, dict) else container
    return [part for part in parts if type(part) not in _UNCHANGING]


def is_own_object(value: object) -> bool:
    """Return whether `value` may hold a state in its attributes: an object of a class of the user's, or a dataclass.

    No data set: training doesn't change it, and it may be larger than all else.
    """
    kind = type(value)
    return not isinstance(value, type | Dataset | DataLoader) and (
        kind is SimpleNamespace or dataclasses.is_dataclass(kind) or _is_own(kind.__module__)
    )


def _is_own(module: object) -> bool:
    """Return whether a module is neither Python's own nor an installed package's; a model file may be gone by now."""
    if not isinstance(module, str):  # a class may say anything of where it is from
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module.partition(".")[0] not in sys.stdlib_module_names and not _INSTALLED.intersection(PurePath(file).parts)


class ContainerState:
    """The contents of one container. Those of a tuple can't change."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._contents = _listed(container)

    def restore(self) -> None:
        """Put the same objects back in the same order; leave the container alone if it still holds them."""
        container, contents = self._container, self._contents
        now = _listed(container)
        if len(now) == len(contents) and all(map(_same, now, contents)):
            return
        container.clear()
        if isinstance(container, dict):
            for key, value in contents:  # Counter.update would count the pairs
                container[key] = value
        elif isinstance(container, set):
            container.update(contents)
        else:
            container.extend(contents)


class SlotState:
    """What the `__slots__` of an object hold."""

    def __init__(self, value: object) -> None:
        self._value = value
        self._slots = _slots_of(value)
        self.contents = [self._held(slot) for slot in self._slots]

    def _held(self, slot: MemberDescriptorType) -> Any:
        try:
            return slot.__get__(self._value, type(self._value))
        except AttributeError:
            return _EMPTY

    def restore(self) -> None:
        """Put the same objects back; that the class is frozen doesn't matter."""
        for slot, content in zip(self._slots, self.contents, strict=True):
            now = self._held(slot)
            if content is not _EMPTY and now is not content:
                slot.__set__(self._value, content)
            elif content is _EMPTY and now is not _EMPTY:
                slot.__delete__(self._value)


def _slots_of(value: object) -> list[MemberDescriptorType]:
    kinds = [vars(kind) for kind in type(value).__mro__ if "__slots__" in vars(kind)]
    return [slot for names in kinds for slot in names.values() if isinstance(slot, MemberDescriptorType)]


def _listed(container: Any) -> list[Any]:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _same(one: Any, other: Any) -> bool:
    # The items of a dictionary are new pairs each time, so key and value are compared.
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(operator.is_, one, other))
    return one is other
