"""A long sweep in mode auto: short sweeps beside it, so that the pick doesn't depend on its length."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

import lrfinder
from helpers.advice import advice_on
from helpers.curves import depleting_sweep, sweep_of, traces_of
from helpers.pictures import picture
from helpers.runs import parabola, runs_at
from lrfinder.advice import Request
from lrfinder.cli.app import app
from lrfinder.records import Mode, Spacing, Status, Stop, SweepResult, SweepSettings
from lrfinder.report.figure import curve_figure, subtitle
from lrfinder.store import load_run, load_unfinished

MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
X = torch.randn(256, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)
model = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
loss_fn = nn.CrossEntropyLoss()

def train_loader():
    return DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True)
"""
LONG = SweepSettings(steps=400)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    return "model.py"


rates = st.floats(-8, 0).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 0.1, low + 12)))


@given(rates, st.integers(2, 3000), st.sampled_from(Mode), st.sampled_from(Spacing))
def test_a_sweep_is_long_from_twice_the_default_updates_a_decade_on(
    ends: tuple[float, float], steps: int, mode: Mode, spacing: Spacing
) -> None:
    settings = SweepSettings(min_lr=10 ** ends[0], max_lr=10 ** ends[1], steps=steps, mode=mode, spacing=spacing)
    short = settings.short()
    default = 12.5 * (ends[1] - ends[0])
    if short is None:
        assert mode is not Mode.AUTO or spacing is not Spacing.EXP or steps < 2 * default + 1 or default < 25.5
    else:
        assert (mode, spacing) == (Mode.AUTO, Spacing.EXP)
        assert steps > 2 * default - 1.01
        assert short == dataclasses.replace(settings, steps=short.steps)
        assert short.steps == pytest.approx(default, abs=0.51)
        assert short.short() is None


def test_by_default_it_is_what_the_default_sweep_is() -> None:
    assert LONG.short() == SweepSettings()
    assert dataclasses.replace(LONG, steps=200).short() == SweepSettings()
    assert dataclasses.replace(LONG, steps=199).short() is None
    assert SweepSettings().short() is None


def test_the_pick_is_that_of_the_default_sweep(model: str) -> None:
    default = lrfinder.sweep(model, seed=3, out="default")
    long = lrfinder.sweep(model, seed=3, steps=400, out="long")
    assert [len(losses) for losses in long.losses] == [len(trace.lrs) for trace in long.traces]
    assert max(len(losses) for losses in long.losses) > 200
    assert list(pd.read_csv("long/curve.csv").groupby("repeat").size()) == [len(losses) for losses in long.losses]
    assert (long.short_sweeps, long.runs) == (default.traces, default.runs)
    assert Path("long/short-curve.csv").read_bytes() == Path("default/curve.csv").read_bytes()
    wanted, advice = (advice_on(result, Request(steps=400)) for result in (default, long))
    assert (advice.lr, advice.picks[0], advice.band) == (wanted.lr, wanted.picks[0], wanted.band)
    assert (advice.fit, advice.schedule.optimizer) == (wanted.fit, wanted.schedule.optimizer)
    assert advice.updates == default.updates + sum(trace.updates for trace in long.traces)
    assert "Over 2 x 100 updates the loss fell from " in advice.why
    assert "These short sweeps are read, not those of 400 updates, which have used up the loss" in advice.why
    # What other finders would have made of the sweep that was asked for is read off that.
    assert _lr(advice, "torch-lr-finder") != _lr(wanted, "torch-lr-finder")
    recommended = lrfinder.recommend("long", steps=400)
    assert recommended.schedule.optimizer == wanted.schedule.optimizer


def _lr(advice: object, rule: str) -> float:
    return next(pick.lr for pick in advice.picks if pick.rule == rule)  # type: ignore[attr-defined]


def test_without_them_depletion_moves_the_pick() -> None:
    """A model with a memory: four times the updates move the steepest point of its curve by 0.08 decade."""
    long, short = SweepSettings(steps=400, repeats=1), SweepSettings(repeats=1)
    traces, shorts = (depleting_sweep(long),), (depleting_sweep(short),)

    def steepest(result: SweepResult) -> float:
        return math.log10(_lr(advice_on(result, Request()), "steepest"))

    alone = steepest(sweep_of(traces, long))
    beside = steepest(dataclasses.replace(sweep_of(traces, long), short_sweeps=shorts))
    assert beside == steepest(sweep_of(shorts, short))
    assert alone < beside - 0.05


@pytest.mark.parametrize("stop", Stop)
def test_they_are_read_where_all_have_ended(stop: Stop) -> None:
    short = LONG.short()
    assert short is not None
    long, shorts = traces_of(LONG, noise=0.02), traces_of(short, noise=0.02)
    result = dataclasses.replace(sweep_of(long, LONG), runs=runs_at((-2.9, -2.5, -2.1), parabola(-2.5), steps=75))
    assert result.pick_source is result
    assert dataclasses.replace(result, short_sweeps=shorts[:1]).pick_source.traces == long
    ended = (shorts[0], dataclasses.replace(shorts[1], stop=stop))
    cut = dataclasses.replace(result, short_sweeps=ended)
    whole = stop in {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE}
    assert (cut.pick_source.traces, cut.pick_source.settings) == ((ended, short) if whole else (long, LONG))
    assert cut.status is (Stop.COMPLETED if whole else stop)
    assert cut.updates == 800 + 200 + 3 * 75
    doubted = advice_on(cut, Request(steps=400)).picks[0]
    told = "a sweep of 400 updates has used up the loss before it reaches the best rates, and the short ones that are"
    assert (told in doubted.why) is not whole
    if not whole:
        assert doubted.status is Status.UNCERTAIN


