"""What of a run is kept where its sweep carries on: what ended by itself and is whole, up to the first that is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from helpers.curves import sweep_of, traces_of
from helpers.run_folders import EXACT
from helpers.runs import parabola, runs_at
from lrfinder.errors import RunError
from lrfinder.records import Mode, Point, ShortRun, Stop, SweepSettings, Trace
from lrfinder.store import RunFolder, RunLog, Source, load_unfinished

SWEEP = SweepSettings(min_lr=1e-5, max_lr=1.0, steps=4, repeats=3, mode=Mode.AUTO)
WHOLE = traces_of(SWEEP)
RUNS = runs_at([-3, -2, -1], parabola(-2))
BY_ITSELF = {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE, Stop.OUT_OF_DATA}


def write(
    out: Path, traces: tuple[Trace, ...], *, runs: tuple[ShortRun, ...] = (), settings: SweepSettings = SWEEP
) -> Path:
    setup = sweep_of(traces, settings).setup
    source = Source(reference="model.py")
    with RunFolder.create(out, model="m", source=source, settings=settings, created_by="a test") as folder:
        folder.prepared(setup)
        for trace in traces:
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
                folder.measured(Point(repeat=trace.repeat, step=step, lr=lr, loss=loss))
            folder.repeat_ended(trace)
        for run in runs:
            folder.run_ended(run)
    return out


@pytest.mark.parametrize("stop", Stop)
def test_a_repeat_is_kept_where_it_ended_by_itself(tmp_path: Path, stop: Stop) -> None:
    traces = (WHOLE[0], dataclasses.replace(WHOLE[1], stop=stop), WHOLE[2])
    kept = load_unfinished(write(tmp_path / "run", traces, runs=RUNS))
    assert kept.traces == (traces if stop in BY_ITSELF else traces[:1])
    assert kept.runs == (RUNS if stop in BY_ITSELF else ())
    assert kept.settings == SWEEP
    assert kept.source == Source(reference="model.py")
    assert "repeats" not in kept.header
    assert kept.header["created_by"] == "a test"


@pytest.mark.parametrize("stop", Stop)
def test_short_runs_are_kept_up_to_the_first_that_did_not_end_by_itself(tmp_path: Path, stop: Stop) -> None:
    runs = (RUNS[0], dataclasses.replace(RUNS[1], stop=stop), RUNS[2])
    assert load_unfinished(write(tmp_path / "run", WHOLE, runs=runs)).runs == (runs if stop in BY_ITSELF else runs[:1])


@pytest.mark.parametrize(
    ("stop", "updates", "micro_batches", "is_kept"),
    [
        (Stop.COMPLETED, 4, 1, True),
        (Stop.COMPLETED, 5, 1, False),  # a power cut took the last point
        (Stop.COMPLETED, 3, 1, False),
        (Stop.OUT_OF_DATA, 4, 1, True),
        (Stop.OUT_OF_DATA, 5, 1, True),  # the one update after which the data ran out has no loss
        (Stop.OUT_OF_DATA, 6, 1, False),
        (Stop.OUT_OF_DATA, 3, 1, False),
        (Stop.COMPLETED, 9, 2, True),  # it began again where memory ran out: those updates count, too
        (Stop.COMPLETED, 4, 2, True),
        (Stop.COMPLETED, 3, 2, False),
        (Stop.INTERRUPTED, 9, 2, False),
    ],
)
def test_a_repeat_is_kept_where_all_of_its_points_are_there(
    tmp_path: Path, stop: Stop, updates: int, micro_batches: int, is_kept: bool
) -> None:
    first = dataclasses.replace(WHOLE[0], stop=stop, updates=updates, micro_batches=micro_batches)
    assert load_unfinished(write(tmp_path / "run", (first, *WHOLE[1:]))).traces == (
        (first, *WHOLE[1:]) if is_kept else ()
    )


def test_without_every_repeat_there_are_no_short_runs_yet(tmp_path: Path) -> None:
    assert load_unfinished(write(tmp_path / "run", WHOLE[:2], runs=RUNS)).runs == ()


def test_batches_that_are_kept_come_from_the_first_repeat_so_all_is_made_again(tmp_path: Path) -> None:
    cached = dataclasses.replace(SWEEP, cache_batches=2)
    kept = load_unfinished(write(tmp_path / "run", WHOLE, runs=RUNS, settings=cached))
    assert (kept.traces, kept.runs, kept.short_sweeps) == ((), (), ())


def test_in_restart_mode_the_points_are_the_short_runs(tmp_path: Path) -> None:
    restart = dataclasses.replace(SWEEP, mode=Mode.RESTART)
    run = write(tmp_path / "run", (), runs=RUNS, settings=restart)
    kept = load_unfinished(run)
    assert (kept.traces, kept.runs) == ((), RUNS)
    curve = pd.read_csv(run / "curve.csv", converters=EXACT)
    assert curve["step"].tolist() == [0, 1, 2]
    assert curve["repeat"].tolist() == [0, 0, 0]
    assert curve["lr"].tolist() == [run.plan.lr for run in RUNS]
    assert curve["loss"].tolist() == [run.loss for run in RUNS]


def test_a_repeat_that_is_missing_ends_what_is_kept(tmp_path: Path) -> None:
    assert load_unfinished(write(tmp_path / "run", (WHOLE[0], WHOLE[2]))).traces == WHOLE[:1]


def changed(run: Path, **values: object) -> Path:
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, **values}))
    return run


def test_an_older_format_kept_too_little(tmp_path: Path) -> None:
    run = changed(write(tmp_path / "run", WHOLE), version=2)
    with pytest.raises(RunError) as caught:
        load_unfinished(run)
    assert str(caught.value) == f"{run}/run.json: version 2 was written by an older lrfinder, which kept too little"
    assert caught.value.hint == "sweep again"


def test_the_digest_of_the_model_file_is_a_text_or_unknown(tmp_path: Path) -> None:
    run = write(tmp_path / "run", WHOLE)
    assert load_unfinished(run).model_sha256 is None
    assert load_unfinished(changed(run, model_sha256="abc")).model_sha256 == "abc"
    with pytest.raises(RunError) as caught:
        load_unfinished(changed(run, model_sha256=7))
    assert str(caught.value) == f"{run}/run.json: model_sha256: expected a text, got 7"
    assert caught.value.hint == "sweep again"


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("why", "a\x1b[2J", r"a control character in 'a\x1b[2J'"),
        ("metric", "a\x07", r"a control character in 'a\x07'"),
        ("updates", -1, "plan: a rate, a length and batches above 0 are needed"),
    ],
)
def test_damage_in_a_log_is_told_with_its_line(tmp_path: Path, part: str, value: object, told: str) -> None:
    run = write(tmp_path / "run", WHOLE)
    with RunLog(run / "runs.jsonl") as log:
        log.add(RUNS[0])
        log.add(dataclasses.replace(RUNS[1], **{part: value}))
    with pytest.raises(RunError) as caught:
        load_unfinished(run)
    assert str(caught.value) == f"{run}/runs.jsonl:2: {told}"
    assert caught.value.hint == "the file is damaged or was edited; remove that line"


def test_a_sweep_that_carries_on_writes_after_what_is_kept(tmp_path: Path) -> None:
    """Nothing changes before it is known that the same is swept; then what was cut short goes, and all else stays."""
    out = write(tmp_path / "run", WHOLE[:1])
    setup = sweep_of(WHOLE, SWEEP).setup
    with (out / "curve.csv").open("a") as file:
        file.write("1,0,1e-05,2.0\n1,1,")  # the second repeat was cut short
    (out / ".run.json.0123abcd").write_text("of a writer that was killed")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    kept = load_unfinished(out)
    with RunFolder.resume(kept) as folder:
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
        folder.prepared(setup)
        assert {file.name for file in out.iterdir()} == {"run.json", "curve.csv"}
        for number, trace in enumerate(WHOLE[1:], start=1):
            folder.repeat_started(number)
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True)):
                folder.measured(Point(repeat=number, step=step, lr=lr, loss=loss))
            folder.repeat_ended(trace)
        for run in RUNS:
            folder.run_ended(run)
    whole = write(tmp_path / "whole", WHOLE, runs=RUNS)
    for name in ("run.json", "curve.csv", "runs.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_whether_updates_are_recorded_may_change(tmp_path: Path) -> None:
    """How fast a recording is decides that, and its reason holds times: they are never the same twice."""
    out = write(tmp_path / "run", WHOLE[:1])
    now = dataclasses.replace(
        sweep_of(WHOLE, SWEEP).setup, graph="it is not faster: 0.31 ms an update, 0.30 ms without"
    )
    with RunFolder.resume(load_unfinished(out)) as folder:
        folder.prepared(now)
    assert json.loads((out / "run.json").read_text())["setup"]["graph"] == now.graph


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"device": "cuda"}, "device was cpu and is cuda now"),
        ({"parameters": 5}, "parameters was 1234 and is 5 now"),
        ({"batches_per_epoch": None}, "batches_per_epoch was 21 and is null now"),
    ],
)
def test_something_else_is_no_sweep_to_carry_on(tmp_path: Path, change: dict[str, object], told: str) -> None:
    out = write(tmp_path / "run", WHOLE[:1])
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    other = dataclasses.replace(sweep_of(WHOLE, SWEEP).setup, **change)
    with RunFolder.resume(load_unfinished(out)) as folder, pytest.raises(RunError) as raised:
        folder.prepared(other)
    assert str(raised.value) == f"{out}: {told}: the curves would not compare"
    assert raised.value.hint == "sweep again, or resume where it was the same"
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
