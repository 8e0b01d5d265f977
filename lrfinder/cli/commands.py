"""A group of commands whose modules are imported when they are called.

`--help` needs only the names and summaries of the commands. Importing them all, and having Typer read each signature,
would take half of its time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from lrfinder.cli.answers.output import ask_for_json, warn
from lrfinder.cli.arguments.defaults import TRUE, Default, environment_defaults, file_defaults, variable_of
from lrfinder.cli.arguments.script_arguments import split_script_arguments

HELP = {"help_option_names": ["-h", "--help"]}

_DEFAULTS = "lrfinder.defaults"  # their key in the context's meta

# Old names of options, which scripts may still use.
_RENAMED_OPTIONS = {"--sweep": "--sweep-optimizer"}


class _CommandWithOldNames(TyperCommand):
    """A command that also takes options by their old names, with a warning; `--help` lists only the new names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command's options and arguments."""
        if any("--script" in parameter.opts for parameter in self.get_params(ctx)):
            args = split_script_arguments(ctx, args)
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
    """A command's line in the list; `home` is the `module:name` of its function, or of its own `typer.Typer`."""

    home: str
    summary: str
    examples: tuple[str, ...] = ()
    group: bool = False  # it has commands of its own, and no options

    def load(self, name: str) -> Any:
        """Import the command and return it as Typer's command."""
        module, _, attribute = self.home.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            for inner in found.registered_commands:
                _restore_doc(inner.callback)
            return typer.main.get_command(found)
        _restore_doc(found)
        alone = typer.Typer(rich_markup_mode=None, add_completion=False)
        epilog = "\n".join(("\b", "Examples:", *(f"  {line}" for line in self.examples)))
        alone.command(name, cls=_CommandWithOldNames, epilog=epilog, context_settings=HELP)(found)
        command = typer.main.get_command(alone)
        flags = flags_of(command)
        for parameter in command.params:
            parameter.show_envvar = False  # type: ignore[attr-defined]  # each has one: `lrfinder config --help`
            if parameter.name in flags:
                parameter.envvar = variable_of(name, flags[parameter.name])
        return command


def _restore_doc(function: Any) -> None:
    """Read the docstring, which is the text of `--help`, from the source if Python has left it out (`-OO`)."""
    if function.__doc__ is None:
        import ast
        import inspect

        parsed = ast.parse(inspect.getsource(function)).body[0]
        function.__doc__ = ast.get_docstring(parsed) if isinstance(parsed, ast.FunctionDef) else None


class Group(TyperGroup):
    """A group whose own flags default to False.

    The default of Typer's --help, --install-completion and --show-completion is None, and Typer has pydantic check
    what is not a bool. Importing pydantic takes longer than all the rest of `sweep --help`.
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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options; `help COMMAND` is `COMMAND --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a value that an option doesn't take is told in plain words."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from lrfinder.cli.arguments.values import given_value, plain_words

            options, words = getattr(error.param, "opts", ()), sys.argv[1:]
            default = next((it for it in ctx.meta.get(_DEFAULTS, ()) if it.option in options), None)
            if default is None or given_value(options, words) is not None:
                error.message = plain_words(error.message, options, words)
            else:
                told = plain_words(error.message, options, [f"{default.option}={default.value}"])
                error.message = f"{told.removesuffix('.')}, in {default.source}"
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command; return its name, the command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        command = self.listed[name].load(name)
        if options := flags_of(command):
            found = file_defaults(name, with_options(self.listed), options, Path.cwd())
            ctx.meta[_DEFAULTS] = set_there = strongest(found, environment_defaults(name, options))
            if any(it.option == "--json" and str(it.value).lower() in TRUE for it in set_there):
                ask_for_json()
            parameters = {it.opts[0]: it for it in command.params}
            ctx.default_map = {name: {parameters[it.option].name: _value(it, parameters) for it in found}}
        return name, command, rest


def strongest(in_file: Sequence[Default], set_there: Sequence[Default]) -> list[Default]:
    """Return the defaults that count: those `set_there`, in the environment, win over those of a file."""
    stronger = {default.option for default in set_there}
    return [default for default in in_file if default.option not in stronger] + [*set_there]


def _value(default: Default, parameters: Mapping[str, Any]) -> Any:
    """Return the value as the option takes it: one that may be given several times takes a list, also of one."""
    several = getattr(parameters[default.option], "multiple", False) and not isinstance(default.value, list)
    return [default.value] if several else default.value


def with_options(listed: Mapping[str, Command]) -> list[str]:
    """Return the names of the commands that have options, whose defaults may be set."""
    return [name for name, command in listed.items() if not command.group]


def flags_of(command: Any) -> dict[str, str]:
    """Return the flag of each option by the name of its parameter; nothing for a group, which has none itself."""
    if isinstance(command, TyperGroup):
        return {}
    return {it.name: it.opts[0] for it in command.params if it.param_type_name == "option" and not it.is_eager}
