"""Which node makes a trial, and what failures cost: against a cluster whose clock and failures the test decides."""

from __future__ import annotations

from collections import Counter

import pytest

from lrfinder.api.training.dispatch import BLAMED, NOBODY_S, REST_S, RETRIES, Dispatcher, Lost, Node
from lrfinder.api.training.failure import Failure
from lrfinder.api.training.trial import Trial
from lrfinder.errors import EnvironmentFailure, OwnWarning

BROKEN = Failure.of(ValueError("no disk"))
DEAD = Lost("WorkerCrashedError: the worker died")


class Pretended:
    """A cluster in which a trial takes a second, and ends as `ends(spec, node)` says; else it succeeds."""

    def __init__(self, devices, ends=lambda spec, node: None):
        self.there = {name: Node(f"node {name}", count) for name, count in devices.items()}
        self.ends, self.now = ends, 0.0
        self.running: dict[int, tuple[object, str, float]] = {}
        self.started: list[tuple[object, str, float]] = []
        self.most: Counter[str] = Counter()

    def nodes(self):
        return dict(self.there)

    def start(self, number, spec, node):
        assert node in self.there
        self.running[number] = spec, node, self.now + 1
        self.started.append((spec, node, self.now))
        self.most[node] = max(self.most[node], sum(other == node for _, other, _ in self.running.values()))

    def next_end(self, seconds):
        if not self.running:
            self.now += seconds
            return None
        number = min(self.running, key=lambda number: (self.running[number][2], number))
        spec, node, end = self.running.pop(number)
        self.now = max(self.now, end)
        return number, self.ends(spec, node) or Trial(made=spec)


def run(cluster, specs, share=1):
    dispatcher = Dispatcher(cluster, devices_per_trial=share, clock=lambda: cluster.now)
    return dispatcher, [trial.made for trial in dispatcher.run(specs)]


def test_no_node_gets_more_than_its_whole_devices_and_all_are_used():
    cluster = Pretended({"a": 5, "b": 2, "c": 1})
    _, made = run(cluster, list(range(20)), share=2)
    assert sorted(made) == list(range(20))
    assert cluster.most == {"a": 2, "b": 1}


def test_trials_begin_in_their_order_on_the_emptiest_node():
    cluster = Pretended({"a": 1, "b": 3})
    run(cluster, list(range(4)))
    assert [spec for spec, _, _ in cluster.started] == list(range(4))
    assert [node for _, node, _ in cluster.started[:3]] == ["b", "b", "a"]


def test_a_trial_that_fails_everywhere_is_to_blame_and_its_own_error_is_raised():
    cluster = Pretended({"a": 1, "b": 1}, lambda spec, node: BROKEN)
    with pytest.raises(ValueError, match="no disk"):
        run(cluster, ["x"])
    assert sorted(node for _, node, _ in cluster.started) == ["a", "b"]


def test_with_a_single_node_it_is_raised_at_once():
    cluster = Pretended({"a": 4}, lambda spec, node: BROKEN)
    with pytest.raises(ValueError, match="no disk"):
        run(cluster, ["x"])
    assert len(cluster.started) == 1


def test_one_whose_other_nodes_leave_before_it_is_made_again_is_given_up():
    cluster = Pretended({"a": 1, "b": 1})

    def ends(spec, node):
        if spec == "x":
            cluster.there.pop("b" if node == "a" else "a")
            return BROKEN
        return None

    cluster.ends = ends
    with pytest.raises(ValueError, match="no disk"):
        run(cluster, ["x", *range(3)])


def test_at_most_two_other_nodes_are_tried():
    cluster = Pretended(dict.fromkeys("abcdef", 1), lambda spec, node: BROKEN)
    with pytest.raises(ValueError, match="no disk"):
        run(cluster, ["x"])
    assert len(cluster.started) == 1 + RETRIES


def test_a_node_on_which_a_trial_fails_that_succeeds_elsewhere_is_left_out_with_its_reason():
    cluster = Pretended({"a": 4, "b": 1}, lambda spec, node: BROKEN if node == "a" else None)
    with pytest.warns(OwnWarning, match="node a is left out: .* ValueError: no disk"):
        dispatcher, made = run(cluster, list(range(6)))
    assert sorted(made) == list(range(6))
    assert list(dispatcher.left_out) == ["a"]
    blamed = next(time for spec, node, time in cluster.started if node == "b") + 1
    assert all(time <= blamed for _, node, time in cluster.started if node == "a")


