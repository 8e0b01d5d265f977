"""A YAML, JSON or TOML file of Hugging Face's `TrainingArguments` as a schedule config."""

from __future__ import annotations

import os
from pathlib import Path

from lrfinder.config import ScheduleConfig
from lrfinder.config.files import config_error, read_document
from lrfinder.errors import ConfigError
from lrfinder.importing.training_arguments import read_arguments
from lrfinder.importing.unfit import UnfitError

_WHAT = "file of training arguments"
_HINT = "name a JSON, YAML or TOML file of TrainingArguments, such as TrainingArguments.to_json_string() gives"


def import_file(
    path: str | os.PathLike[str], *, steps: int | None, optimizer: str | None, tolerance: float
) -> ScheduleConfig:
    """Return the config of the arguments in a file; raise ConfigError with line and column for what is wrong."""
    where = str(path)
    document = read_document(Path(path), what=_WHAT, hint=_HINT)
    if document.problems:
        raise config_error(where, list(document.problems))
    if not isinstance(document.data, dict):
        raise ConfigError(f"{where}:1:1: expected a mapping of arguments to values", hint=_HINT)
    try:
        return read_arguments(document, steps=steps, optimizer=optimizer, tolerance=tolerance, folder=Path(path).parent)
    except UnfitError as error:
        raise config_error(where, error.problems, hint=error.hint) from None
