from __future__ import annotations

import io
import math
import os
import select
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from lrfinder.records import Inspection, Mode, Point, RunPlan, ShortRun, Stop, SweepSettings, Trace
from lrfinder.report.live import HEIGHT, TerminalView
from lrfinder.report.progress import SweepProgress

SETTINGS = SweepSettings(min_lr=1e-4, max_lr=1.0, steps=500, repeats=2, mode=Mode.CONTINUOUS)


class CountingFile(io.StringIO):
    """A file that counts how often it is written to."""

    writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


class Clock:
    """A clock that moves by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(file: io.StringIO, *, width: int = 80) -> Console:
    return Console(file=file, force_terminal=True, width=width, color_system=None, legacy_windows=False)


def trace(repeat: int, losses: tuple[float, ...], stop: Stop = Stop.COMPLETED, why: str = "") -> Trace:
    lrs = SETTINGS.lrs()[: len(losses)]
    return Trace(
        repeat=repeat, seed=0, initial_loss=2.3, lrs=lrs, losses=losses, stop=stop, updates=len(losses), why=why
    )


def measure(progress: SweepProgress, clock: Clock, *, repeat: int, losses: tuple[float, ...], seconds: float) -> None:
    """Feed `losses`, each `seconds` after the one before."""
    for step, (lr, loss) in enumerate(zip(SETTINGS.lrs(), losses, strict=False)):
        clock.now += seconds
        progress.measured(Point(repeat=repeat, step=step, lr=lr, loss=loss))


def test_on_a_terminal_it_draws_at_most_four_times_a_second() -> None:
    file, clock = CountingFile(), Clock()
    with SweepProgress(SETTINGS, console=terminal(file), clock=clock) as progress:
        progress.repeat_started(0)
        before = file.writes
        measure(progress, clock, repeat=0, losses=(2.0,) * 500, seconds=0.01)  # five seconds
        drawn = file.writes - before
    assert 15 <= drawn <= 20


def test_updates_faster_than_the_clock_touch_the_console_never() -> None:
    file, clock = CountingFile(), Clock()
    with SweepProgress(SETTINGS, console=terminal(file), clock=clock) as progress:
        progress.repeat_started(0)
        before = file.writes
        measure(progress, clock, repeat=0, losses=(2.0,) * 500, seconds=0.0)
        assert file.writes == before


def shown(file: io.StringIO, width: int = 80, height: int = 40) -> list[str]:
    """Return what a terminal shows after all that was written to it, by a terminal emulator's reading of it."""
    import pyte

    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display]


def test_the_curve_grows_above_one_bar_for_the_whole_in_eighty_columns() -> None:
    file, clock = io.StringIO(), Clock()
    with SweepProgress(SETTINGS, console=terminal(file), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0, 1.9, 1.8), seconds=1.0)
        progress.repeat_ended(trace(0, (2.0, 1.9, 1.8)))
        progress.repeat_started(1)
        measure(progress, clock, repeat=1, losses=(2.0, 1.25, 1.5), seconds=1.0)
        lines = [line for line in shown(file) if line]
    # 503 updates in all, since the first repeat ended early; six in six seconds
    assert lines[-1].startswith("repeat 2 of 2 ")
    assert lines[-1].endswith(" 6/503 rate 1.04e-04 loss 1.5 best 1.25 8 min 17 s left")
    assert lines[-2] == "⠤ loss  · repeats before"
    assert len(lines) == HEIGHT + 1
    assert any("\u2800" < character <= "\u28ff" for character in "".join(lines[:-3]))
    assert [line for line in shown(file) if line] == []  # nothing of it stays


