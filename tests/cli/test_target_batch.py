"""`verify --critical-batch` and `recommend --target-batch`, as people run them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lrfinder
from helpers.models import GOOD_WITH_VAL
from helpers.zygote import Zygote
from lrfinder.errors import RunError, UsageError

EPOCHS, PER_EPOCH = 10, 24  # updates of 16 samples: the run has 240
Run = Callable[..., str]


@pytest.fixture(scope="module")
def start(zygote: Zygote) -> Run:
    """Run a command in a folder, and return what it printed."""

    def run(folder: Path, *args: object, status: int | tuple[int, ...] = 0, shown: str = "stdout") -> str:
        code, child = zygote.run(*args, cwd=folder, timeout=200)
        assert code in ((status,) if isinstance(status, int) else status), child.stderr
        return str(getattr(child, shown))

    return run


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, start: Run) -> tuple[Path, str]:
    """A folder with a run whose critical batch was measured, and what that command printed."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "model.py").write_text(GOOD_WITH_VAL)
    start(folder, "sweep", "model.py", "--out", "run", "--run-steps", 15, "--steps", 50, "--quiet")
    start(folder, "recommend", "run", "--epochs", EPOCHS, "--quiet")
    printed = start(folder, "verify", "run", "--budget", 240, "--critical-batch", status=(0, 1))
    return folder, printed


@pytest.fixture
def folder(measured: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(measured[0], tmp_path / "work"))


def files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir()}


def test_verify_says_the_critical_batch_and_keeps_what_it_was_made_of(measured: tuple[Path, str]) -> None:
    folder, printed = measured
    assert "The critical batch is about " in " ".join(printed.split())
    assert f"It took {15 + 4 * 32} updates more." in " ".join(printed.split())
    kept = json.loads((folder / "run" / "gradient-noise.json").read_text())
    verified = json.loads((folder / "run" / "verification.json").read_text())
    assert kept["lr"] == verified["config"]["optimizer"]["lr"]
    assert (kept["batch"], kept["updates"], kept["each"], len(kept["means"])) == (16, 15, 32, 4)
    assert all(0 < mean < square for mean, square in zip(kept["means"], kept["squares"], strict=True))


def test_what_was_measured_is_not_measured_again(folder: Path, start: Run) -> None:
    before = files(folder / "run")
    again = json.loads(start(folder, "verify", "run", "--budget", 240, "--critical-batch", "--json", status=(0, 1)))
    low, middle, high = (again["critical_batch"][name] for name in ("low", "samples", "high"))
    assert low < middle
    assert high is None or middle < high
    assert files(folder / "run")["gradient-noise.json"] == before["gradient-noise.json"]
    assert again["updates"] == json.loads(before["verification.json"])["updates"], "nothing was trained"


def test_another_batch_gets_its_rate_its_doubt_and_as_many_epochs(folder: Path, start: Run) -> None:
    before = files(folder / "run")
    args = ("recommend", "run", "--epochs", EPOCHS, "--target-batch", 64)
    shown = " ".join(start(folder, *args, "--write", "64.yaml").split())
    said = json.loads(start(folder, *args, "--json"))
    rate, pick = said["target_batch"], said["picks"][0]
    verified = json.loads(before["verification.json"])["config"]["optimizer"]["lr"]
    critical = rate["critical"]["samples"]
    assert rate["factor"] == pytest.approx((1 + critical / 16) / (1 + critical / 64)), "the law of SGD"
    assert rate["lr"] == pytest.approx(verified * rate["factor"])
    assert rate["low"] < rate["factor"] < rate["high"]
    assert (pick["rule"], pick["status"]) == ("another batch", "uncertain")
    assert pick["low"] < pick["lr"] < pick["high"]
    assert "Suggested peak learning rate for 64 samples an update: " in shown
    assert "worked out, not measured" in shown
    config = lrfinder.load_schedule(folder / "64.yaml")
    assert config.optimizer.lr == pytest.approx(rate["lr"], rel=0.01)
    assert config.steps == EPOCHS * PER_EPOCH // 4
    assert (config.evidence.run, config.evidence.band, config.evidence.status) == (None, None, "uncertain")
    assert files(folder / "run") == before, "the folder is of the swept batch"


