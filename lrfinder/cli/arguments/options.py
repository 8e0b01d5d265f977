"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers import failures
from lrfinder.cli.arguments.values import complete_optimizer, complete_schedule
from lrfinder.options import MOST_PROCESSES, Graph, Metric, Precision, read_count


def _remember_debug(value: bool) -> bool:
    failures.show_own_frames(on=value)
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The result alone: no progress, no plots, no explanations.")]
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


def count(given: str | int) -> int:
    """Read a whole number as people write it: 10000, 1e4, 10k or 2.5M. Typer has it read the default, too."""
    value = read_count(str(given))
    if value is None:
        raise typer.BadParameter(f"{str(given)!r} is not a whole number; 10000, 1e4 and 10k are")
    return value


_AS: dict[str, Callable[[object], object]] = {  # Typer before 0.29 gives the text
    "out": lambda value: Path(str(value)),
    "start_from": str,
}


def given_options(context: typer.Context) -> dict[str, object]:
    """Return the options and arguments that the command line itself names."""
    return {
        name: _AS[name](value) if name in _AS else value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def option_name(context: typer.Context, name: str) -> str:
    """Return how the command line calls a parameter: its flag, or an argument's name in capitals."""
    parameter = next(it for it in context.command.params if it.name == name)
    return parameter.opts[0] if parameter.param_type_name == "option" else name.upper()


# The coming run.
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="T", parser=count, help="Length of the coming run, in updates.")
]
Epochs = Annotated[float | None, typer.Option("--epochs", metavar="E", help="Length of the coming run, in epochs.")]
Warmup = Annotated[int | None, typer.Option("--warmup", metavar="N", parser=count, help="Updates of linear warm-up.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=MOST_PROCESSES,
        help="Runs at once, each in a process of its own. [default: several if that is measured to be faster]",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="WHERE",
        help="Make repeats and trials elsewhere, several at once: `ray` is the cluster at RAY_ADDRESS, or else this "
        "machine; `ray://HOST:PORT` a Ray Client server.",
    ),
]
DevicesPerTrial = Annotated[
    int | None,
    typer.Option(
        "--devices-per-trial",
        metavar="N",
        min=1,
        help="With --on: whole devices for each trial, GPUs, or cores if it trains on the CPU. [default: 1, or "
        "that of --nproc]",
    ),
]
Upload = Annotated[
    bool,
    typer.Option(
        "--upload",
        help="With --on: send the files that git tracks in the repository of the model file, and nothing else; without "
        "it every node is expected to have the folder.",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule", autocompletion=complete_schedule, help="Shape of the decay; see `lrfinder schedule list`."
    ),
]

# What is trained, and where.
OptimizerName = Annotated[
    str | None,
    typer.Option(
        "--optimizer",
        autocompletion=complete_optimizer,
        help="A class of torch.optim, if the model file has none. [default: AdamW]",
    ),
]
Momentum = Annotated[float | None, typer.Option("--momentum", help="Momentum of that optimizer.")]
WeightDecay = Annotated[float | None, typer.Option("--weight-decay", help="Weight decay of that optimizer.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Passed to the file's train_loader(batch_size).")]
LoaderTimeout = Annotated[
    float,
    typer.Option(
        "--loader-timeout",
        metavar="SECONDS",
        help="Give up if a batch takes longer (the first one of a pass: five times that); 0 waits forever.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto is CUDA, then MPS, then CPU.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Make five updates, undo them, and say what would be swept: device, batch, first loss, groups, time.",
    ),
]
StartFrom = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="CHECKPOINT",
        help="Begin where a run stopped that is to go on: a file of torch.save (the weights, or a dict with `model` or "
        "`state_dict`, and `optimizer`), a safetensors file, or a folder of Hugging Face's Trainer.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder. [default: lrfinder-runs/<model>-<time>]")]

WriteSchedule = Annotated[
    Path | None,
    typer.Option("--write", help="Where the config goes; .yaml, .json or .toml. [default: schedule.yaml in RUN]"),
]
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

# What a sweep measures.
MetricOption = Annotated[
    Metric,
    typer.Option(
        "--metric",
        help="The loss that the continuous sweep records after each update: `train`, that of the next training "
        "batch; `probe`, that of a batch set aside before training; `val`, the mean over the first 10 batches of "
        "val_loader. `probe` and `val` see the same batches at every rate, in evaluation mode, and cost a pass "
        "over them an update. Short runs are always judged by held-out batches.",
    ),
]
CacheBatches = Annotated[
    int | None,
    typer.Option(
        "--cache-batches",
        metavar="N",
        help="Train on the first N batches over and over, the same ones in every repeat and at every rate, kept "
        "in memory: a curve without the noise of the data, which says less about all of it. Example: "
        "--cache-batches 8",
    ),
]

GraphOption = Annotated[
    Graph,
    typer.Option(
        "--graph",
        help="Use CUDA graphs: faster for small models. `auto`: if they give the same losses and weights in less time; "
        "`on`: fail if they can't be used.",
    ),
]