def test_trial_runs_are_drawn_and_count_into_the_bar() -> None:
    file, clock = io.StringIO(), Clock()
    settings = replace(SETTINGS, mode=Mode.AUTO, steps=10, repeats=1, run_steps=20)
    with SweepProgress(settings, console=terminal(file), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 10, seconds=1.0)
        progress.repeat_ended(trace(0, (2.0,) * 10))
        for number, lr in enumerate((0.01, 0.1, 0.03, 0.02)):
            plan = RunPlan(lr=lr, steps=20)
            progress.run_started(plan)
            clock.now += 1.0
            progress.run_updated(plan, 5, 1.5)
            bar = next(line for line in reversed(shown(file)) if line)
            assert bar.startswith(f"trial run {number + 1} ")
            assert f" {15 + 20 * number}/{max(70, 30 + 20 * number)} rate {lr:g} loss 1.5 " in bar
            progress.run_ended(
                ShortRun(plan=plan, seed=0, metric="val", initial_loss=2.0, loss=1.0, stop=Stop.COMPLETED, updates=20)
            )
        assert sum(line.count("◆") for line in shown(file)) == 3 + 1  # in the plot, and in its key


@pytest.mark.parametrize(("width", "height"), [(39, 40), (80, 15)])
def test_on_a_small_terminal_there_is_the_bar_alone(width: int, height: int) -> None:
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    with SweepProgress(SETTINGS, console=console, clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 9, seconds=1.0)
        assert len([line for line in shown(file, width, height) if line]) == 1


def test_drawing_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    file, clock = CountingFile(), Clock()
    draw = TerminalView.draw

    def slow(*arguments: Any) -> None:
        clock.now += 0.03  # as on a slow connection
        draw(*arguments)

    monkeypatch.setattr(TerminalView, "draw", slow)
    with SweepProgress(SETTINGS, console=terminal(file), clock=clock) as progress:
        progress.repeat_started(0)
        before = file.writes
        measure(progress, clock, repeat=0, losses=(2.0,) * 500, seconds=0.02)
        assert 8 <= file.writes - before <= 12  # ten seconds, one drawing each


def test_time_left_does_not_count_what_an_early_stop_saves() -> None:
    file, clock = io.StringIO(), Clock()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 100, seconds=0.1)
        progress.repeat_ended(trace(0, (2.0,) * 100, Stop.DIVERGED))
        progress.repeat_started(1)
        measure(progress, clock, repeat=1, losses=(2.0,), seconds=30.2)
    # a hundred updates in 40.1 s after the first one, 499 more to go
    assert "update 1 of 500, rate 1e-04 loss 2 best 2, 3 min 20 s left" in file.getvalue()


def test_the_short_sweeps_of_a_long_one_are_counted_from_the_beginning() -> None:
    settings, file, clock = replace(SETTINGS, mode=Mode.AUTO), io.StringIO(), Clock()
    short = settings.short()
    assert short is not None
    with SweepProgress(settings, console=Console(file=file, width=100), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 500, seconds=36.0)
        progress.repeat_ended(trace(0, (2.0,) * 500))
        progress.short_sweeps_started(short)
        progress.repeat_started(0)
        clock.now += 36.0
        progress.measured(Point(repeat=0, step=0, lr=1e-4, loss=1.5))
    log = file.getvalue()  # 36 s an update, a hundred an hour, of 2 x 500 + 2 x 50, and 3 trial runs of 75
    assert "repeat 1 of 2: update 2 of 500, rate 1.02e-04 loss 2 best 2, 13 h 14 min left" in log
    assert "short sweep 1 of 2: 50 updates, rates 1e-04 to 1" in log
    assert "short sweep 1 of 2: update 1 of 50, rate 1e-04 loss 1.5 best 1.5, 8 h 14 min left" in log


def test_the_best_loss_is_of_this_repeat_and_never_nan() -> None:
    file, clock = io.StringIO(), Clock()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(-5.0,), seconds=0.0)
        progress.repeat_ended(trace(0, (-5.0,), Stop.INTERRUPTED))
        progress.repeat_started(1)
        measure(progress, clock, repeat=1, losses=(math.nan, 3.0, -math.inf), seconds=0.0)
        progress.repeat_ended(trace(1, (math.nan, 3.0, -math.inf), Stop.NON_FINITE))
    lines = file.getvalue().splitlines()
    assert "lowest loss -5 at rate 1e-04; stopped at rate 1e-04: it was interrupted" in lines[1]
    assert "lowest loss 3 at rate 1.02e-04; stopped at rate 1.04e-04: the loss was not finite" in lines[3]


