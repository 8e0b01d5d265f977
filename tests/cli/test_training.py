"""How updates are made reaches the sweep, the short runs, `verify` in this process and in others, and `check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import GOOD_WITH_VAL

OPTIONS = ("--precision", "bf16", "--accumulate", "3", "--clip-norm", "0.25")
TRAINING = {
    "precision": "bf16",
    "accumulate": 3,
    "clip_norm": 0.25,
    "clip_value": None,
    "sweep": None,
    "scale_others": False,
}

# Notes each loss that is computed for an update, and each update's gradient.
NOTING = """
import math
class Noting(torch.optim.SGD):
    def step(self, closure=None):
        norm = math.sqrt(sum(p.grad.square().sum().item() for group in self.param_groups for p in group["params"]))
        with open("seen.txt", "a") as file:
            file.write(f"update {norm:.4f}\\n")
        return super().step(closure)

def optimizer(params, lr):
    return Noting(params, lr=lr, momentum=0.9)

def training_step(net, batch):
    x, y = batch
    output = net(x)
    if output.requires_grad:
        with open("seen.txt", "a") as file:
            file.write(f"batch {output.dtype}\\n")
    return nn.functional.cross_entropy(output, y)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL + NOTING)
    return tmp_path


def check_seen(folder: Path) -> None:
    """Check that each update was made of three batches under autocast, and clipped."""
    lines = (folder / "seen.txt").read_text().splitlines()
    (folder / "seen.txt").unlink()
    updates = [float(line.split()[1]) for line in lines if line.startswith("update")]
    batches = [line for line in lines if line.startswith("batch")]
    assert set(batches) == {"batch torch.bfloat16"}
    over = len(batches) - 3 * len(updates)
    assert 0 <= over <= 30  # three follow the last update of a repeat, and of a run that diverged
    assert len(updates) >= 10
    assert max(updates) == pytest.approx(0.25, rel=1e-3)


def test_every_command_trains_as_the_options_of_the_sweep_say(cli, folder: Path) -> None:
    swept = cli("sweep", "model.py", "--out", "run", "--steps", "30", "--run-steps", "10", *OPTIONS, "--json")
    assert swept.returncode == 0, swept.stderr
    document = json.loads(swept.stdout)
    assert {part["skipped"] for part in document["repeats"] + document["runs"]} == {0}
    stored = json.loads((folder / "run" / "run.json").read_text())
    assert stored["source"]["training"] == TRAINING
    assert (stored["setup"]["batch_size"], stored["setup"]["batches_per_epoch"]) == (48, 8)
    check_seen(folder)
    for jobs in (1, 2):
        done = cli("verify", "run", "--steps", "30", "--budget", "90", "--jobs", jobs, "--seed", jobs, "--quiet")
        assert done.returncode in {0, 1, 5}, done.stderr
        check_seen(folder)
    (folder / "schedule.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 10}\n"
    )
    checked = cli("check", "model.py", "--config", "schedule.yaml", *OPTIONS)
    assert checked.returncode in {0, 1}, checked.stderr
    check_seen(folder)


def test_skipped_updates_are_told(cli, folder: Path) -> None:
    file = folder / "model.py"
    file.write_text(file.read_text().replace("return nn.functional.cross_entropy(output, y)", (
        "return 100 * nn.functional.cross_entropy(output, y)"
    )))  # fmt: skip
    swept = cli("sweep", "model.py", "--mode", "continuous", "--steps", "30", "--precision", "fp16", "--json")
    assert swept.returncode in {0, 5}, swept.stderr
    repeats = json.loads(swept.stdout)["repeats"]
    assert all(0 < repeat["skipped"] <= 20 for repeat in repeats)
    assert f", {repeats[0]['skipped']} skipped by the loss scaler" in swept.stderr
