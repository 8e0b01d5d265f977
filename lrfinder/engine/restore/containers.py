"""Remember which objects the user's dictionaries, lists and sets hold, and put them back."""

from __future__ import annotations

import operator
from collections import deque
from typing import Any


def is_container(value: object) -> bool:
    """Return whether `value` may hold tensors or other containers."""
    return isinstance(value, dict | list | set | deque | tuple)


def parts_of(container: Any) -> list[Any]:
    """Return what the container holds, also a dictionary's keys: those of an optimizer's state are tensors."""
    return [*container.keys(), *container.values()] if isinstance(container, dict) else list(container)


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


def _listed(container: Any) -> list[Any]:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _same(one: Any, other: Any) -> bool:
    # The items of a dictionary are new pairs each time, so key and value are compared.
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(operator.is_, one, other))
    return one is other