def test_a_length_in_updates_is_that_of_the_other_batch(folder: Path, start: Run) -> None:
    args = ("--steps", 100, "--warmup", 7, "--target-batch", 32, "--write", "32.yaml", "--quiet")
    start(folder, "recommend", "run", *args)
    schedule = lrfinder.load_schedule(folder / "32.yaml").schedule
    assert (schedule.steps, schedule.warmup) == (100, 7)


def test_a_run_of_unknown_length_keeps_its_shape(folder: Path, start: Run) -> None:
    start(folder, "recommend", "run", "--open-ended", "--write", "own.yaml", "--quiet")
    start(folder, "recommend", "run", "--open-ended", "--target-batch", 32, "--write", "32.yaml", "--quiet")
    own, other = (lrfinder.load_schedule(folder / name) for name in ("own.yaml", "32.yaml"))
    assert other.schedule == own.schedule
    assert other.optimizer.lr > own.optimizer.lr


def test_python_says_the_same(folder: Path, start: Run) -> None:
    found = lrfinder.recommend(folder / "run", epochs=EPOCHS, target_batch=64)
    args = ("recommend", "run", "--epochs", EPOCHS, "--target-batch", 64, "--unverified", "--json")
    said = json.loads(start(folder, *args))
    assert found.status == "uncertain"
    assert found.batch.factor == said["target_batch"]["factor"]
    assert found.lr == said["config"]["optimizer"]["lr"]
    assert found.schedule.as_data() == said["config"]
    assert lrfinder.recommend(folder / "run", epochs=EPOCHS).batch is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--target-batch", 65), "the target batch must be from 4 to 64, got 65"),
        (("--target-batch", 3), "the target batch must be from 4 to 64, got 3"),
        (("--target-batch", 0), "--target-batch"),
    ],
)
def test_a_batch_that_no_law_was_compared_with_is_refused(folder: Path, start: Run, args: Any, said: str) -> None:
    told = start(folder, "recommend", "run", "--epochs", EPOCHS, *args, status=2, shown="stderr")
    assert said in " ".join(told.split())


def test_without_a_measurement_it_says_what_measures_it(folder: Path, start: Run) -> None:
    (folder / "run" / "gradient-noise.json").unlink()
    told = start(folder, "recommend", "run", "--target-batch", 32, status=2, shown="stderr")
    assert "lrfinder verify RUN --critical-batch" in " ".join(told.split())


def test_a_damaged_measurement_is_named(folder: Path) -> None:
    file = folder / "run" / "gradient-noise.json"
    file.write_text(file.read_text().replace('"each": 32', '"each": 1'))
    with pytest.raises(RunError, match=r"gradient-noise\.json: "):
        lrfinder.recommend(folder / "run", target_batch=32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizer", "RMSprop"), "best rate of RMSprop follows the batch isn't known"),
        (("--clip-norm", 1.0), "for gradients that aren't clipped"),
    ],
)
def test_what_no_law_is_for_is_refused_before_any_trial(folder: Path, start: Run, options: Any, said: str) -> None:
    model = folder / "bare.py"
    model.write_text(GOOD_WITH_VAL.partition("def optimizer")[0])
    fast = ("--out", "other", "--run-steps", 15, "--steps", 50, "--quiet")
    start(folder, "sweep", "bare.py", "--optimizer", "SGD", *options, *fast)
    told = start(folder, "verify", "other", "--epochs", EPOCHS, "--critical-batch", status=2, shown="stderr")
    assert said in " ".join(told.split())
    assert not (folder / "other" / "trials.jsonl").exists()


def test_ctrl_c_while_it_is_measured_keeps_the_verification(folder: Path, start: Run) -> None:
    (folder / "run" / "gradient-noise.json").unlink()
    before = files(folder / "run")
    calls = (
        "    CALLS.append(1)\n    if len(CALLS) == 60:\n        os.kill(os.getpid(), signal.SIGINT)\n    x, y = batch\n"
    )
    text = "import os, signal\nCALLS = []\n" + GOOD_WITH_VAL.replace("    x, y = batch\n", calls)
    (folder / "interrupted.py").write_text(text)
    args = ("verify", "run", "--budget", 240, "--critical-batch", "--model", "interrupted.py")
    shown = " ".join(start(folder, *args, status=130).split())
    assert "The peak rate is " in shown
    assert "The critical batch was not measured: the run was cut short." in shown
    assert files(folder / "run").keys() == before.keys()


def test_on_ray_it_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="not on Ray"):
        lrfinder.verify("run", on="ray", critical_batch=True)
