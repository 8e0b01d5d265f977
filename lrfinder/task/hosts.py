"""Hosts: functions of installed distributions that take the place of a model file.

A host has the signature `host(argument) -> Mapping`. A distribution declares it as an entry point in the group
`lrfinder.hosts`. The reference `NAME://ARGUMENT` calls the host NAME with the text ARGUMENT. The mapping that it
returns has the names of a model file as keys: model, train_loader, loss_fn, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrfinder.plugins import PluginTable


def _fault(_name: str, found: Any) -> str | None:
    return None if callable(found) else "isn't a function of the reference's argument"


HOSTS: Mapping[str, Callable[[str], Any]] = PluginTable("lrfinder.hosts", {}, _fault)
