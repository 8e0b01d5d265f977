"""`lrfinder config`: which defaults a file or the environment sets, and where they stand."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lrfinder.cli.answers.output import print_json, print_text
from lrfinder.cli.arguments.defaults import environment_defaults, file_defaults
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed


def config(seed: UnusedSeed = 0, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Show the defaults of options that are not lrfinder's own, and where they come from.

    Options may stand in pyproject.toml, in a table for each command such as [tool.lrfinder.sweep] with `steps = 200`.
    The nearest file with such a table counts. The environment variable LRFINDER_SWEEP_STEPS wins over the file, and
    the command line over both.
    """
    del seed, debug, quiet
    from lrfinder.cli.app import COMMANDS
    from lrfinder.cli.commands import flags_of, strongest, with_options

    found = []
    for name, command in COMMANDS.items():
        options = flags_of(command.load(name))
        in_file = file_defaults(name, with_options(COMMANDS), options, Path.cwd()) if options else []
        found += strongest(in_file, environment_defaults(name, options))
    if as_json:
        print_json({"defaults": [asdict(default) for default in found]})
        return
    for default in found:
        print_text(f"lrfinder {default.command} {default.option} {default.value}    from {default.source}")
    if not found:
        print_text("Every option has lrfinder's own default; `lrfinder config --help` says how to change one.")
