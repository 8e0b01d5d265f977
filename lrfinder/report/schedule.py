"""What a schedule looks like: a plot for the terminal, a table of f(t), and the list of the shapes there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from lrfinder.batch_growth.plan import stretches
from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_lr
from lrfinder.report.canvas import SHADES, canvas, in_ascii, render
from lrfinder.schedules import SCHEDULES, Schedule

if TYPE_CHECKING:
    from lrfinder.advice.explain import Fact  # its package loads NumPy

HEIGHT = 16  # rows: half of a small terminal, so that the table fits below
NARROWEST = 30  # columns: below, the axis labels leave no room for the curve
TENTHS = 10  # the table's rows: one per tenth of the run
LONGEST_LIST = 6  # entries of a parameter that fit in its config's line
SAMPLES_PER_COLUMN = 4  # twice what the finest marker resolves, so that a drop is drawn where it happens

LETTERS: Final = ("*", "o", "+", "x", "#", "@")  # they distinguish the curves without color
NOTHING = "-"  # ASCII, so that every terminal shows it


def schedule_plot(
    configs: Sequence[ScheduleConfig], *, width: int, color: bool = True, ascii_only: bool = False
) -> str:
    """Return f(t) of each config over the updates of the longest, drawn in text `width` columns wide.

    With `color`, ANSI colors distinguish the curves; without, letters do, in the order of `schedule_legend`. With
    `ascii_only`, nothing else is used for the frame either.
    """
    import plotext

    width = max(width, NARROWEST)
    figure = canvas(width, HEIGHT)
    for config, letter, shade in zip(configs, cycle(LETTERS), cycle(SHADES), strict=False):
        updates = _sampled(config, SAMPLES_PER_COLUMN * width)
        marker = plotext.marker(letter if ascii_only or not color else "hd", plotext.pixel(shade))
        signal = figure.signal(updates, [config.rate(t) for t in updates], marker=marker)
        figure.draw(signal.lines())
    last = max(config.steps for config in configs) - 1
    _ticks(figure, last=last, peak=max(config.optimizer.lr for config in configs))
    text = "\n".join(render(figure, color=color))
    return in_ascii(text) if ascii_only else text


def _ticks(figure: Any, *, last: int, peak: float) -> None:
    """Put ticks at quarters of the run and halves of the peak; plotext's own fall on odd numbers."""
    updates = sorted({(last + 1) * quarter // 4 for quarter in range(4)} | {last})
    rates = [0.0, peak / 2, peak]
    x, y = figure.ruler("x", "lower"), figure.ruler("y", "left")
    x.ticks(updates, [str(t) for t in updates])
    x.lim(0, max(last, 1))
    y.ticks(rates, [format_lr(lr) for lr in rates])
    y.lim(0, peak)
    figure.label("update", "x")


def _sampled(config: ScheduleConfig, most: int) -> list[int]:
    """Return updates to draw: all of them, or `most` evenly spaced ones."""
    last = config.steps - 1
    if last < most:
        return list(range(config.steps))
    return [round(last * i / (most - 1)) for i in range(most)]


def schedule_legend(configs: Mapping[str, ScheduleConfig], *, color: bool = True, ascii_only: bool = False) -> Text:
    """Return one line per config: its mark in the plot, the name it is given here, and what it says."""
    lines = Text()
    for (name, config), letter, shade in zip(configs.items(), cycle(LETTERS), cycle(SHADES), strict=False):
        mark = letter if ascii_only or not color else "\N{LOWER HALF BLOCK}"
        lines.append("\n" if lines else "").append(mark, style=f"color({shade})" if color else "").append(
            f" {name}: {describe(config)}"
        )
    return lines


def describe(config: ScheduleConfig) -> str:
    """Return a config in one line: "AdamW, peak 0.0031, linear to 0, warm-up 50 of 1000 updates"."""
    schedule = config.schedule
    parameters = ", ".join(_described(key, value) for key, value in _parameters(schedule).items())
    start = "" if schedule.warmup_start is None else f" from {schedule.warmup_start:g}"
    warmup = f"warm-up {schedule.warmup}{start} of " if schedule.warmup else ""
    warmup += f"{schedule.steps} updates"
    shape = f"{schedule.name} ({parameters})" if parameters else schedule.name
    until = "; drawn until the first cut, which validation losses decide" if schedule.reads_losses else ""
    return f"{config.optimizer.name}, peak {format_lr(config.optimizer.lr)}, {shape}, {warmup}{until}"


def _described(key: str, value: Any) -> str:
    """Return a parameter as "key value"; of a long list its length alone."""
    if isinstance(value, tuple):
        return f"{len(value)} {key}" if len(value) > LONGEST_LIST or isinstance(value[0], tuple) else f"{key} {value}"
    return f"{key} {value}"


def _parameters(schedule: Schedule) -> dict[str, Any]:
    """Return what a shape has beyond the parameters that all share, by the config's keys."""
    return {key: value for key, value in schedule.model_dump(by_alias=True).items() if key not in Schedule.model_fields}


def schedule_table(configs: Mapping[str, ScheduleConfig]) -> Table:
    """Return f(t) at the first update, the end of the warm-up, each tenth of the run, and the last update.

    With one config the rate is also given as a share of the peak; with several, a dash stands behind a run's end.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("update", justify="right", no_wrap=True)
    if len(configs) == 1:
        (config,) = configs.values()
        for header in ("done", "rate", "of peak"):
            table.add_column(header, justify="right", no_wrap=True)
        table.add_column("")
        for t in key_updates([config]):
            table.add_row(*_row(config, t))
        return table
    for name in configs:
        table.add_column(Text(name), justify="right", overflow="fold")
    for t in key_updates(list(configs.values())):
        table.add_row(
            str(t), *(format_lr(config.rate(t)) if t < config.steps else NOTHING for config in configs.values())
        )
    return table


def key_updates(configs: Sequence[ScheduleConfig]) -> list[int]:
    """Return the updates that a table should show: tenths of the longest run, and each run's turning points."""
    longest = max(config.steps for config in configs)
    updates = {longest * tenth // TENTHS for tenth in range(TENTHS)}
    for config in configs:
        updates |= {max(config.schedule.warmup - 1, 0), config.steps - 1}
    return sorted(updates)


def _row(config: ScheduleConfig, t: int) -> tuple[str, ...]:
    schedule = config.schedule
    notes = ["warm-up ends"] if t == schedule.warmup - 1 else []
    notes += ["last update"] if t == schedule.steps - 1 else []
    return (
        str(t),
        f"{t / schedule.steps:.0%}",
        format_lr(config.rate(t)),
        f"{schedule.factor(t):.1%}",
        ", ".join(notes),
    )


def batches_table(config: ScheduleConfig) -> Table:
    """Return the stretches of epochs with one batch size: their sizes, their rates, their updates."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for header in ("epochs", "batch size", "rate", "updates"):
        table.add_column(header, justify="right", no_wrap=True)
    plan, first = config.batch_plan(), 0
    for epochs, size in stretches(plan):
        part = plan[first : first + epochs]
        rates = [format_lr(config.optimizer.lr * epoch.factor) for epoch in (part[0], part[-1])]
        table.add_row(
            f"{first} to {first + epochs - 1}" if epochs > 1 else str(first),
            str(size),
            rates[0] if rates[0] == rates[1] else " to ".join(rates),
            str(sum(epoch.updates for epoch in part)),
        )
        first += epochs
    return table


def shapes_table() -> Table:
    """Return the schedules that there are, their parameters and when to use them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for header in ("name", "parameters", "good for"):
        table.add_column(header, no_wrap=header == "name", overflow="fold")
    for name, shape in SCHEDULES.items():
        given = ", ".join(_written(shape, key, value) for key, value in shape_parameters(shape).items())
        table.add_row(name, Text(given or NOTHING), Text(shape.advice))
    table.caption = Text(
        "every schedule also takes steps (updates of the whole run), warmup (updates, default 0), warmup_start (of the "
        "peak; default 1/warmup), and epoch (updates of one), with which any length may be text such as 30 epochs"
    )
    table.caption_justify = "left"
    return table


def facts_table(facts: Sequence[Fact]) -> Table:
    """Return what limits a rate: its name, its number, what follows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("what", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("what follows", overflow="fold")
    for fact in facts:
        table.add_row(fact.name, _valued(fact), Text(fact.text))
    return table


def _valued(fact: Fact) -> str:
    if fact.value is None:
        return NOTHING
    return f"{fact.value:,.0f} {fact.unit}" if fact.unit else format_lr(fact.value)


def _written(shape: type[Schedule], key: str, value: Any) -> str:
    if value is not None:
        return f"{key}={str(value).lower() if isinstance(value, bool) else value}"
    field = shape.model_fields.get(key)
    return key if field is None or field.is_required() else f"{key} (optional)"  # only a required one has an alias


def shape_parameters(shape: type[Schedule]) -> dict[str, Any]:
    """Return a shape's own parameters by the config's keys, each with its default, or None if it must be given."""
    fields = {key: field for key, field in shape.model_fields.items() if key not in Schedule.model_fields}
    return {field.alias or key: None if field.is_required() else field.default for key, field in fields.items()}
