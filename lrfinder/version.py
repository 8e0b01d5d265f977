"""The version that is running, as the installed package states it."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("lrfinder")
CREATED_BY = f"lrfinder {VERSION}"
