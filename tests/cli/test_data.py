"""Metrics, cached batches, slow loaders and memory that runs out, as people meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lrfinder
from lrfinder.errors import UsageError

SHORT = ("--mode", "continuous", "--steps", 60, "--min-lr", 1e-4, "--max-lr", 10)
VALIDATION = """
def val_loader():
    teacher = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    return [(x, (x @ teacher).argmax(1))]
"""


def run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_metric_and_cached_batches_are_recorded_and_told(cli, model_file: Path, tmp_path: Path) -> None:
    model_file.write_text(model_file.read_text() + VALIDATION)
    done = cli("sweep", model_file, *SHORT, "--metric", "val", "--cache-batches", 4, "--out", "run", "--quiet")
    assert done.returncode == 0, done.stderr
    stored = run_json(tmp_path / "run")
    assert (stored["settings"]["metric"], stored["settings"]["cache_batches"]) == ("val", 4)
    assert stored["setup"]["cached_batches"] == 4
    advice = cli("recommend", "run", "--steps", 200, "--details")
    assert advice.returncode == 0, advice.stderr
    told = " ".join(advice.stdout.split())
    assert "the validation loss fell" in told
    assert "measured on 4 cached batches" in told
    assert "on 4 cached batches, cpu, validation loss" in told  # the plot's title


def test_the_validation_loss_without_a_val_loader_is_3(cli, model_file: Path, tmp_path: Path) -> None:
    done = cli("sweep", model_file, "--metric", "val", "--out", "run")
    assert done.returncode == 3
    assert "model.py has no val_loader" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--cache-batches", 0, "cache_batches must be from 1 to 1000000, got 0"),
        ("--loader-timeout", "nan", "loader_timeout must be a finite number of seconds"),
        ("--loader-timeout", -1, "loader_timeout must be a finite number of seconds"),
        ("--metric", "test", "train"),
    ],
)
def test_what_can_t_be_meant_is_2(cli, model_file: Path, option: str, value: object, told: str) -> None:
    done = cli("sweep", model_file, option, value)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_a_loader_that_hangs_is_4_and_what_was_measured_is_kept(cli, model_file: Path, tmp_path: Path) -> None:
    text = model_file.read_text().replace(
        "            yield x, (x @ teacher).argmax(1)\n",
        "            yield x, (x @ teacher).argmax(1)\n        import time; time.sleep(60)\n",
    )
    model_file.write_text(text)
    done = cli("sweep", model_file, *SHORT, "--loader-timeout", 0.5, "--out", "run")
    assert done.returncode == 4
    assert "lrfinder: batch 20 of train_loader took longer than 0.5 s" in done.stderr
    assert "--loader-timeout" in done.stderr
    assert len((tmp_path / "run" / "curve.csv").read_text().splitlines()) == 20
    assert run_json(tmp_path / "run")["source"]["loader_timeout"] == 0.5


def test_memory_that_runs_out_is_warned_of_with_batch_norm(cli, model_file: Path, tmp_path: Path) -> None:
    text = model_file.read_text().replace(
        "return nn.Linear(8, 3)", "return nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3))"
    )
    text = text.replace(
        "loss_fn = nn.CrossEntropyLoss()",
        "def loss_fn(output, target):\n    if len(output) > 16:\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')\n"
        "    return nn.functional.cross_entropy(output, target)",
    )
    model_file.write_text(text)
    done = cli("sweep", model_file, *SHORT, "--out", "run", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    assert "lrfinder: warning: memory ran out, so each batch was computed in 2 parts" in done.stderr
    assert "BatchNorm saw 16 samples at a time" in done.stderr
    assert {row["micro_batches"] for row in json.loads(done.stdout)["repeats"]} == {2}
    assert {row["micro_batches"] for row in run_json(tmp_path / "run")["repeats"]} == {2}


def test_from_python_the_same_keywords(model_file: Path) -> None:
    result = lrfinder.sweep(
        model_file,
        mode="continuous",
        steps=20,
        metric="probe",
        cache_batches=2,
        loader_timeout=30.0,
        device="cpu",
    )
    assert (result.settings.metric, result.setup.cached_batches) == ("probe", 2)
    for wrong in ({"metric": "test"}, {"cache_batches": 0}, {"loader_timeout": float("inf")}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            lrfinder.sweep(model_file, **wrong)
