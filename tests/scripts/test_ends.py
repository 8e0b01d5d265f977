"""How a run of a script may end, and what is said then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrfinder.errors import EnvironmentFailure, ModelFileError, UsageError
from lrfinder.options import Stop
from lrfinder.records import Mode, Status
from lrfinder.store import load_run

Swept = Callable[..., Any]


def test_a_script_that_fails_before_its_first_step_shows_its_own_traceback(sweep: Swept) -> None:
    with pytest.raises(ModelFileError, match="failed before its first update: ModuleNotFoundError") as failure:
        sweep("others.py", "import")
    text = str(failure.value)
    assert f'File "{Path.cwd() / "others.py"}", line' in text
    assert "No module named 'nowhere'" in text
    assert "lrfinder" not in text.partition("Traceback")[2]  # none of our own frames
    assert "python others.py import" in str(failure.value.hint)


def test_the_exit_status_of_a_script_is_told(sweep: Swept) -> None:
    with pytest.raises(ModelFileError, match="exit status 7") as failure:
        sweep("others.py", "exit")
    assert "usage: others.py KIND" in str(failure.value)


def test_a_script_that_fails_later_keeps_what_was_measured(sweep: Swept, tmp_path_factory: Any) -> None:
    with pytest.raises(ModelFileError, match="failed after 5 updates: RuntimeError: the script's own mistake"):
        sweep("classifier.py", "--fail-at", 5)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("by hand", "300 calls of backward.* and no step of a torch optimizer"),
        ("by hand, shortly", "it ended after 20 calls of backward.* and no step of a torch optimizer"),
        ("functions", "it ended without .*backward.* with these arguments it trains nothing"),
        ("functions, for ever", r"\d+ calls of torch.autograd.grad or torch.func, none of backward.* and no step"),
        ("no rate", r"Unrated \(optimizer\) has no rate: there is no lr in its param groups"),
        ("climbs", r"param group 1 of SGD \(optimizer\) has a rate below 0: it makes the loss rise"),
        ("no loss", "no backward"),
        ("two", r"several optimizers: SGD \(critic\), Adam \(actor\); name one by --which"),
        ("no names", r"several optimizers that no name tells apart: SGD .each., SGD .each.; .* --scale-others"),
    ],
)
def test_what_cannot_be_seen_is_said(sweep: Swept, tmp_path: Path, kind: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep("others.py", kind)
    assert [path.name for path in tmp_path.iterdir()] == ["others.py"]  # the checkpoints are gone


@pytest.mark.parametrize("which", ["critic", "SGD", "actor"])
def test_one_of_several_optimizers_is_named(sweep: Swept, which: str) -> None:
    done = sweep("others.py", "two", which=which)
    [trace] = done.sweep.traces
    assert done.sweep.setup.optimizer.name == ("Adam" if which == "actor" else "SGD")
    assert done.advice.status is not Status.CONFIDENT
    assert f"only {which} was swept" in done.advice.why
    assert (trace.initial_loss > 8) == (which == "actor")  # each optimizer has a loss of its own
    assert len(trace.losses) > 20


def test_the_named_one_may_come_after_many_steps_of_another(sweep: Swept) -> None:
    done = sweep("others.py", "pretrained", which="SGD")
    [trace] = done.sweep.traces
    assert done.sweep.setup.optimizer.name == "SGD"
    assert trace.initial_loss < 0.5  # Adam has trained
    assert trace.doubt == ""  # and trains no more


def test_an_optimizer_whose_turn_did_not_come_is_named(sweep: Swept) -> None:
    [one], [other] = (
        [said for said in sweep("others.py", kind).remarks if "own rate" in said]
        for kind in ("two, one after the other", "anew")
    )
    assert one.startswith("swept was Adam (first): SGD (second) had made no step yet, and --which NAME sweeps that")
    assert other.startswith("the script's own rate of Adam (optimizer) is 0.1")
    assert any("of SGD (optimizer) is 0.05" in said for said in sweep("classifier.py").remarks)  # not of its scheduler


@pytest.mark.parametrize(("first", "told"), [(10, True), (60, False)])
def test_steps_of_others_between_those_of_the_named_one_are_a_doubt(sweep: Swept, first: int, told: bool) -> None:
    """The other optimizer pretrains, and again after `first` updates, of which a sweep makes 40."""
    done = sweep("others.py", "again", first, which="SGD", max_lr=0.3)
    [trace] = done.sweep.traces
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 40)
    assert ("only SGD was swept" in trace.doubt) == told
    assert load_run(done.folder).traces == (trace,)


def test_one_that_others_train_too_long_before_is_not_waited_for(sweep: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no optimizer called AdamW has made a step in 51 steps of others, \d+ s of"):
        sweep("others.py", "slow others", which="AdamW")


def test_an_unknown_optimizer_is_refused_with_those_that_there_are(sweep: Swept) -> None:
    with pytest.raises(UsageError, match=r"no optimizer called AdamW makes a step; there is SGD \(critic\), Adam"):
        sweep("others.py", "two", which="AdamW")


def test_a_script_that_ends_too_early_is_a_value(sweep: Swept) -> None:
    done = sweep("classifier.py", "--epochs", 1, steps=60, max_lr=0.05)
    [trace] = done.sweep.traces
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.OUT_OF_DATA, 40, 39)
    assert done.advice.status is Status.REFUSED
    assert "the script ended after 40 updates" in done.advice.why
    assert "more epochs" in done.advice.hint


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("leaves", "the script ended after 20 updates"),
        ("folds", "began another training after 20 updates"),
        ("anew, reset", "began another training after 12 updates"),
    ],
)
def test_a_script_that_leaves_or_begins_anew_ends_early(sweep: Swept, kind: str, said: str) -> None:
    done = sweep("others.py", kind)
    [trace] = done.sweep.traces
    assert (trace.stop, trace.updates) == (Stop.OUT_OF_DATA, 12 if kind == "anew, reset" else 20)
    assert said in trace.why


def test_a_script_that_leaves_out_losses_that_are_not_finite_is_ended(sweep: Swept) -> None:
    [trace] = sweep("others.py", "skips", min_lr=1e-2, max_lr=1e38, steps=10).sweep.traces
    assert trace.stop is Stop.NON_FINITE
    assert "trains on no batch any more after the update at rate" in trace.why
    assert all(loss < 1e30 for loss in trace.losses)


def test_a_script_that_stops_at_a_loss_that_is_no_number_has_answered(sweep: Swept) -> None:
    [trace] = sweep("others.py", "stops", min_lr=1e-2, max_lr=1e38, steps=10).sweep.traces
    assert trace.stop is Stop.NON_FINITE
    assert "the script ended itself after the update at rate" in trace.why


def test_a_script_of_exactly_so_many_updates_is_enough(sweep: Swept) -> None:
    [trace] = sweep("classifier.py", "--epochs", 1, steps=40, max_lr=0.05).sweep.traces
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.COMPLETED, 40, 39)


def test_a_script_that_leaves_at_a_loss_that_is_no_number_has_answered(sweep: Swept) -> None:
    [trace] = sweep("classifier.py", "--guard", min_lr=1e-2, max_lr=1e38, steps=10).sweep.traces
    assert trace.stop in {Stop.NON_FINITE, Stop.DIVERGED}
    assert "Loss is nan" in trace.why or trace.stop is Stop.DIVERGED


def test_a_script_that_fails_at_high_rates_alone_has_answered(sweep: Swept) -> None:
    """It fails where the loss is 20 or so, long before that is too much."""
    done = sweep("others.py", "range", repeats=2, mode=Mode.AUTO, max_lr=100.0)
    for trace in done.sweep.traces:
        assert trace.stop is Stop.NON_FINITE
        assert "at this rate, and not at one too small to learn at: RuntimeError: all elements" in trace.why
        assert len(trace.losses) == trace.updates - 1
    assert {run.stop for run in done.sweep.runs} == {Stop.COMPLETED, Stop.NON_FINITE}
    assert done.advice.lr is not None


def test_a_backward_for_each_move_of_an_episode_is_no_step_by_hand(sweep: Swept) -> None:
    [trace] = sweep("others.py", "episodes", max_lr=0.1).sweep.traces
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 40)


def test_a_process_that_is_killed_is_a_failure_of_the_machine(sweep: Swept) -> None:
    with pytest.raises(EnvironmentFailure, match=r"signal 9 after \d updates"):
        sweep("others.py", "killed")


def test_a_script_that_hangs_is_ended_in_time(sweep: Swept) -> None:
    done = sweep("others.py", "hangs", max_seconds=2.0)
    [trace] = done.sweep.traces
    assert (trace.stop, len(trace.losses)) == (Stop.OUT_OF_TIME, 3)
