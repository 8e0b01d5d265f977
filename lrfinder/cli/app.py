"""The commands, in the order in which people use them."""

from __future__ import annotations

from typing import Annotated

import typer

from lrfinder.cli.check import check
from lrfinder.cli.init import init
from lrfinder.cli.recommend import recommend
from lrfinder.cli.schedule import app as schedule_app
from lrfinder.cli.sweep import sweep
from lrfinder.cli.verify import verify

_EXAMPLES = """\b
Examples:
  lrfinder init model.py                  write a starter model file that runs as it is
  lrfinder sweep model.py                 the range test; the loss against the rate goes to lrfinder-runs/
  lrfinder recommend --epochs 30          pick the rate, choose the decay, write the schedule config
  lrfinder verify --epochs 30             train shortly around the pick; confirm or correct the config
  lrfinder schedule show schedule.yaml    look at the rate of every update
  lrfinder check model.py --config schedule.yaml
                                          in CI: is the configured rate still sane?
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


def _examples(*lines: str) -> str:
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


app.command(epilog=_examples("lrfinder init", "lrfinder init experiments/net.py"))(init)
app.command(
    short_help="Run the range test: the loss at each rate.",
    epilog=_examples(
        "lrfinder sweep model.py",
        "lrfinder sweep model.py:small --repeats 5 --out runs/small",
        "lrfinder sweep mypackage.net:build --optimizer SGD --momentum 0.9",
        "lrfinder sweep --resume runs/small                 carry on where it was cut short",
    ),
)(sweep)
app.command(
    epilog=_examples(
        "lrfinder recommend --epochs 30                     the newest run; writes schedule.yaml into its folder",
        "lrfinder recommend runs/small --steps 10000 --schedule cosine --write schedule.yaml",
        "lrfinder recommend runs/small --steps 10000 --json",
    )
)(recommend)
app.command(
    short_help="Train shortly around the recommendation: confirm or correct it.",
    epilog=_examples(
        "lrfinder verify --epochs 30                        the newest run",
        "lrfinder verify runs/small --steps 10000 --budget 10% --jobs 4",
        "lrfinder verify schedule.yaml --schedules cosine,constant --write verified.yaml",
    ),
)(verify)
app.command(
    short_help="For CI: is the configured rate still sane?",
    epilog=_examples(
        "lrfinder check model.py --config schedule.yaml",
        "lrfinder check model.py --config schedule.yaml --max-seconds 60 --json",
    ),
)(check)
app.add_typer(schedule_app, name="schedule", short_help="Preview schedule configs, list the schedules.")