def test_off_a_terminal_it_writes_two_plain_lines_a_repeat_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # CI systems set it; it must not start an animation
    clock = Clock()
    with SweepProgress(SETTINGS, clock=clock) as progress:
        for repeat in range(2):
            progress.repeat_started(repeat)
            measure(progress, clock, repeat=repeat, losses=(2.0, 1.0, 9.0), seconds=1.0)
            ended = trace(repeat, (2.0, 1.0, 9.0), Stop.DIVERGED, why="the loss rose to 4 times where it began")
            progress.repeat_ended(ended)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err
    facts = "3 of 500 updates in 3.0 s, lowest loss 1 at rate 1.02e-04"
    end = f"{facts}; stopped at rate 1.04e-04: the loss rose to 4 times where it began"
    begin = "500 updates, rates 1e-04 to 1"
    expected = [f"repeat {k} of 2: {line}" for k in (1, 2) for line in (begin, end)]
    expected.insert(3, "about 8 min 18 s for the other 498 updates")
    assert captured.err.splitlines() == expected


def test_a_slow_sweep_off_a_terminal_shows_a_sign_of_life_every_half_minute() -> None:
    file, clock = io.StringIO(), Clock()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=clock) as progress:
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 120, seconds=1.0)  # two minutes
    assert len(file.getvalue().splitlines()) == 1 + 1 + 4
    assert file.getvalue().splitlines()[1] == "about 16 min 35 s for the other 995 updates"


def test_what_is_swept_is_said_with_the_choices_made(digits: Any) -> None:
    file = io.StringIO()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=Clock()) as progress:
        progress.prepared(digits.result.setup)
    lines = file.getvalue().splitlines()
    assert len(lines) == 1
    for fact in ("digits_mlp", "cpu", "loss_fn CrossEntropyLoss", "AdamW"):
        assert fact in lines[0]


def test_the_first_batch_is_told() -> None:
    file = io.StringIO()
    inspection = Inspection(
        shapes=("32 x 8 float32", "32 int64"), groups=((640, 1.0), (10, 0.1)), memory=(16 * 2**30, 4 * 2**30),
        kind="cross-entropy", loss=2.4321, constant=2.3026,
    )  # fmt: skip
    with SweepProgress(SETTINGS, console=Console(file=file), clock=Clock()) as progress:
        progress.inspected(inspection)
    assert file.getvalue() == (
        "batch: 32 x 8 float32, 32 int64; its cross-entropy 2.432, and 2.303 for a constant prediction; "
        "2 param groups: parameters 640 at 1, 10 at 0.1 times the rate; 4.0 GiB of 16.0 GiB of memory free\n"
    )


def test_of_a_resumed_sweep_what_was_made_before_is_not_still_to_come() -> None:
    """Both repeats and two trial runs are kept: 20 updates are left, of which ten took ten seconds."""
    file, clock = io.StringIO(), Clock()
    settings = replace(SETTINGS, mode=Mode.AUTO, steps=80, run_steps=20)
    plan = RunPlan(lr=0.1, steps=20)
    made = ShortRun(plan=plan, seed=0, metric="val", initial_loss=2.0, loss=1.0, stop=Stop.COMPLETED, updates=20)
    with SweepProgress(settings, console=terminal(file), clock=clock) as progress:
        progress.resumed((trace(0, (2.0,) * 80), trace(1, (2.0,) * 50, Stop.DIVERGED)), (), (made, made))
        progress.run_started(plan)
        for update in range(1, 12):
            progress.run_updated(plan, update, 1.0)
            clock.now += 1.0
        clock.now -= 1.0
        line = [line for line in shown(file) if line][-1]
    assert line.startswith("trial run 3 ")
    assert line.endswith(" 11/20 rate 0.1 loss 1 9.0 s left")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], digits: Any) -> None:
    file, clock = io.StringIO(), Clock()
    with SweepProgress(SETTINGS, quiet=True, console=terminal(file), clock=clock) as progress:
        progress.prepared(digits.result.setup)
        progress.repeat_started(0)
        measure(progress, clock, repeat=0, losses=(2.0,) * 100, seconds=60.0)
        progress.repeat_ended(trace(0, (2.0,) * 100))
    assert (file.getvalue(), *capsys.readouterr()) == ("", "", "")


