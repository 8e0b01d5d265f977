"""Ctrl-C and SIGTERM, in this process and in real ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import textwrap
import threading
import time

import pytest
import torch
from torch import nn

from helpers.problems import CPU
from lrfinder.engine.runtime.signals import (
    Interrupts,
    Terminated,
    ended_in_order,
    ignore_signals,
    signals_as_exceptions,
)
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import RunPlan, Stop, SweepSettings
from lrfinder.task.problem import Problem

SENT = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has two


@pytest.fixture(autouse=True)
def handlers_come_back():
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_as_exceptions():
    with pytest.raises(Terminated), signals_as_exceptions():
        signal.raise_signal(signal.SIGTERM)
    assert not issubclass(Terminated, Exception)


@pytest.mark.parametrize(("sent", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_what_compiled_code_turned_a_signal_into_is_told_from_an_error(sent, kind):
    with signals_as_exceptions() as received:
        error = ValueError("nothing was received")
        assert received.behind(error) is error
        with pytest.raises(kind) as raised:
            signal.raise_signal(sent)
        assert received.behind(error) is raised.value


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("answered", [True, False])
def test_what_would_end_the_process_at_once_ends_it_in_order(tmp_path, answered):
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Terminated) if answered else contextlib.nullcontext(), ended_in_order():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                (tmp_path / "put back").touch()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert (tmp_path / "put back").exists()


def test_handlers_of_the_user_stay_where_the_end_is_put_in_order():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGTERM)
        with ended_in_order():
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_shell_s_background_job_stays_deaf_to_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_as_exceptions():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_as_exceptions_does_nothing_in_another_thread():
    seen = []

    def run():
        with signals_as_exceptions():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_signal_waits_until_it_is_allowed():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.pending == signal.SIGINT
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            raise AssertionError("acts at once")
        interrupts.answered()


def test_a_second_signal_never_cuts_the_way_out_short():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            signal.raise_signal(signal.SIGINT)
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        interrupts.answered()


def test_nothing_is_cut_short_between_the_first_signal_and_the_end_of_the_allowed_part():
    with Interrupts() as interrupts:
        with interrupts.allowed():
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # say, while an iterator is closed on the way out
        interrupts.answered()


def test_a_signal_in_a_held_part_acts_at_its_end():
    done = []

    def hold(interrupts):
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            done.append("written")
        done.append("never")

    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            hold(interrupts)
        interrupts.answered()
    assert done == ["written"]


def test_an_unanswered_signal_acts_at_the_end():
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)


def test_an_error_on_its_way_is_not_replaced():
    def fail():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), Interrupts():
        fail()


def test_a_handler_that_raises_nothing_is_called_and_stops_nothing():
    notes = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: notes.append(signum))
    try:
        with Interrupts() as interrupts, interrupts.allowed():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert interrupts.pending is None
    finally:
        signal.signal(signal.SIGTERM, before)
    assert notes == [signal.SIGTERM] * 2


def problem_that(does, at=5):
    calls = [0]

    def step(model, batch):
        calls[0] += 1
        if calls[0] == at:
            does()
        return model(batch).square().mean()

    return Problem(name="p", model=nn.Linear(2, 1), train_loader=[torch.ones(4, 2)], training_step=step)


SETTINGS = SweepSettings(steps=20, repeats=3, min_lr=1e-4, max_lr=1e-2)


def test_ctrl_c_ends_the_repeat_and_the_sweep(recorder):
    observer = recorder()
    traces = run_sweep(
        problem_that(lambda: signal.raise_signal(signal.SIGINT)), SETTINGS, device=CPU, observer=observer
    )
    assert [(trace.stop, trace.updates, len(trace.losses)) for trace in traces] == [(Stop.INTERRUPTED, 4, 3)]
    assert traces[0].why == "4 of 20 updates made"
    assert tuple(observer.traces) == traces


def test_sigterm(recorder):
    with signals_as_exceptions():
        traces = run_sweep(
            problem_that(lambda: signal.raise_signal(signal.SIGTERM)), SETTINGS, device=CPU, observer=recorder()
        )
    assert [trace.stop for trace in traces] == [Stop.TERMINATED]


def test_user_code_that_swallows_ctrl_c_is_left_at_the_next_point(recorder):
    def swallow():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    traces = run_sweep(problem_that(swallow), SETTINGS, device=CPU, observer=recorder())
    assert [(trace.stop, len(trace.losses)) for trace in traces] == [(Stop.INTERRUPTED, 4)]


@pytest.mark.parametrize("during", ["repeat_started", "prepared", "measured", "repeat_ended"])
def test_the_observer_is_never_cut_short(recorder, during):
    finished = []

    class Slow(recorder):
        pass

    def interrupted(self, value):
        if not finished:
            signal.raise_signal(signal.SIGINT)
        getattr(recorder, during)(self, value)
        finished.append(value)

    setattr(Slow, during, interrupted)
    observer = Slow()
    problem = problem_that(lambda: None)
    model = problem.model
    weights = model.weight.detach().clone()
    traces = run_sweep(problem, SETTINGS, device=CPU, observer=observer)
    assert finished
    assert traces[-1].stop is Stop.INTERRUPTED
    assert len(traces) == (2 if during == "repeat_ended" else 1)
    assert torch.equal(model.weight, weights)


def test_more_signals_while_everything_is_restored(recorder):
    class Impatient(recorder):
        def repeat_ended(self, trace):
            super().repeat_ended(trace)
            signal.raise_signal(signal.SIGINT)

    problem = problem_that(lambda: signal.raise_signal(signal.SIGINT))
    weights = problem.model.weight.detach().clone()
    traces = run_sweep(problem, SETTINGS, device=CPU, observer=Impatient())
    assert [trace.stop for trace in traces] == [Stop.INTERRUPTED]
    assert torch.equal(problem.model.weight, weights)


def test_works_outside_the_main_thread(recorder):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run_sweep(problem_that(lambda: None), SETTINGS, device=CPU, observer=recorder()))
    )
    thread.start()
    thread.join()
    assert [trace.stop for trace in results[0]] == [Stop.COMPLETED] * 3


SCRIPT = """
    import json, signal, sys, time, torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from lrfinder.engine.runtime.signals import signals_as_exceptions
    from lrfinder.engine.sweep import run_sweep
    from lrfinder.records import SweepSettings
    from lrfinder.task.problem import Problem

    class Loud:
        def repeat_started(self, repeat): pass
        def prepared(self, setup): pass
        def inspected(self, inspection): pass
        def measured(self, point):
            if point.step == 5:
                print("measuring", flush=True)
        def repeat_ended(self, trace): pass

    def step(model, batch):
        time.sleep(0.01)
        return model(batch[0]).square().mean()

    if __name__ == "__main__":
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(model.parameters())
        loader = DataLoader(TensorDataset(torch.randn(64, 2)), batch_size=4, num_workers=int(sys.argv[1]))
        before = [model.weight.tolist(), model.bias.tolist(), torch.get_rng_state().sum().item()]
        problem = Problem(name="p", model=model, optimizer=optimizer, train_loader=loader, training_step=step)
        settings = SweepSettings(steps=100000, repeats=2, min_lr=1e-4, max_lr=1e-3)
        with signals_as_exceptions():
            traces = run_sweep(problem, settings, device=torch.device("cpu"), observer=Loud())
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        after = [model.weight.tolist(), model.bias.tolist(), torch.get_rng_state().sum().item()]
        print(json.dumps({
            "stops": [trace.stop for trace in traces],
            "updates": traces[-1].updates,
            "losses": len(traces[-1].losses),
            "same": before == after and not optimizer.state and model.weight.grad is None,
        }))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals between processes")
