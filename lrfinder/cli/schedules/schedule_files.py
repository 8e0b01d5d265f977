"""`lrfinder schedule lint` and `schema`: configs as files, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.exit_status import NOT_CONFIRMED
from lrfinder.cli.answers.output import print_json, print_line, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed
from lrfinder.errors import ConfigError
from lrfinder.formatting import format_count


def lint(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Schedule configs.")],
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look for mistakes in schedule configs, without running anything: a hook for pre-commit.

    Rates that don't suit the optimizer or lie outside the measured band, a warm-up as long as the run, a decay that
    ends early, weight decay that erases the weights, a setting that torch's optimizer doesn't take. The exit status is
    0 if all looks well, 1 if something doesn't, and 2 if a config is not valid.

    Example: `lrfinder schedule lint configs/*.yaml`.
    """
    del debug, seed
    from lrfinder.advice.checks.lint import lint as suspicions_of
    from lrfinder.config import load_schedule
    from lrfinder.report.documents import lint_document

    found, invalid = [], []
    for path in configs:
        try:
            found.append((str(path), suspicions_of(load_schedule(path))))
        except ConfigError as error:
            invalid.append(error)
    if invalid and len(configs) == 1:
        raise invalid[0]
    lines = [f"{path}: {one.where}: {one.what}; {one.hint}" for path, them in found for one in them]
    if as_json:
        print_json(lint_document(found, invalid=[str(error) for error in invalid]))
    else:
        print_text(*map(str, invalid), *lines)
        if not (lines or invalid or quiet):
            print_text(f"{format_count(len(configs), 'config')}, nothing suspicious.")
    raise typer.Exit(ConfigError.exit_status if invalid else NOT_CONFIRMED if lines else 0)


def schema(
    write: Annotated[Path | None, typer.Option("--write", help="The file to write. [default: standard output]")] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of a schedule config, by which editors complete and check one.

    A YAML or TOML config that is written beside a schedule.schema.json begins with the line by which editors find it;
    in any other YAML config it is `# yaml-language-server: $schema=PATH`.

    Example: `lrfinder schedule schema --write schedule.schema.json`.
    """
    del debug, seed, as_json  # it is JSON
    from lrfinder.config.schema import schema_text
    from lrfinder.files import write_named

    if write is None:
        print_line(schema_text().removesuffix("\n"))
        return
    write_named(write, schema_text().encode())
    if not quiet:
        print_text(f"Written: {write}.")
