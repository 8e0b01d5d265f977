"""`lrfinder schedule`: look at schedule configs, and at the schedules there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrfinder.cli.answers.output import can_draw, print_json, print_line, print_text, warn
from lrfinder.cli.arguments.options import Debug, Json, Quiet, UnusedSeed, WriteConfig
from lrfinder.cli.arguments.values import complete_target
from lrfinder.cli.commands import Group
from lrfinder.cli.schedules.schedule_explain import explain
from lrfinder.cli.schedules.schedule_files import lint, schema
from lrfinder.cli.schedules.schedule_import import import_schedule
from lrfinder.export import TARGETS

if TYPE_CHECKING:
    from lrfinder.config import ScheduleConfig

app = typer.Typer(
    name="schedule",
    cls=Group,
    help="Preview, list, convert and import schedules.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,  # the whole program's
)


@app.command()
def show(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG...", help="Schedule configs, drawn over each other.")
    ],
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw a picture, too, a name in .png.")
    ] = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Plot the learning rate over the run, f(t), and print it at the updates that matter.

    Examples: `lrfinder schedule show schedule.yaml`, `lrfinder schedule show half.yaml quarter.yaml --png both.png`.
    """
    del debug, seed
    from lrfinder.config import load_schedule

    loaded = [(str(path), load_schedule(path)) for path in configs]
    if png is not None:
        from lrfinder.engine.runtime.signals import Interrupts
        from lrfinder.files import write_named
        from lrfinder.paths import check_target

        check_target(png, read=configs, suffix=".png")
        with Interrupts():  # compiled modules are loaded: a signal under their C++ would abort the process
            from lrfinder.report.schedule_figure import schedule_png

            write_named(png, schedule_png(dict(loaded)))
    if as_json:
        from lrfinder.report.documents import rates_document

        print_json(rates_document(loaded))
    else:
        _print_schedules(dict(loaded), plot=not quiet)
        if png is not None:
            print_text("", f"Picture: {png}")


