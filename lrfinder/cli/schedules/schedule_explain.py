"""`lrfinder schedule explain`: what a rate depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrfinder.cli.answers.output import print_json, print_text
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed, count
from lrfinder.cli.arguments.values import complete_optimizer
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    from lrfinder.config import ScheduleConfig


def explain(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The schedule config. [default: --optimizer instead]")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer", autocompletion=complete_optimizer, help="A class of torch.optim, instead of a config."
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Its rate; torch's default if left out, like the rest.")
    ] = None,
    momentum: Annotated[float | None, typer.Option("--momentum", help="Its momentum.")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", help="Its weight decay.")] = None,
    betas: Annotated[str | None, typer.Option("--betas", metavar="B1,B2", help="Its betas.")] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", parser=count, help="Updates of the run, linear to zero. [default: unknown]"),
    ] = None,
    warmup: Annotated[int | None, typer.Option("--warmup", parser=count, help="Updates of warm-up.")] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Explain what a rate depends on: momentum, weight decay, the second moment, other frameworks' defaults.

    For a config, or for an optimizer at a rate; without --steps, facts that need the length of the run are left out.

    Examples: `lrfinder schedule explain schedule.yaml`, `lrfinder schedule explain --optimizer SGD --lr 0.1 --momentum
    0.9`, `... --optimizer AdamW --lr 3e-4 --betas 0.9,0.95 --steps 10000 --warmup 500`.
    """
    del debug, seed, quiet
    from lrfinder.advice.explain import explain as facts_of
    from lrfinder.report.schedule import facts_table

    settings = {"momentum": momentum, "weight_decay": weight_decay, "betas": betas}
    own = {"lr": lr, **settings, "steps": steps, "warmup": warmup}
    _check_choice(config, optimizer, own)
    if config is not None:
        from lrfinder.config import load_schedule

        facts = facts_of(load_schedule(config))
    else:
        made = _bare(str(optimizer), lr=lr, steps=steps, warmup=warmup, settings=settings)
        facts = facts_of(made, of_a_run=steps is not None)
    if as_json:
        from lrfinder.report.documents import explain_document

        print_json(explain_document(facts))
    else:
        print_text(facts_table(facts))


def _check_choice(config: Path | None, optimizer: str | None, own: dict[str, Any]) -> None:
    """Raise UsageError if both a config and an optimizer are given, or neither."""
    given = [f"--{key.replace('_', '-')}" for key, value in own.items() if value is not None]
    if config is not None and (optimizer is not None or given):
        named = "--optimizer" if optimizer is not None else given[0]
        raise UsageError(
            f"{named} was given besides the config {config}", hint="give one of the two: a config holds everything"
        )
    if config is None and optimizer is None:
        hint = "name a config, or an optimizer: --optimizer AdamW --lr 1e-3"
        raise UsageError(f"{given[0]} needs --optimizer" if given else "nothing to explain", hint=hint)


def _bare(
    optimizer: str, *, lr: float | None, steps: int | None, warmup: int | None, settings: dict[str, Any]
) -> ScheduleConfig:
    from lrfinder.advice.bare_optimizer import bare_config, parse_betas

    given = {key: value for key, value in settings.items() if value is not None}
    if "betas" in given:
        given["betas"] = parse_betas(given["betas"])
    return bare_config(optimizer, lr=lr, steps=steps, warmup=warmup or 0, given=given)
