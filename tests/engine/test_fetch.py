"""Batches that never come and workers that die: real processes, real signals, real timers."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from helpers.problems import CPU, regression
from lrfinder.engine.data.fetch import Fetch, endless
from lrfinder.engine.runtime import timeout
from lrfinder.engine.runtime.timeout import CallTimeout, TimedOut
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, RunPlan, Stop, SweepSettings
from lrfinder.task.problem import Problem

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals between processes, and timers")
INPUTS = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
BATCH = (INPUTS[:8], INPUTS[:8].sum(1, keepdim=True))
TIMEOUT = 0.3
SETTINGS = SweepSettings(steps=20, repeats=1, min_lr=1e-4, max_lr=1e-2)


def problem(loader, **changes) -> Problem:
    return regression(**({"train_loader": loader, "loader_timeout": TIMEOUT} | changes))


def hangs_at(number: int):
    def batches():
        for _ in range(number):
            yield BATCH
        time.sleep(60)

    return batches


class Slow(Dataset):
    """Sample 40 takes a minute."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index):
        if index == 40:
            time.sleep(60)
        return INPUTS[index], INPUTS[index].sum(0, keepdim=True)


LOADERS = {
    "a generator": hangs_at(5),
    "no workers": lambda: DataLoader(Slow(), batch_size=8),
    "workers": lambda: DataLoader(Slow(), batch_size=8, num_workers=1),
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_a_batch_that_does_not_come_is_named_and_no_worker_is_left(recorder, loader) -> None:
    observer = recorder()
    before = time.monotonic()
    with pytest.raises(EnvironmentFailure, match=r"batch 5 of train_loader took longer than 0.3 s") as raised:
        run_sweep(problem(loader), SETTINGS, device=CPU, observer=observer)
    assert time.monotonic() - before < 15
    assert "--loader-timeout" in raised.value.hint
    assert observer.traces[0].stop is Stop.FAILED
    assert len(observer.traces[0].losses) == 4
    assert multiprocessing.active_children() == []


def test_a_short_run_and_a_val_loader_are_watched_too(recorder) -> None:
    observer = recorder()
    observer.run_started = observer.run_ended = lambda _: None
    observer.run_updated = lambda *_: None
    with (
        ShortRuns(problem(hangs_at(9)), seed=0, device=CPU, observer=observer) as runs,
        pytest.raises(EnvironmentFailure, match="batch 9 of train_loader took longer"),
    ):
        runs.run(RunPlan(lr=1e-3, steps=20))
    with pytest.raises(EnvironmentFailure, match="batch 3 of val_loader took longer"):
        run_sweep(
            problem([BATCH], val_loader=hangs_at(3)),
            SweepSettings(steps=3, metric=Metric.VAL),
            device=CPU,
            observer=recorder(),
        )


def test_a_data_set_that_skips_whatever_goes_wrong_can_t_swallow_it() -> None:
    def batches():
        while True:
            try:
                time.sleep(60)
            except Exception:  # noqa: S112, BLE001 - as data sets do
                continue
            yield BATCH

    with Fetch("train_loader", 0.05) as fetch, pytest.raises(EnvironmentFailure, match=r"longer than 0\.25 s"):
        next(endless(batches(), first_epoch=0, where="model.py", fetch=fetch))


def test_the_first_batch_of_a_pass_may_take_longer() -> None:
    def batches():
        time.sleep(2 * TIMEOUT)
        yield BATCH
        time.sleep(2 * TIMEOUT)
        yield BATCH

    made = endless(batches(), first_epoch=0, where="model.py", fetch=Fetch("train_loader", TIMEOUT))
    assert next(made) is BATCH
    with pytest.raises(EnvironmentFailure, match=r"batch 1 of train_loader took longer than 0\.3 s"):
        next(made)


def test_zero_waits() -> None:
    def batches():
        time.sleep(0.2)
        yield BATCH

    with Fetch("train_loader", 0.0) as fetch:
        assert signal.getsignal(signal.SIGALRM) is not fetch
        assert next(endless(batches(), first_epoch=0, where="model.py", fetch=fetch)) is BATCH


def test_outside_the_main_thread_a_loader_with_workers_is_given_up_on_by_its_own_timeout(recorder) -> None:
    loader = DataLoader(Slow(), batch_size=8, num_workers=1)
    raised: list[Exception] = []

    def sweep() -> None:
        try:
            run_sweep(problem(loader), SETTINGS, device=CPU, observer=recorder())
        except EnvironmentFailure as error:
            raised.append(error)

    thread = threading.Thread(target=sweep)
    thread.start()
    thread.join(30)
    assert "timed out after 1.5 seconds when batch 5 was due" in str(raised[0])
    assert loader.timeout == 0
    assert multiprocessing.active_children() == []


def test_somebody_else_s_timer_and_handler_go_on() -> None:
    rung: list[float] = []
    before = signal.getsignal(signal.SIGALRM)
    outer = signal.setitimer(signal.ITIMER_REAL, 0)  # the test runner's own
    own = lambda *_: rung.append(time.monotonic())  # noqa: E731
    signal.signal(signal.SIGALRM, own)
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with CallTimeout() as alarm:
            for _ in range(40):
                alarm.within(0.1 if rung else 5.0, lambda: time.sleep(0.01))
            assert len(rung) == 1
            assert rung[0] - began == pytest.approx(0.2, abs=0.1)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            alarm.within(0.2, lambda: time.sleep(0.1))  # theirs is due first: it rings, and the call goes on
            assert len(rung) == 2
            signal.setitimer(signal.ITIMER_REAL, 30, 7)
            with pytest.raises(TimedOut):
                alarm.within(0.05, lambda: time.sleep(5))
            left, interval = signal.getitimer(signal.ITIMER_REAL)
            assert 29 < left < 30
            assert interval == 7
        assert signal.getsignal(signal.SIGALRM) is own
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_nothing_of_it_is_left_after_a_sweep(recorder) -> None:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    run_sweep(problem([BATCH], loader_timeout=120.0), SETTINGS, device=CPU, observer=recorder())
    assert signal.getsignal(signal.SIGALRM) is handler
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert interval == timer[1]
    assert timer[0] - 5 < left <= timer[0]


KILLS = 10


# torch's loader opens temporary files to see whether any are left, and the death interrupts that at times.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
# And torch's own handler of a child's death raises wherever Python is, at times where exceptions are dropped.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_is_one_error_with_batch_and_process_at_whatever_moment_it_dies(recorder) -> None:
    data = TensorDataset(INPUTS, INPUTS.sum(1, keepdim=True))
    chance = random.Random(0)  # noqa: S311 - moments, not secrets
    for kill in range(KILLS):
        at, wait = chance.randrange(1, 30), chance.random() * 0.003
        killed: list[int] = []
        steps: list[int] = []

        def step(model, batch, at=at, wait=wait, killed=killed, steps=steps):
            steps.append(1)
            if len(steps) == at:
                victim = chance.choice(multiprocessing.active_children())
                killed.append(victim.pid)  # first: torch's handler may raise from within `os.kill`
                os.kill(victim.pid, signal.SIGKILL)
                time.sleep(wait)
            return model(batch[0]).square().mean()

        loader = DataLoader(data, batch_size=2, num_workers=2, persistent_workers=kill % 2 == 0)
        observer = recorder()
        settings = SweepSettings(steps=400, repeats=1, min_lr=1e-6, max_lr=1e-5)
        with pytest.raises(EnvironmentFailure) as raised:
            run_sweep(problem(loader, loss_fn=None, training_step=step), settings, device=CPU, observer=observer)
        told = re.fullmatch(r"a DataLoader worker died when batch (\d+) was due \(pid (\d+).*\)", str(raised.value))
        assert told, str(raised.value)
        assert int(told[2]) == killed[0]
        assert at <= int(told[1]) <= at + 32
        del raised
        gc.collect()
        assert observer.traces[0].stop is Stop.FAILED
        assert multiprocessing.active_children() == []


def test_a_death_that_torch_s_own_handler_did_not_tell_is_told_instead_of_a_late_batch() -> None:
    """That handler raises wherever Python is, also where exceptions are dropped: here it never raises."""
    data = TensorDataset(INPUTS, INPUTS.sum(1, keepdim=True))
    batches = endless(DataLoader(data, batch_size=2, num_workers=1), first_epoch=0, where="m", fetch=Fetch("l", 0.5))
    next(batches)
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        (worker,) = multiprocessing.active_children()
        worker.kill()
        with pytest.raises(EnvironmentFailure, match=rf"died when batch \d+ was due \(pid {worker.pid}, SIGKILL\)"):
            list(batches)
    finally:
        signal.signal(signal.SIGCHLD, handler)
    assert multiprocessing.active_children() == []


@pytest.fixture
def timer():
    """The timer is the test's, and the test runner's own goes on after it."""
    outer, handler = signal.setitimer(signal.ITIMER_REAL, 0), signal.getsignal(signal.SIGALRM)
    yield lambda *seconds: signal.setitimer(signal.ITIMER_REAL, *seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *outer)


def test_a_timer_far_off_goes_on_with_its_interval(timer) -> None:
    timer(30, 7)
    with CallTimeout() as alarm:
        assert alarm.within(5.0, lambda: "made") == "made"
        with pytest.raises(TimedOut):
            alarm.within(0.02, time.sleep, 5)
        assert alarm.within(60.0, lambda: "made") == "made"  # theirs is due before the limit
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 29 < left < 30
    assert interval == 7


def test_a_timer_that_is_due_first_rings_with_its_own_handler(timer) -> None:
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    with CallTimeout() as alarm:
        timer(0.02)
        alarm.within(5.0, time.sleep, 0.05)
    assert rung == [signal.SIGALRM]


class StruckError(Exception):
    """What a signal's handler raises."""


class Striking:
    """A module or an object whose functions raise once they have done their work, when the countdown is at its end.

    Python runs handlers of signals where a call ends.
    """

    def __init__(self, real: object, countdown: list[int]) -> None:
        self._real = real
        self._countdown = countdown

    def __getattr__(self, name: str):
        value = getattr(self._real, name)
        if not callable(value):
            return value

        def call(*arguments):
            result = value(*arguments)
            self._countdown[0] -= 1
            if not self._countdown[0]:
                raise StruckError
            return result

        return call


@pytest.mark.parametrize("theirs", [(30.0, 7.0), (0.0, 0.0)], ids=["a timer of theirs", "none"])
def test_the_user_s_timer_outlives_an_exception_at_whatever_moment(timer, monkeypatch, theirs) -> None:
    """torch's handler of a worker's death raises wherever Python looks for signals: each place is tried."""
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    for number in itertools.count(1):
        timer(*theirs)
        countdown = [number]
        with CallTimeout() as alarm:
            with monkeypatch.context() as patch:
                patch.setattr(timeout, "signal", Striking(signal, countdown))
                patch.setattr(timeout, "time", Striking(time, countdown))
                patch.setattr(alarm, "_give_back", Striking(alarm, countdown)._give_back)
                with contextlib.suppress(StruckError):
                    alarm.within(0.02, Striking(random, countdown).random)
            time.sleep(0.03)  # a limit that is left behind rings
            assert alarm.within(5.0, int) == 0
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert theirs[0] - 1 < left <= theirs[0], number
        assert interval == theirs[1]
        if countdown[0] > 0:
            break
    assert number > 5  # `within` calls as many: two clocks, two timers, what it is for
    assert rung == []


def test_a_timer_that_nobody_handles_still_ends_the_process(timer) -> None:
    def wait() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        with CallTimeout() as alarm:
            timer(0.01)
            alarm.within(5.0, time.sleep, 1)

    process = multiprocessing.get_context("fork").Process(target=wait)
    process.start()
    process.join(10)
    assert process.exitcode == -signal.SIGALRM


class Opening:
    """A loader whose files take a while to open."""

    def __iter__(self):
        time.sleep(60)


def test_what_is_said_of_a_batch_that_does_not_come(timer) -> None:
    def batches():
        yield BATCH
        time.sleep(60)

    told = []
    with Fetch("val_loader", 0.02) as fetch:
        iterator = fetch.start(batches())
        assert fetch.next(iterator, first=True) is BATCH
        with pytest.raises(EnvironmentFailure) as raised:
            fetch.next(iterator, first=False)
        told.append(raised.value)
    with Fetch("train_loader", 0.02) as fetch, pytest.raises(EnvironmentFailure) as raised:
        fetch.start(Opening())
    told.append(raised.value)
    assert [str(error) for error in told] == [
        "batch 1 of val_loader took longer than 0.02 s",
        "batch 0 of train_loader took longer than 0.1 s",  # the first one may take five times as long
    ]
    hint = (
        "if batches are that slow, raise --loader-timeout (0 waits forever); else look for a lock, a network or a "
        "full pipe in the data set: with num_workers=0, Ctrl-C shows the line that waits"
    )
    assert [error.hint for error in told] == [hint, hint]


class Seen:
    """A loader with these attributes, which notes the time limit that its iterator takes over."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)
        self.seen: list[object] = []

    def __iter__(self):
        self.seen.append(getattr(self, "timeout", None))
        return iter(())


@pytest.mark.parametrize(
    ("attributes", "seconds", "taken_over"),
    [
        ({"num_workers": 2, "timeout": 0}, 0.2, 1.0),
        ({"num_workers": 2, "timeout": 0}, 0.0, 0),
        ({"num_workers": 2, "timeout": 3}, 0.2, 3),  # the user's own counts
        ({"num_workers": 0, "timeout": 0}, 0.2, 0),  # torch refuses a limit without workers
        ({"num_workers": "many", "timeout": 0}, 0.2, 0),  # no loader of torch
        ({"timeout": 0}, 0.2, 0),
        ({"num_workers": 2}, 0.2, None),
    ],
)
def test_which_loaders_watch_themselves_outside_the_main_thread(attributes, seconds, taken_over) -> None:
    loader = Seen(**attributes)

    def start() -> None:
        with Fetch("train_loader", seconds) as fetch:
            fetch.start(loader)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert loader.seen == [taken_over]
    assert {name: value for name, value in vars(loader).items() if name != "seen"} == attributes
    start()  # in the main thread a timer does it
    assert loader.seen[1:] == [attributes.get("timeout")]
