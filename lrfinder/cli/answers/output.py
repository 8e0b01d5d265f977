"""Print results to standard output, warnings and notes to standard error."""

from __future__ import annotations

import codecs
import contextlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrfinder.cli.process.stdout import stdout_guard
from lrfinder.errors import OwnWarning, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lrfinder.advice import Advice
    from lrfinder.config import ScheduleConfig
    from lrfinder.records import SweepResult

WIDEST_PLOT = 120  # characters; a wider curve is hard to see as one shape
PLOT_HEIGHT = 20  # lines
LINES_BELOW = 6  # of the terminal: an answer of five lines and the prompt


_asked_for_json = False
_answered = False


def print_json(document: Mapping[str, Any]) -> None:
    """Print the command's one JSON document."""
    global _answered  # noqa: PLW0603 - a failure after the answer must not print a second document
    from lrfinder.report.documents import json_text

    _answered = True
    with stdout_guard():
        sys.stdout.write(json_text(document, indent=2))


def remember_json(arguments: Sequence[str]) -> None:
    """Note whether the command line asks for JSON, as it stands: the failure may be that Typer can't read it."""
    global _asked_for_json, _answered  # noqa: PLW0603 - see `_answered`; the user's code doesn't see the command line any more
    _answered = False
    _asked_for_json = "--json" in itertools.takewhile(lambda argument: argument != "--", arguments)


def ask_for_json() -> None:
    """Note that JSON is asked for by a default, in a file or the environment."""
    global _asked_for_json  # noqa: PLW0603 - see `_answered`
    _asked_for_json = True


def print_json_error(kind: str, message: str, *, hint: str | None, status: int) -> None:
    """Print a failure as the command's JSON document, if it asks for JSON and has not answered."""
    if _asked_for_json and not _answered:
        from lrfinder.report.documents import error_document

        print_json(error_document(kind, visible(message), hint=hint and visible(hint), status=status))


def print_text(*parts: RenderableType) -> None:
    """Print text and tables. On a terminal text wraps at words; in a log or a pipe lines are not broken."""
    from lrfinder.report.console import PipeConsole, Visible  # rich: a third of what --help would cost

    console = PipeConsole(highlight=False, markup=False)
    with stdout_guard():
        for part in parts:
            text = isinstance(part, str)
            console.print(visible(str(part)) if text else Visible(part), soft_wrap=text and not console.is_terminal)


def print_line(line: str) -> None:
    """Print a line that people copy: it is never broken, however long it is."""
    with stdout_guard():
        sys.stdout.write(visible(line) + "\n")


def print_use(path: Path, config: ScheduleConfig, run: Path, verb: str = "Written") -> None:
    """Say where a schedule config was written, what it holds, and the lines of a training script that use it.

    If a script was swept in `run`, the command that trains it at the config's rates comes first.
    """
    import shlex

    from lrfinder.formatting import quoted
    from lrfinder.store import load_source

    shape = config.schedule
    print_text(f"{verb}: {path}: {shape.name}, {shape.steps} updates, {shape.warmup} of them warm-up. To use it:")
    script = load_source(run).script
    if script is not None:
        program = ["--module" if script.module else "--script", script.program]
        which = ["--scale-others"] if script.scale_others else []
        which += [] if script.which is None else ["--which", script.which]
        command = [
            *_launcher(script.processes),
            "lrfinder",
            "run",
            "--config",
            str(path),
            *program,
            *which,
            "--",
            *script.arguments,
        ]
        print_line(f"    {shlex.join(command)}")
        print_text("or, in the script itself:")
    print_line("    from lrfinder import load_schedule")
    print_line(f"    scheduler = load_schedule({quoted(str(path))}).scheduler(optimizer)")
    print_text("with the optimizer made, and scheduler.step() after every optimizer.step().")


def _launcher(processes: int | None) -> list[str]:
    """Return what starts so many processes of a script; on several machines as this command was started there."""
    from lrfinder.engine.distributed.environment import launched_place

    if processes is None:
        return []
    place = launched_place()
    on_several = place is not None and place.size > place.local_size
    return ["torchrun", *(["..."] if on_several else ["--nproc-per-node", str(processes)]), "-m"]


def print_plot(result: SweepResult, advice: Advice) -> None:
    """Print the curve of a sweep."""
    from lrfinder.report.terminal_plot import terminal_plot

    print_drawn(terminal_plot, advice.chart(result))


def print_drawn(draw: Callable[..., str], what: object) -> None:
    """Print what `draw` makes of `what`, as wide as the terminal, at a height that leaves room for a table below it."""
    from rich.console import Console

    from lrfinder.report.terminal_plot import SMALLEST_HEIGHT, SMALLEST_WIDTH

    console = Console()
    if console.width < SMALLEST_WIDTH:
        return  # a plot that is cut off would mislead; the table shows the same
    color = console.color_system is not None and not console.no_color
    width = min(console.width, WIDEST_PLOT)
    encoding = sys.stdout.encoding or "ascii"
    room = console.height - LINES_BELOW if console.is_terminal else PLOT_HEIGHT
    height = max(SMALLEST_HEIGHT, min(PLOT_HEIGHT, room))
    plot = draw(what, width=width, height=height, color=color, encoding=encoding)
    with stdout_guard():
        sys.stdout.write(plot + "\n")


def warn(message: str) -> None:
    """Print a warning to standard error."""
    _to_stderr(f"lrfinder: warning: {visible(message)}")


def show_own_warnings() -> None:
    """From now on, print lrfinder's own warnings with `warn`; Python prints all others."""
    python_prints = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, OwnWarning):
            warn(str(message))
        else:
            python_prints(message, category, *rest, **more)

    warnings.showwarning = show


def can_draw() -> bool:
    """Return whether the encoding of standard output has more than ASCII."""
    return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"


def note(message: str) -> None:
    """Print to standard error, for example a default that the command chose itself."""
    _to_stderr(f"lrfinder: {visible(message)}")


def _to_stderr(text: str) -> None:
    """Print a line to standard error; on a terminal it is broken between words."""
    import textwrap

    with contextlib.suppress(OSError):  # nobody reads it
        is_terminal = getattr(sys.stderr, "isatty", bool)  # the user's code may have put an object of its own there
        if is_terminal() and (width := os.get_terminal_size(sys.stderr.fileno()).columns):
            text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        sys.stderr.write(text + "\n")  # print() may be the user's own: scripts put theirs into `builtins`
