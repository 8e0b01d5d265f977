"""Running lrfinder as a process of its own."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Return the environment with one thread, and without what decides about colors."""
    drop = {"FORCE_COLOR", "NO_COLOR", "COLUMNS", "PYTHONWARNINGS"}
    return {**{key: value for key, value in os.environ.items() if key not in drop}, "OMP_NUM_THREADS": "1"}
