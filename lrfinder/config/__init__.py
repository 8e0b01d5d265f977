"""The schedule config: its records, and its files in YAML, JSON and TOML."""

from __future__ import annotations

from lrfinder.config.files import FORMATS, dump, format_schedule, load_schedule, parse_schedule
from lrfinder.config.model import VERSION, Evidence, OptimizerConfig, ScheduleConfig

__all__ = [
    "FORMATS",
    "VERSION",
    "Evidence",
    "OptimizerConfig",
    "ScheduleConfig",
    "dump",
    "format_schedule",
    "load_schedule",
    "parse_schedule",
]
