"""The commands, in the order in which people use them."""

from __future__ import annotations

from typing import Annotated

import typer

from lrfinder.cli.check import check
from lrfinder.cli.init import init
from lrfinder.cli.recommend import recommend
from lrfinder.cli.schedule import app as schedule_app
from lrfinder.cli.sweep import sweep

_EXAMPLES = """\b
Examples:
  lrfinder init model.py                  write a starter model file that runs as it is
  lrfinder sweep model.py                 the range test; the loss against the rate goes to lrfinder-runs/
  lrfinder recommend --epochs 30          pick the rate, choose the decay, write the schedule config
  lrfinder schedule show schedule.yaml    look at the rate of every update
  lrfinder check model.py --config schedule.yaml      in CI: is the configured rate still sane?
"""

# Without rich markup: it would double the time that --help takes, and look the same in a log.
app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=_EXAMPLES,
    help="Find the learning rate of your own PyTorch model, and write the decay schedule that uses it.",
)


def _version(value: bool) -> None:
    if value:
        from lrfinder import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _lrfinder(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


app.command()(init)
app.command()(sweep)
app.command()(recommend)
app.command()(check)
app.add_typer(schedule_app, name="schedule", help="Preview a schedule config, list the schedules.")