def test_a_repeat_that_measured_nothing_ends_with_its_reason() -> None:
    file = io.StringIO()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=Clock()) as progress:
        progress.repeat_started(0)
        progress.repeat_ended(replace(trace(0, ()), stop=Stop.FAILED))
    assert file.getvalue().splitlines()[-1] == "repeat 1 of 2: 0 of 500 updates; it failed"


def test_an_exception_passes_through_and_gives_the_cursor_back() -> None:
    file = io.StringIO()

    def broken() -> None:
        with SweepProgress(SETTINGS, console=terminal(file), clock=Clock()) as progress:
            progress.repeat_started(0)
            raise KeyError("from the model")

    with pytest.raises(KeyError, match="from the model"):
        broken()
    assert file.getvalue().rindex("\x1b[?25h") > file.getvalue().rindex("\x1b[?25l")


SCRIPT = """
import time
from lrfinder.records import Inspection, Point, RunPlan, ShortRun, Stop, SweepSettings, Trace
from lrfinder.report.progress import SweepProgress
settings = SweepSettings(steps=30, repeats=1)
with SweepProgress(settings) as progress:
    progress.repeat_started(0)
    for step, lr in enumerate(settings.lrs()):
        time.sleep(0.02)
        progress.measured(Point(repeat=0, step=step, lr=lr, loss=1.0))
    print("from the user's code")
    progress.repeat_ended(Trace(repeat=0, seed=0, initial_loss=2.0, lrs=settings.lrs(), losses=(1.0,) * 30,
                                stop=Stop.COMPLETED, updates=30))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a POSIX thing")
def test_on_a_real_terminal_it_animates_stderr_and_leaves_stdout_alone() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "NO_COLOR", "CI"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80"}
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux reports a terminal whose other end is closed so
            break
        if not block:
            break
        shown += block
    out, _ = child.communicate(timeout=30)
    os.close(ours)
    assert child.returncode == 0
    assert out.decode().strip() == "from the user's code"
    text = shown.decode()
    assert text.index("\x1b[?25l") < text.index("/255") < text.rindex("\x1b[?25h")  # 30, and 3 trial runs of 75
    assert " rate " in text  # which ones are drawn depends on the time that drawing takes


def test_updates_that_the_loss_scaler_skipped_are_told() -> None:
    file = io.StringIO()
    with SweepProgress(SETTINGS, console=Console(file=file), clock=Clock()) as progress:
        progress.repeat_started(0)
        progress.repeat_ended(replace(trace(0, (2.0,) * 500), skipped=3))
        progress.repeat_started(1)
        progress.repeat_ended(trace(1, (2.0,) * 500))
        plan = RunPlan(lr=0.1, steps=50)
        progress.run_started(plan)
        made = ShortRun(
            plan=plan, seed=0, metric="val", initial_loss=2.0, loss=1.0, stop=Stop.COMPLETED, updates=50, skipped=2
        )
        progress.run_ended(made)
    lines = file.getvalue().splitlines()
    assert "repeat 1 of 2: 500 of 500 updates, 3 skipped by the loss scaler; completed" in lines
    assert "skipped" not in lines[3]
    assert lines[-1] == "trial run 1: rate 0.1, 50 updates, 2 skipped by the loss scaler, validation loss 1"
