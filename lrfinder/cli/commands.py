"""A group of commands whose modules are loaded when they are called.

The list of commands, which `--help` prints, needs their names and summaries only. Loading them all, and having Typer
read the signature of each, would cost half of what `--help` takes.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from lrfinder.cli.output import warn

# Old names of options, which scripts may still use.
_RENAMED_OPTIONS = {"--sweep": "--sweep-optimizer"}


class _CommandWithOldNames(TyperCommand):
    """A command that takes options by their old names too; each is a warning, and `--help` doesn't list it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command's options and arguments."""
        end = args.index("--") if "--" in args else len(args)
        known = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        for i, argument in enumerate(args[:end]):
            old, equals, value = argument.partition("=")
            new = _RENAMED_OPTIONS.get(old)
            if new in known:
                args[i] = f"{new}{equals}{value}"
                if not ctx.resilient_parsing:  # of the shell's completion
                    warn(f"{old} is called {new} now")
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command's line in the list, and its `home`: `module:name` of a function, or of a `typer.Typer` of its own."""

    home: str
    summary: str
    examples: tuple[str, ...] = ()

    def load(self, name: str) -> Any:
        """Import the command, and return what Typer makes of it."""
        module, _, attribute = self.home.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(rich_markup_mode=None, add_completion=False)
        epilog = "\n".join(("\b", "Examples:", *(f"  {line}" for line in self.examples)))
        alone.command(name, cls=_CommandWithOldNames, epilog=epilog)(found)
        return typer.main.get_command(alone)


class Group(TyperGroup):
    """A group whose own flags have a bool for a default.

    Typer's --help, --install-completion and --show-completion have None, and what is no bool it has checked by
    pydantic: to load that takes longer than all the rest of `sweep --help`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options."""
        for option in self.get_params(ctx):
            if getattr(option, "is_flag", False) and option.default is None:
                option.default = False
        return super().parse_args(ctx, args)


class Commands(Group):
    """The commands of `listed`, in its order."""

    listed: ClassVar[dict[str, Command]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in self.listed.items():
            self.add_command(TyperCommand(name, help=command.summary, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name, the command and the arguments left for it; its module is loaded here."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else self.listed[name].load(name), rest
