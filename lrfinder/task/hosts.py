"""Hosts: functions of installed distributions that give the names of a model file, by their entry points.

A host is `host(argument) -> Mapping`; the reference `NAME://ARGUMENT` calls the host NAME with the text ARGUMENT. The
mapping has the names of a model file: model, train_loader, loss_fn, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrfinder.plugins import PluginTable


def _fault(_name: str, found: Any) -> str | None:
    return None if callable(found) else "isn't a function of the reference's argument"


HOSTS: Mapping[str, Callable[[str], Any]] = PluginTable("lrfinder.hosts", {}, _fault)
