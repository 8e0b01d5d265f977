"""`lrfinder check` beside its own sweep: the rates that a run logged, and an earlier sweep as the baseline."""

from __future__ import annotations

import json
from pathlib import Path

from lrfinder.config import load_schedule

CONFIG = "version: 1\noptimizer: {name: SGD, lr: 0.01}\nschedule: {name: linear, steps: 50}\n"


def test_logged_rates_and_their_statuses(cli, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG)
    lrs = load_schedule(tmp_path / "schedule.yaml").lrs()
    (tmp_path / "good.csv").write_text("\n".join(["step,lr", *(f"{t},{lr}" for t, lr in enumerate(lrs))]))
    (tmp_path / "bad.csv").write_text("\n".join(["step,lr", *(f"{t},0.01" for t in range(50))]))
    good = cli("check", "--config", "schedule.yaml", "--log", "good.csv")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == "good.csv: as configured: the 50 logged rates, of steps 0 to 49, are the config's.\n"
    bad = cli("check", "--config", "schedule.yaml", "--log", "bad.csv", "--json", "--junit", "junit.xml")
    answer = json.loads(bad.stdout)
    assert (bad.returncode, answer["sane"], answer["logged"], answer["log"]) == (1, False, 0.01, "bad.csv")
    assert "bad.csv" in (tmp_path / "junit.xml").read_text()
    assert cli("check", "--config", "schedule.yaml", "--log", "none.csv").returncode == 2
    both = cli("check", "model.py", "--config", "schedule.yaml", "--log", "good.csv")
    assert (both.returncode, "MODEL can't be given with --log" in both.stderr) == (2, True)
    option = cli("check", "--config", "schedule.yaml", "--log", "good.csv", "--clip-norm", "3")
    assert (option.returncode, "--clip-norm can't be given with --log" in option.stderr) == (2, True)
    renamed = cli("check", "--config", "s.yaml", "--log", "r.csv", "--sweep-optimizer", "head")
    assert (renamed.returncode, "--sweep-optimizer can't be given with --log" in renamed.stderr) == (2, True)
    neither = cli("check", "--config", "schedule.yaml")
    assert (neither.returncode, "MODEL is missing" in neither.stderr) == (2, True)


def test_a_band_that_moved_since_the_baseline(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG.replace("0.01", "0.3"))
    assert cli("sweep", model_file, "--out", "before", "--quiet").returncode == 0
    check = ("check", model_file, "--config", "schedule.yaml", "--json")
    alone = json.loads(cli(*check).stdout)
    assert (alone["sane"], alone["shift"]) == (True, None)
    same = cli(*check, "--baseline", "before/run.json", "--seed", "5")
    assert (same.returncode, json.loads(same.stdout)["shift"]["moved"]) == (0, False)
    # To gradient descent a loss a hundred times as large is a rate a hundred times as large.
    loss = "loss_fn = lambda output, target: 100 * nn.CrossEntropyLoss()(output, target)"
    model_file.write_text(model_file.read_text().replace("loss_fn = nn.CrossEntropyLoss()", loss))
    moved = cli(*check, "--baseline", "before")
    answer = json.loads(moved.stdout)
    assert (moved.returncode, answer["sane"], answer["shift"]["moved"]) == (1, False, True)
    assert "the trainable band has moved since before: its lower end from" in answer["why"]
    assert [round(it["decades"]) for it in answer["shift"]["shifts"]] == [-2, -2]
    missing = cli(*check, "--baseline", "nowhere")
    assert (missing.returncode, json.loads(missing.stdout)["error"]["kind"]) == (2, "RunError")


def test_shuffled_labels_and_a_rate_changed_by_hand_are_told_from_the_baseline(
    cli, model_file: Path, tmp_path: Path
) -> None:
    assert cli("sweep", model_file, "--out", "before", "--quiet").returncode == 0
    assert cli("recommend", "before", "--steps", "50", "--write", "found.yaml", "--quiet").returncode == 0
    check = ("check", model_file, "--config", "found.yaml", "--baseline", "before", "--json")
    assert cli(*check).returncode == 0
    found = load_schedule(tmp_path / "found.yaml").optimizer.lr
    right = (tmp_path / "found.yaml").read_text()
    for factor, side in ((10, "above"), (0.1, "below")):
        (tmp_path / "found.yaml").write_text(right.replace(f"lr: {found}", f"lr: {factor * found:g}"))
        off = cli(*check)
        assert (off.returncode, f"is 10 times {side} the" in json.loads(off.stdout)["why"]) == (1, True), off.stdout
    (tmp_path / "found.yaml").write_text(right)
    model_file.write_text(model_file.read_text().replace(".argmax(1)", ".argmax(1)[torch.randperm(32)]"))
    shuffled = cli(*check)
    answer = json.loads(shuffled.stdout)
    assert (shuffled.returncode, answer["shift"]["moved"]) == (1, True), shuffled.stdout
    assert "nothing is learned any more: in before the best trial run ended" in answer["why"]
    assert "in 3 sweeps with other seeds none ended more than" in answer["why"]
    assert "do the targets belong to the inputs?" in answer["hint"]


def test_metric_and_cached_batches_are_the_sweep_s(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG.replace("0.01", "0.3"))
    check = ("check", model_file, "--config", "schedule.yaml", "--quiet")
    none = cli(*check, "--metric", "val")
    assert (none.returncode, "val_loader" in none.stderr) == (3, True)
    assert cli(*check, "--metric", "probe", "--cache-batches", "4").returncode == 0
    assert cli(*check, "--cache-batches", "0").returncode == 2