def test_a_lost_trial_is_made_again_elsewhere_at_most_twice():
    cluster = Pretended(dict.fromkeys("abcdef", 1), lambda spec, node: DEAD)
    with pytest.raises(EnvironmentFailure, match="lost 3 times, at last since WorkerCrashedError"):
        run(cluster, ["x"])
    assert len({node for _, node, _ in cluster.started}) == 1 + RETRIES == len(cluster.started)


def test_on_a_single_node_it_waits_before_it_is_made_there_again():
    ends = iter([DEAD, DEAD, None])
    cluster = Pretended({"a": 1}, lambda spec, node: next(ends))
    _, made = run(cluster, ["x"])
    assert made == ["x"]
    begun = [time for _, _, time in cluster.started]
    assert begun[1] >= 1 + REST_S
    assert begun[2] >= begun[1] + 1 + 2 * REST_S


def test_a_task_that_never_began_costs_no_attempt():
    ends = iter([Lost("gone", node_too=True, began=False)] * 5 + [None])
    cluster = Pretended(dict.fromkeys("abcdef", 1), lambda spec, node: next(ends))
    _, made = run(cluster, ["x"])
    assert made == ["x"]


def test_a_node_that_is_gone_gets_no_more_trials_whatever_the_cluster_says():
    cluster = Pretended({"a": 2, "b": 1}, lambda spec, node: Lost("died", node_too=True) if node == "a" else None)
    dispatcher, made = run(cluster, list(range(8)))
    assert sorted(made) == list(range(8))
    assert [node for _, node, _ in cluster.started].count("a") == 2
    assert not dispatcher.left_out


def test_one_killed_process_is_forgiven_but_not_a_node_that_only_kills():
    killed = []

    def once(spec, node):
        if node == "a" and not killed:
            killed.append(spec)
            return DEAD
        return None

    dispatcher, made = run(Pretended({"a": 2, "b": 1}, once), list(range(12)))
    assert sorted(made) == list(range(12))
    assert not dispatcher.left_out
    always = Pretended({"a": 2, "b": 2, "c": 2}, lambda spec, node: DEAD if node == "a" else None)
    with pytest.warns(OwnWarning, match="node a is left out: 2 times it lost trials that succeeded elsewhere"):
        dispatcher, made = run(always, list(range(40)))
    assert sorted(made) == list(range(40))
    assert sum(node == "a" for _, node, _ in always.started) <= 2 * BLAMED


def test_nodes_that_join_are_used_and_if_all_leave_it_waits_a_minute():
    cluster = Pretended({"a": 1})

    def ends(spec, node):
        if spec == 2:
            cluster.there["b"] = Node("node b", 8)

    cluster.ends = ends
    run(cluster, list(range(12)))
    assert cluster.most["b"] == 8
    gone = Pretended({"a": 1})

    def leaves(spec, node):
        gone.there.clear()
        return DEAD

    gone.ends = leaves
    with pytest.raises(EnvironmentFailure, match="no node with a device is left"):
        run(gone, ["x"])
    assert NOBODY_S <= gone.now <= NOBODY_S + 10


class MineError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [KeyError("mine"), OSError(28, "No space left"), EnvironmentFailure("no memory", hint="buy some"), MineError("so"),
     UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_failure_elsewhere_is_reported_as_one_here(error):
    """As the command line prints it: class, message, hint, place, frames."""
    from lrfinder.errors import add_location, frames_of, user_code_location

    def fails():
        raise error

    try:
        fails()
    except (LookupError, OSError, ValueError, EnvironmentFailure, MineError) as raised:
        add_location(raised, "computing the loss")
        again = Failure.of(raised).error()
    assert (type(again).__name__, type(again).__module__) == (type(error).__name__, type(error).__module__)
    assert str(again) == str(error)
    assert getattr(again, "hint", None) == getattr(error, "hint", None)
    assert user_code_location(again) == user_code_location(error)
    assert frames_of(again)[-1].name == "fails"
