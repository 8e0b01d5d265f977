"""`axolotl find-lr CONFIG`: the learning rate of what a config of axolotl trains, as a command of its own command line.

axolotl reads the config and the data and makes its Trainer, as for `axolotl train`; that Trainer is what is swept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfinder.errors import LrfinderError
from lrfinder.integrations import huggingface

NO_RATE = 5  # the exit status of `lrfinder recommend` if the sweep allows no pick
SHAPES = ("cosine", "linear", "constant")  # values of lr_scheduler that are schedules of ours, but for their warm-ups


@click.command("find-lr")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), help="Updates of the coming run. Default: as CONFIG says.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write a schedule config, too.")
def find_lr(config: Path, steps: int | None, write: Path | None) -> None:
    """Sweep the learning rate of what CONFIG trains, and print what to set there.

    Nothing is trained for good: no checkpoint is written. Exit statuses are those of lrfinder.
    """
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets, load_preference_datasets
    from axolotl.train import setup_model_and_trainer

    settings = load_cfg(str(config))
    data = (load_preference_datasets if settings.rl else load_datasets)(cfg=settings)
    trainer, *_ = setup_model_and_trainer(settings, data)
    try:
        _told(trainer, config, steps, settings.lr_scheduler, write)
    except LrfinderError as error:
        click.echo(f"lrfinder: {error}" + (f"\n  {error.hint}" if error.hint else ""), err=True)
        raise click.exceptions.Exit(error.exit_status) from None


def _told(trainer: Any, config: Path, steps: int | None, shape: str, write: Path | None) -> None:
    advice = huggingface.find_lr(trainer, steps=steps, schedule=shape if shape in SHAPES else None)
    click.echo(str(advice))
    if advice.schedule is None:
        raise click.exceptions.Exit(NO_RATE)
    click.echo(f"\nIn {config}:\nlearning_rate: {advice.lr}")
    if write is not None:
        advice.save(write)
        click.echo(f"\nFor the schedule of {write} itself: lrfinder schedule export {write} --to axolotl")