@pytest.mark.parametrize("mode", ["continuous", "restart"])
def test_what_was_not_asked_for_is_not_made(model: str, mode: str) -> None:
    steps = {"steps": 400, "run_steps": 10, "min_lr": 1e-4, "max_lr": 1.0}
    assert lrfinder.sweep(model, mode=mode, out=mode, **steps).short_sweeps == ()  # type: ignore[arg-type]
    assert not Path(f"{mode}/short-curve.csv").exists()


def test_a_loader_with_one_start_allows_none() -> None:
    x = torch.randn(32, 4)
    batches = iter([(x, x[:, :1])] * 5000)
    result = lrfinder.sweep(nn.Linear(4, 1), train_loader=batches, loss_fn=nn.MSELoss(), steps=400, repeats=1)
    assert (result.short_sweeps, result.runs) == ((), ())
    assert "the short ones that are read in its place did not all end" in advice_on(result, Request()).why


def test_live_objects_come_back_bit_for_bit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0123)
    x = torch.randn(64, 4)
    objects, drawn = [net, optimizer], torch.get_rng_state()
    before = picture(objects, set())
    result = lrfinder.sweep(
        net, train_loader=[(x, x[:, :1])], loss_fn=nn.MSELoss(), optimizer=optimizer, steps=100, min_lr=1e-4, max_lr=1.0
    )
    assert [len(trace.lrs) for trace in result.short_sweeps] == [50, 50]
    assert picture(objects, set()) == before
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_time_limit_is_that_of_all_parts(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float | None] = []
    run_sweep = lrfinder.api.sweeping.measure.run_sweep

    def watched(problem: object, settings: SweepSettings, **rest: object) -> object:
        told.append(settings.max_seconds)
        return run_sweep(problem, settings, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("lrfinder.api.sweeping.measure.run_sweep", watched)
    assert lrfinder.sweep(model, steps=400, max_seconds=900.0).status is Stop.DIVERGED
    assert told[0] == 900.0
    assert 0 < told[1] < 900.0  # type: ignore[operator]


def test_they_read_back_exactly_also_where_a_kill_cut_them_short(model: str) -> None:
    result = lrfinder.sweep(model, seed=3, steps=400, repeats=3, out="run")
    read = load_run(Path("run"))
    assert (read.traces, read.short_sweeps, read.runs) == (result.traces, result.short_sweeps, result.runs)
    document = json.loads(Path("run/run.json").read_text())
    assert [row["repeat"] for row in document["short_sweeps"]] == [0, 1, 2]
    del document["short_sweeps"][1:]
    Path("run/run.json").write_text(json.dumps(document))
    lines = Path("run/short-curve.csv").read_text().splitlines(keepends=True)
    cut = 1 + len(result.short_sweeps[0].lrs) + 5
    Path("run/short-curve.csv").write_text("".join(lines[:cut]) + "1,5,0.0")
    read = load_run(Path("run"))
    assert read.short_sweeps[0] == result.short_sweeps[0]
    assert [(trace.repeat, len(trace.lrs), trace.stop) for trace in read.short_sweeps[1:]] == [(1, 5, Stop.INTERRUPTED)]
    kept = load_unfinished(Path("run"))
    assert (kept.traces, kept.short_sweeps, kept.runs) == (result.traces, result.short_sweeps[:1], ())


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("run.json", lambda text: text.replace('"short_sweeps": [', '"short_sweeps": [3,'), "short_sweeps: expected a"),
        ("run.json", lambda text: text.replace('"short_sweeps": [', '"short_sweeps": [{},'), "short_sweeps.0.repeat: "),
        ("short-curve.csv", lambda text: text.replace("0,1,", "0,2,", 1), "short-curve.csv:3: repeat 0, step 2 is out"),
    ],
)
def test_damage_is_named(model: str, name: str, damage: object, told: str) -> None:
    lrfinder.sweep(model, steps=100, min_lr=1e-4, max_lr=1.0, out="run")
    file = Path("run") / name
    file.write_text(damage(file.read_text()))  # type: ignore[operator]
    with pytest.raises(lrfinder.RunError, match=told):
        load_run(Path("run"))


def test_the_command_tells_of_them_and_the_picture_shows_both(model: str) -> None:
    out = CliRunner().invoke(app, ["sweep", model, "--steps", "400", "--out", "run", "--json"])
    assert out.exit_code == 0
    document = json.loads(out.stdout)
    result = load_run(Path("run"))
    assert [row["points"] for row in document["short_sweeps"]] == [len(trace.lrs) for trace in result.short_sweeps]
    assert "short sweep 1 of 2: 100 updates, rates 1e-06 to 100" in out.stderr
    assert "short sweep 2 of 2: " in out.stderr
    assert subtitle(result).startswith("2 repeats x 400 updates + 2 short sweeps x 100 + ")
    figure = curve_figure(advice_on(result, Request()).chart(result))
    drawn = {line.get_gid(): line for line in figure.axes[0].lines}
    low, high = figure.axes[0].get_ylim()
    in_view = sorted(loss for trace in result.traces for loss in trace.losses if low <= loss <= high)
    assert sorted(drawn["left-out"].get_ydata()) == in_view
    assert len(drawn["repeat-0"].get_ydata()) <= 100
    assert "long sweep" in {text.get_text() for text in figure.legends[0].get_texts()}