@app.command("list")
def list_schedules(
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the schedules, each with its parameters and when to use it; with --quiet, only their names."""
    del debug, seed
    if as_json:
        from lrfinder.report.documents import shapes_document

        print_json(shapes_document())
    elif quiet:
        from lrfinder.schedules import SCHEDULES

        print_text(*SCHEDULES)
    else:
        from lrfinder.report.schedule import shapes_table

        print_text(shapes_table())


def _list_targets(value: bool) -> None:
    if value:
        from lrfinder.export import EXPORTERS

        for name, exporter in EXPORTERS.items():
            print_line(f"{name:<12} {exporter.title}")
        raise typer.Exit


@app.command()
def export(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The schedule config.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            autocompletion=complete_target,
            help=f"Target: {', '.join(TARGETS)}, or one of a plug-in.",
        ),
    ],
    write: Annotated[Path | None, typer.Option("--write", help="The file to write. [default: standard output]")] = None,
    listing: Annotated[
        bool, typer.Option("--list", callback=_list_targets, is_eager=True, help="List the targets, and exit.")
    ] = False,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert a schedule config for another framework, equal to f(t) at every update of the run.

    The framework's own schedule is written only where it is exact (within 1e-9 of the peak, or 1e-6 if the framework
    computes in single precision); otherwise a function or a table, with a comment that says why.

    DeepSpeed, torchtune and axolotl: JSON or YAML if a schedule of their own is exact, else a Python file with a
    schedule that they can load.

    Examples: `lrfinder schedule export schedule.yaml --to torch`, `... --to csv --write rates.csv`.
    """
    del debug, seed, listing
    from lrfinder.config import load_schedule
    from lrfinder.export import export_schedule
    from lrfinder.files import write_named
    from lrfinder.paths import check_module, check_target

    if write is not None:
        check_target(write, read=[config])
    made = export_schedule(load_schedule(config), to)
    if write is not None:
        check_module(write, made.text)
    for sentence in made.left_out:
        warn(sentence)
    if write is not None:
        write_named(write, made.text.encode())
        suffix = ".yaml" if write.suffix == ".yml" else write.suffix
        if suffix not in {"", made.suffix}:
            warn(f"{write} holds what {made.suffix} files hold: name it {write.with_suffix(made.suffix).name}")
    if as_json:
        from lrfinder.report.documents import export_document

        print_json(export_document(made, target=to, written=_text_of(write)))
    elif write is None:
        print_line(made.text.removesuffix("\n"))
    elif not quiet:
        print_text(f"Written: {write}, {f'with its own {made.preset}' if made.preset else 'as a function or table'}.")


app.command("import")(import_schedule)
app.command()(explain)
app.command()(lint)
app.command()(schema)


@app.command()
def batches(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The config whose decay the growing batch replaces.")
    ],
    samples: Annotated[int, typer.Option("--samples", help="Samples of an epoch.")],
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="The batch size that the schedule's updates are counted in.")
    ],
    cap: Annotated[
        int | None,
        typer.Option("--cap", help="The largest batch; from there on the rate decays. [default: samples/10]"),
    ] = None,
    write: WriteConfig = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Grow the batch instead of decaying the rate: plan the batch size of every epoch for an equal noise scale.

    Smith et al., arXiv:1711.00489. The written config holds the plan; `load_schedule(...).batches(sampler)` gives a
    DataLoader its batches.

    Example: `lrfinder schedule batches step.yaml --samples 50000 --batch-size 128 --write growing.yaml`.
    """
    del debug, seed
    from lrfinder.config import dump, load_schedule
    from lrfinder.report.schedule import batches_table

    planned = load_schedule(config).with_batches(samples=samples, batch_size=batch_size, cap=cap)
    if write is not None:
        dump(planned, write)
    if as_json:
        from lrfinder.report.documents import batches_document

        print_json(batches_document(planned, written=_text_of(write)))
        return
    if not quiet:
        print_text(batches_table(planned), "")
    print_text(f"{planned.steps} updates instead of {planned.schedule.steps}, over the same samples.")
    if write is not None:
        print_text(f"Written: {write}.")


@app.command()
def refine(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The config that the recorded run was made with.")],
    log: Annotated[
        Path, typer.Option("--log", help="The gradient norms of the run: config.scheduler(optimizer, record=LOG).")
    ],
    norm: Annotated[
        str | None, typer.Option("--norm", help="l1 or l2. [default: l2 for SGD, l1 for everything else]")
    ] = None,
    smoothing: Annotated[float, typer.Option("--smoothing", help="Window of the median, as a share of the run.")] = 0.1,
    write: WriteConfig = None,
    seed: UnusedSeed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Refine a schedule by the gradient norms of a finished run (Defazio et al., arXiv:2310.07831).

    The log must be of one complete run of the config. The result is a `table`; tune its peak again.

    Example: `lrfinder schedule refine schedule.yaml --log norms.csv --write refined.yaml`.
    """
    del debug, seed
    from lrfinder.config import dump, load_schedule
    from lrfinder.config.refine import refine as refined_by
    from lrfinder.gradient_norms.log import read_norms

    before = load_schedule(config)
    refined = refined_by(before, read_norms(log), norm=norm, smoothing=smoothing)  # type: ignore[arg-type]
    for sentence in refined.left_out:
        warn(sentence)
    if write is not None:
        dump(refined.config, write)
    if as_json:
        from lrfinder.report.documents import refine_document

        print_json(refine_document(refined, written=_text_of(write)))
        return
    _print_schedules({str(config): before, str(write or "refined"): refined.config}, plot=not quiet)
    unknown = f", {refined.missing} of them unknown" if refined.missing else ""
    print_text(
        "",
        f"Refined by the {refined.norm} norms of {before.steps} updates{unknown}. Tune its peak again: the rate was",
    )
    print_text("found for another shape.", *([f"Written: {write}."] if write is not None else []))


def _text_of(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _print_schedules(configs: dict[str, ScheduleConfig], *, plot: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from lrfinder.report.schedule import schedule_legend, schedule_plot, schedule_table

    if plot:
        console = Console()
        color = console.color_system is not None and not console.no_color
        drawing = schedule_plot(list(configs.values()), width=console.width, color=color, ascii_only=not can_draw())
        print_text(Text.from_ansi(drawing), schedule_legend(configs, color=color, ascii_only=not can_draw()), "")
    print_text(schedule_table(configs))