@pytest.mark.parametrize(
    ("signum", "workers"), [(signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGTERM, 2)], ids=["INT", "INT-2", "TERM-2"]
)
def test_a_real_process_keeps_what_it_measured_and_ends_soon(zygote, tmp_path, signum, workers):
    script = tmp_path / "sweeping.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = zygote.start_python(script, workers)
    deadline = time.monotonic() + 60
    while process.stdout != "measuring\n":
        assert time.monotonic() < deadline, process.stderr
        time.sleep(0.01)
    began = time.monotonic()
    for _ in range(2):  # as a terminal does: the whole group, workers too; and by someone impatient
        os.killpg(process.pid, signum)
    assert process.wait(20) == 0, process.stderr
    said = json.loads(process.stdout.splitlines()[1])
    assert time.monotonic() - began < 10  # about half a second here; a loaded machine needs room
    assert said["stops"] == ["interrupted" if signum is signal.SIGINT else "terminated"]
    assert said["same"]
    assert 5 <= said["losses"] <= said["updates"] <= said["losses"] + 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no worker is left


def test_a_process_on_its_way_out_hears_nothing_more():
    before = {number: signal.getsignal(number) for number in SENT}
    try:
        thread = threading.Thread(target=ignore_signals)  # where Python sets no handlers
        thread.start()
        thread.join()
        assert {number: signal.getsignal(number) for number in SENT} == before
        ignore_signals()
        assert {signal.getsignal(number) for number in SENT} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(params=SENT, ids=lambda number: number.name)
def sent(request):
    """A signal with the meaning that it has by itself, whatever the shell that runs the tests made of it."""
    usual = signal.default_int_handler if request.param == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(request.param, usual)
    yield request.param
    signal.signal(request.param, before)


def turned_into_an_error(number):
    """Do what compiled code does, whose callback a signal came into; and a loader, whose worker got it first."""
    try:
        signal.raise_signal(number)
    except BaseException:  # noqa: BLE001
        raise RuntimeError("something went wrong") from None


def test_an_error_that_a_signal_led_to_is_told_as_that_signal(recorder, sent):
    stop = Stop.INTERRUPTED if sent == signal.SIGINT else Stop.TERMINATED
    with signals_as_exceptions():
        traces = run_sweep(problem_that(lambda: turned_into_an_error(sent)), SETTINGS, device=CPU, observer=recorder())
    assert [(trace.stop, trace.updates, trace.why) for trace in traces] == [(stop, 4, "4 of 20 updates made")]


def test_so_it_is_in_a_short_run(recorder, sent):
    what = problem_that(lambda: turned_into_an_error(sent), at=4 + 4)  # four batches were judged before
    with signals_as_exceptions(), ShortRuns(what, seed=0, device=CPU, observer=recorder()) as runs:
        run = runs.run(RunPlan(lr=1e-3, steps=8))
    assert run.stop is (Stop.INTERRUPTED if sent == signal.SIGINT else Stop.TERMINATED)
    assert (run.updates, run.loss, run.why) == (3, None, "the run was cut short")
