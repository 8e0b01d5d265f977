"""The options that name a training script, for the commands that take one in place of a model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.arguments.options import given_options, option_name
from lrfinder.cli.arguments.script_arguments import ARGUMENTS
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    from lrfinder.records import Script

ScriptFile = Annotated[
    str | None,
    typer.Option(
        "--script",
        metavar="FILE",
        help="A training script, unchanged, in place of MODEL; its own arguments follow behind `--`.",
    ),
]
ScriptModule = Annotated[
    str | None,
    typer.Option("--module", metavar="NAME", help="The same for a module, as in `python -m NAME`."),
]
Which = Annotated[
    str | None,
    typer.Option(
        "--which", metavar="NAME", help="Of a script's several optimizers: the class, or a variable that holds it."
    ),
]
_OF_SCRIPTS = frozenset({"script", "module", "which", "scale_others", "nproc"})
_OF_ALL = frozenset({"as_json", "quiet", "details", "debug", "seed", "out", "write"})


def named_script(context: typer.Context, also: frozenset[str]) -> Script | None:
    """Return the script that the options name, or None.

    Raises UsageError if both or a model file are named too, for options that a script has no use for (all but those in
    `also`, and what all commands share), and for another `nproc` than torchrun has started.
    """
    script, module, which, model = (context.params.get(name) for name in ("script", "module", "which", "model"))
    scale_others = bool(context.params.get("scale_others"))
    if script is None and module is None:
        if which is not None:
            raise UsageError("--which is for a script", hint="a model file's: --sweep-optimizer NAME")
        if scale_others and "swept_optimizer" not in context.params:
            raise UsageError("--scale-others is for a --script here", hint="name the script, too: --script train.py")
        return None
    if script is not None and module is not None:
        raise UsageError("--script and --module can't both be given", hint="keep one")
    if model is not None:
        raise UsageError(
            f"a script is given, and {model!r} too", hint="the script's own arguments come behind `--`, at the end"
        )
    for name in given_options(context):
        if name not in _OF_SCRIPTS | _OF_ALL | also:
            raise UsageError(
                f"{option_name(context, name)} can't be given with a script",
                hint="what it trains is said by its own arguments, behind `--`",
            )
    from lrfinder.records import Script
    from lrfinder.scripts.program import processes_of

    program, arguments = script if script is not None else str(module), context.meta.get(ARGUMENTS, ())
    return Script(
        program=program,
        arguments=arguments,
        module=script is None,
        which=which,
        scale_others=scale_others,
        processes=processes_of(context.params["nproc"]) if "nproc" in context.params else None,
    )
