"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli import failures
from lrfinder.options import Graph, Precision


def _remember_debug(value: bool) -> bool:
    failures.show_own_frames(on=value)
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no plots: results only.")]
Details = Annotated[
    bool, typer.Option("--details", help="Show all rules with their reasons, and what other finders would say.")
]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember_debug, is_eager=True, help="On a failure, show the whole traceback."),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seeds weights, data order and dropout; repeats differ from each other.")
]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, help="Seeds the bootstrap behind the intervals.")]
# Accepted so that a script can pass the same options to every command; these commands have nothing random.
UnusedSeed = Annotated[int, typer.Option("--seed", min=0, hidden=True)]

WriteConfig = Annotated[
    Path | None,
    typer.Option("--write", help="The config file to write; .yaml, .json or .toml. [default: none]"),
]

# How an update is made: the same for every command that trains.
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="`auto`: as in the model file. `bf16` and `fp16` run the loss under autocast, `fp16` with a loss "
        "scaler (an update that it skips uses up no rate), `fp32` without autocast.",
    ),
]
Accumulate = Annotated[
    int, typer.Option("--accumulate", metavar="N", help="Batches per update; its gradient is the mean of theirs.")
]
ClipNorm = Annotated[float | None, typer.Option("--clip-norm", metavar="X", help="Clip the norm of the gradient to X.")]
ClipValue = Annotated[
    float | None, typer.Option("--clip-value", metavar="X", help="Clip each number of the gradient to -X ... X.")
]
SweptOptimizer = Annotated[
    str | None,
    typer.Option(
        "--sweep-optimizer",
        metavar="NAME",
        help="Which of the file's `optimizers` is swept; the others hold their rates.",
    ),
]
ScaleOthers = Annotated[
    bool, typer.Option("--scale-others", help="Scale the other optimizers' rates too, in proportion.")
]

GraphOption = Annotated[
    Graph,
    typer.Option(
        "--graph",
        help="On a GPU, record an update once and replay it, which saves the time of launching its kernels. "
        "`auto`: if the recording gives the same losses and weights in less time; `on`: fail if it can't.",
    ),
]
