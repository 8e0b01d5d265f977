"""The trials of a run in a study that the real Optuna reads, and goes on with."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

import lrfinder
from helpers.run_folders import MODEL
from lrfinder.records import Stop


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "model.py").write_text(MODEL)
    lrfinder.sweep(folder / "model.py", steps=60, repeats=2, run_steps=20, max_lr=30.0, out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def verified(swept: Path) -> Path:
    lrfinder.verify(swept, steps=400, budget=600)
    return swept


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_optuna_reads_the_short_runs_from_a_file(swept: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    made = lrfinder.export_study(swept, storage=storage, steps=20)
    read = optuna.load_study(study_name="run-20", storage=storage)
    band = lrfinder.recommend(swept).band
    assert (read.user_attrs["low"], read.user_attrs["high"]) == (band.low, band.high)
    runs = [run for run in lines(swept / "runs.jsonl") if band.low <= run["plan"]["lr"] <= band.high]
    assert [(trial.params["lr"], trial.value) for trial in read.trials] == [
        (run["plan"]["lr"], run["loss"]) for run in runs
    ]
    assert len(runs) >= 2
    assert {trial.distributions["lr"] for trial in read.trials} == {
        optuna.distributions.FloatDistribution(band.low, band.high, log=True)
    }
    assert read.direction == optuna.study.StudyDirection.MINIMIZE
    assert read.best_value == min(run["loss"] for run in runs)
    assert made.user_attrs == read.user_attrs


def test_a_sampler_goes_on_from_them(swept: Path) -> None:
    study = lrfinder.export_study(swept)
    known, (low, high) = len(study.trials), (study.user_attrs["low"], study.user_attrs["high"])
    study.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=1, multivariate=True)
    study.optimize(lambda trial: trial.suggest_float("lr", low, high, log=True), n_trials=3)
    assert len(study.trials) == known + 3
    assert all(low <= trial.params["lr"] <= high for trial in study.trials)
    assert optuna.search_space.intersection_search_space(study.trials) == study.trials[0].distributions


def test_the_trials_of_verify_come_first_and_are_of_one_length(verified: Path) -> None:
    study = lrfinder.export_study(verified)
    steps = study.user_attrs["steps"]
    trials = lines(verified / "trials.jsonl")
    assert steps == max(trial["plan"]["steps"] for trial in trials)
    longest = {(trial["plan"]["lr"], trial["loss"]) for trial in trials if trial["plan"]["steps"] == steps}
    assert {(trial.params["lr"], trial.value) for trial in study.trials} <= longest
    assert lrfinder.export_study(verified, steps=20).user_attrs["steps"] == 20
    with pytest.raises(lrfinder.UsageError, match="no trial of 21 updates"):
        lrfinder.export_study(verified, steps=21)


def test_a_run_that_blew_up_in_the_band_is_pruned(swept: Path) -> None:
    result = lrfinder.recommend(swept).result
    first = next(run for run in result.runs if run.loss is not None and run.plan.lr > 0.01)
    blown = replace(first, plan=replace(first.plan, lr=first.plan.lr * 1.01), loss=None, stop=Stop.DIVERGED)
    cut = replace(first, plan=replace(first.plan, lr=first.plan.lr * 1.02), loss=None, stop=Stop.INTERRUPTED)
    study = lrfinder.export_study(replace(result, runs=(*result.runs, blown, cut)))
    states = {trial.params["lr"]: trial.state for trial in study.trials}
    assert states[blown.plan.lr] is optuna.trial.TrialState.PRUNED
    assert cut.plan.lr not in states


def test_the_command_line_says_what_is_there_and_how_to_go_on(cli, swept: Path, tmp_path: Path) -> None:
    answer = json.loads(cli("export-study", swept, "--steps", "20", "--json").stdout)
    study = optuna.load_study(study_name="run-20", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert answer == {
        "study": "run-20", "storage": "sqlite:///optuna.db", "trials": len(study.trials), **study.user_attrs
    }  # fmt: skip
    done = cli("export-study", swept, "--name", "mine", "--steps", "20")
    assert f"Study mine in sqlite:///optuna.db: {len(study.trials)} trials of 20 updates" in done.stdout
    assert f"suggest_float('lr', {answer['low']!r}, {answer['high']!r}, log=True)" in done.stdout


def test_what_can_t_be_exported_is_said(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(lrfinder.UsageError, match="can't be opened"):
        lrfinder.export_study(swept, storage="sqlite:////no/such/folder/study.db")
    with pytest.raises(lrfinder.UsageError, match="can't be opened"):
        lrfinder.export_study(swept, storage="nonsense")
    for again in (False, True):
        with pytest.raises(lrfinder.UsageError, match="has a study 'mine' already") if again else nullcontext():
            lrfinder.export_study(swept, storage=f"sqlite:///{tmp_path}/study.db", name="mine")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(lrfinder.UsageError, match="Optuna isn't installed") as caught:
        lrfinder.export_study(swept)
    assert caught.value.hint == "pip install 'lrfinder[optuna]'"
