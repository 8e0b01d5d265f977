"""What can't be made elsewhere is refused before anything starts; what a node must have, and what it is told if not."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import pickletools
import signal
import sys
from pathlib import Path

import pytest

import lrfinder
from helpers.models import GOOD_WITH_VAL
from lrfinder.api.sweeping.elsewhere import measure_elsewhere
from lrfinder.api.training import executors
from lrfinder.api.training.executors import Elsewhere
from lrfinder.api.training.home import Home
from lrfinder.api.training.run_trial import run_trial
from lrfinder.api.training.trial import Repeat, TrialSpec
from lrfinder.api.verify_request import VerifyOptions, check_options
from lrfinder.errors import EnvironmentFailure, ModelFileError, UsageError
from lrfinder.records import Stop, SweepSettings
from lrfinder.store import Source


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL)
    return tmp_path / "model.py"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on": "rai"}, "unknown place for trials 'rai'"),
        ({"devices_per_trial": 2}, "says nothing without --on"),
        ({"on": "ray", "devices_per_trial": 0}, "at least one device"),
        ({"nproc": 2}, "nproc says nothing without on"),
        ({"on": "ray", "nproc": 2, "devices_per_trial": 3}, "3 devices can't be shared by 2 processes"),
        ({"on": "ray", "cache_batches": 3}, "can't share batches"),
        ({"on": "ray", "device": "cuda:1"}, "Ray chooses the device"),
    ],
)
def test_it_is_refused(file, given, said, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: True)
    with pytest.raises(UsageError, match=said):
        lrfinder.sweep(file, **given)


def test_live_objects_and_jobs_are_refused(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: True)
    from torch import nn

    with pytest.raises(UsageError, match="live objects can't be swept elsewhere"):
        lrfinder.sweep(nn.Linear(2, 1), train_loader=[], on="ray")
    with pytest.raises(UsageError, match="--jobs and --on"):
        check_options(VerifyOptions(jobs=2, where=Elsewhere("ray")))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="--on ray needs the package ray") as raised:
        Elsewhere("ray://head:10001")
    assert raised.value.hint == "pip install 'lrfinder[ray]'"


def test_repeats_of_a_loader_with_one_start_are_refused(file):
    file.write_text(GOOD_WITH_VAL + "\ntrain_loader = iter(list(train_loader()))\n")
    plan = Repeat(settings=SweepSettings(steps=5), number=1)
    with pytest.raises(ModelFileError, match="repeats can't be made apart"):
        run_trial(TrialSpec(source=Source(reference="model.py", device="cpu"), seed=0, plan=plan, threads=1))


def test_what_a_trial_measured_is_unpickled_without_torch(file):
    plan = Repeat(settings=SweepSettings(steps=5), number=0)
    made = run_trial(TrialSpec(source=Source(reference="model.py", device="cpu"), seed=0, plan=plan, threads=1))
    assert "prepared" in dict(made.events)
    modules = [name for opcode, name, _ in pickletools.genops(pickle.dumps(made)) if opcode.name.endswith("UNICODE")]
    assert "lrfinder.records.measured" in modules
    assert [name for name in modules if name.startswith("torch.")] == []


class Here:
    """Makes trials one by one in this process; a signal comes when the first ones are made."""

    signalled = False

    @contextlib.contextmanager
    def open(self, source, *, seed):
        self.source = source
        yield self

    def run(self, plans, until=None):
        for plan in plans:
            yield run_trial(TrialSpec(source=self.source, seed=0, plan=plan, threads=1))
        if not self.signalled:
            self.signalled = True
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_comes_when_all_repeats_are_made_ends_what_follows(file):
    settings = SweepSettings(steps=20, repeats=2, run_steps=10)
    cut = measure_elsewhere(Source(reference="model.py", device="cpu"), settings, Here())
    assert [trace.stop for trace in cut.traces] == [Stop.COMPLETED] * 2
    assert [run.stop for run in cut.runs] == [Stop.INTERRUPTED]


def test_a_node_must_have_the_folder_the_same_file_and_the_same_versions(file, tmp_path, monkeypatch):
    source = Source(reference="model.py")
    home = Home.here(source)
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", [*sys.path])
    home.enter(source)
    assert Path.cwd() == tmp_path
    other = dataclasses.replace(home, versions=(("torch", "1.0"),))
    with pytest.raises(EnvironmentFailure, match=r"torch is 2\S+ there, and 1.0 where the command was given"):
        other.enter(source)
    file.write_text("# another\n")
    with pytest.raises(EnvironmentFailure, match=r"model.py isn't the same as where the command was given"):
        home.enter(source)
    file.unlink()
    with pytest.raises(EnvironmentFailure, match=r"the model file .* isn't there"):
        home.enter(source)
    tmp_path.rmdir()
    with pytest.raises(EnvironmentFailure, match=f"the folder {tmp_path} isn't there: No such file") as raised:
        home.enter(source)
    assert "every node" in raised.value.hint
