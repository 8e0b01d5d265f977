"""The commands, in the order in which people use them."""

from __future__ import annotations

from typing import Annotated

import typer

from lrfinder.cli.commands import HELP, Command, Commands

_EXAMPLES = """\b
Examples:
  lrfinder init model.py                  write a starter model file
  lrfinder find model.py --epochs 30      one command to the schedule config;
                                          or step by step:
  lrfinder sweep model.py                 the range test: the loss by rate
  lrfinder recommend --epochs 30          pick the rate, write the config
  lrfinder verify --epochs 30             short trainings: confirm or correct
  lrfinder schedule show schedule.yaml    look at the rate of every update
  lrfinder report                         one HTML page of the newest run
  lrfinder compare runs/a runs/b          do the picks of two runs differ?
  lrfinder runs                           the run folders, newest first
  lrfinder export-study runs/a            its trials as a study of Optuna
  lrfinder check model.py --config schedule.yaml
                                          in CI: does it still train there?
  lrfinder sweep --script train.py -- --epochs 30
                                          a training script, as it is
"""

COMMANDS = {
    "init": Command(
        home="lrfinder.cli.init:init",
        summary="Write a commented starter that runs as it is.",
        examples=(
            "lrfinder init                          model.py, a model file",
            "lrfinder init experiments/net.py",
            "lrfinder init --from trainer           train.py, with Hugging Face's Trainer",
        ),
    ),
    "find": Command(
        home="lrfinder.cli.find:find",
        summary="Find the rate of a coming run: sweep, recommend, verify.",
        examples=(
            "lrfinder find model.py --epochs 30",
            "lrfinder find model.py --steps 20k --budget 10% --write schedule.yaml",
            "lrfinder find --resume lrfinder-runs/model-1 --steps 20k",
            "lrfinder find --script train.py --epochs 30 -- --epochs 30",
        ),
    ),
    "sweep": Command(
        home="lrfinder.cli.sweep:sweep",
        summary="Run the range test: the loss at each rate.",
        examples=(
            "lrfinder sweep model.py",
            "lrfinder sweep model.py --dry-run      what would be swept, and how long",
            "lrfinder sweep model.py:small --repeats 5 --out runs/small",
            "lrfinder sweep mypackage.net:build --optimizer SGD --momentum 0.9",
            "lrfinder sweep --resume runs/small     continue where it was cut short",
            "lrfinder sweep --script train.py -- --epochs 30  a script, unchanged",
        ),
    ),
    "recommend": Command(
        home="lrfinder.cli.recommend:recommend",
        summary="Pick the rate, choose the decay, write the schedule config.",
        examples=(
            "lrfinder recommend --epochs 30         the newest run",
            "lrfinder recommend runs/small --steps 10k --schedule cosine",
            "lrfinder recommend runs/small --steps 10000 --json",
        ),
    ),
    "verify": Command(
        home="lrfinder.cli.verify:verify",
        summary="Run short trainings near the recommended rate.",
        examples=(
            "lrfinder verify --epochs 30                        the newest run",
            "lrfinder verify runs/small --steps 10000 --budget 10% --jobs 4",
            "lrfinder verify schedule.yaml --schedules cosine,constant",
        ),
    ),
    "report": Command(
        home="lrfinder.cli.report:report",
        summary="Write one HTML page about a run, or about several.",
        examples=(
            "lrfinder report                        the newest run, into its folder",
            "lrfinder report runs/a runs/b --out both.html      the comparison first",
        ),
    ),
    "compare": Command(
        home="lrfinder.cli.report:compare",
        summary="Overlay runs: may they be compared, do their picks differ?",
        examples=("lrfinder compare runs/a runs/b", "lrfinder compare runs/* --png compared.png --json"),
    ),
    "runs": Command(
        home="lrfinder.cli.runs:runs",
        summary="List the run folders, newest first.",
        examples=("lrfinder runs", "lrfinder runs experiments/ --json", "lrfinder runs --clean --keep 3"),
    ),
    "export-study": Command(
        home="lrfinder.cli.export_study:export_study",
        summary="Write the trials of a run into a study of Optuna.",
        examples=(
            "lrfinder export-study runs/small       into optuna.db, a file of SQLite",
            "lrfinder export-study runs/small --storage sqlite:///all.db --steps 75",
        ),
    ),
    "check": Command(
        home="lrfinder.cli.check:check",
        summary="For CI: does the model still train at this rate?",
        examples=(
            "lrfinder check model.py --config schedule.yaml",
            "lrfinder check model.py --config schedule.yaml --max-seconds 60 --json",
            "lrfinder check --config schedule.yaml --log trainer_state.json",
            "lrfinder check --script train.py -- --epochs 30    a script's own rate",
        ),
    ),
    "run": Command(
        home="lrfinder.cli.run:run",
        summary="Train a script, unchanged, at the rates of a config.",
        examples=(
            "lrfinder run --config schedule.yaml --script train.py -- --epochs 30",
            "lrfinder run --config s.yaml --first-update 4000 --module train -- --resume",
        ),
    ),
    "schedule": Command(
        home="lrfinder.cli.schedule:app",
        summary="Show, lint, export, import, explain, refine configs.",
        group=True,
    ),
    "config": Command(
        home="lrfinder.cli.config:config",
        summary="Show defaults that pyproject.toml or the environment set.",
        examples=("lrfinder config", "LRFINDER_SWEEP_STEPS=200 lrfinder config"),
    ),
}


class _Commands(Commands):
    listed = COMMANDS


# Without rich markup, which would double the time of --help.
app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=_EXAMPLES,
    context_settings=HELP,
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
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
