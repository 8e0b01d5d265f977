"""A recorded run folder of every format version is read, resumed or refused, and recommended from, for ever.

Each was written by the release of its time. The expected numbers are read from the files by pandas and json.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

import lrfinder
from helpers.run_folders import EXACT
from lrfinder.errors import RunError
from lrfinder.store import load_run, load_source, load_unfinished
from lrfinder.store.layout import VERSION
from lrfinder.store.migrations import MIGRATIONS, migrate

GOLDEN = sorted((Path(__file__).parent / "data").glob("run-v*"), key=lambda folder: folder.name)


def document_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_every_version_has_a_run_folder_and_a_way_to_the_next() -> None:
    assert {document_of(folder)["version"] for folder in GOLDEN} == set(range(1, VERSION + 1)), "record one: see data/"
    assert set(MIGRATIONS) == set(range(1, VERSION))


def test_a_folder_is_named_after_its_version() -> None:
    for folder in GOLDEN:
        assert folder.name.startswith(f"run-v{document_of(folder)['version']}-")


def rows(file: Path) -> dict[int, pd.DataFrame]:
    return dict(list(pd.read_csv(file, converters=EXACT).groupby("repeat"))) if file.exists() else {}


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_it_is_read_as_its_files_say(folder: Path) -> None:
    document, read = document_of(folder), load_run(folder)
    for traces, key, file in (
        (read.traces, "repeats", "curve.csv"),
        (read.short_sweeps, "short_sweeps", "short-curve.csv"),
    ):
        curves = rows(folder / file)
        assert [trace.repeat for trace in traces] == sorted(curves)
        for trace, ending in zip(traces, document.get(key, []), strict=True):
            assert list(trace.lrs) == curves[trace.repeat]["lr"].to_list()
            assert list(trace.losses) == curves[trace.repeat]["loss"].to_list()
            for name in ("repeat", "seed", "stop", "updates", "initial_loss"):
                assert getattr(trace, name) == ending[name]
    log = folder / "runs.jsonl"
    runs = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert [(run.plan.lr, run.plan.steps, run.loss, run.updates) for run in read.runs] == [
        (run["plan"]["lr"], run["plan"]["steps"], run["loss"], run["updates"]) for run in runs
    ]
    parts = [*document["repeats"], *document.get("short_sweeps", []), *runs]
    assert read.updates == sum(part["updates"] for part in parts)
    assert read.settings.steps == document["settings"]["steps"]
    assert load_source(folder).reference == document.get("reference", document.get("source", {}).get("reference"))


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_a_rate_is_recommended_from_it(folder: Path) -> None:
    advice = lrfinder.recommend(folder, steps=1000)
    mean = pd.read_csv(folder / "curve.csv", converters=EXACT).groupby("step")[["lr", "loss"]].mean()
    best = mean.loc[mean["loss"].idxmin(), "lr"]
    assert mean["lr"].min() < advice.lr <= 10 ** (math.log10(best) + 0.5)  # it trains, and is not past the bottom
    assert max(advice.schedule.lrs()) <= advice.lr


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_only_a_run_of_this_version_is_resumed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "run")
    if document_of(folder)["version"] == VERSION:
        assert load_unfinished(copy).traces == load_run(copy).traces
    else:
        with pytest.raises(RunError, match="older lrfinder"):
            load_unfinished(copy)


def test_a_migration_changes_nothing_of_what_it_is_given() -> None:
    for folder in GOLDEN:
        given = document_of(folder)
        assert migrate(given)["version"] == VERSION
        assert given == document_of(folder)
