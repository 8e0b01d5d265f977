"""How updates are made reaches the sweep, the short runs, `verify` in this process and in others, and `check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.models import GOOD_WITH_VAL
from lrfinder.cli.app import app
from lrfinder.cli.process import several

OPTIONS = ("--precision", "bf16", "--accumulate", "3", "--clip-norm", "0.25", "--graph", "auto")
TRAINING = {
    "precision": "bf16",
    "accumulate": 3,
    "clip_norm": 0.25,
    "clip_value": None,
    "sweep": None,
    "scale_others": False,
    "graph": "auto",
    "strategy": "ddp",
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
    reason = stored["setup"]["graph"]
    assert reason  # of several batches no update is recorded, and on a CPU none at all
    assert f"updates not captured: {reason}" in " ".join(swept.stderr.split())
    assert (stored["setup"]["batch_size"], stored["setup"]["batches_per_epoch"]) == (48, 8)
    check_seen(folder)
    done = cli("verify", "run", "--steps", "30", "--budget", "90", "--jobs", "2", "--quiet")
    assert done.returncode in {0, 1, 5}, done.stderr
    check_seen(folder)
    (folder / "schedule.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 10}\n"
    )
    checked = cli("check", "model.py", "--config", "schedule.yaml", *OPTIONS)
    assert checked.returncode in {0, 1}, checked.stderr
    check_seen(folder)


def test_updates_that_must_be_recorded_and_cannot_be(cli, folder: Path) -> None:
    done = cli("sweep", "model.py", "--out", "run", "--graph", "on", "--device", "cpu")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "--graph on: updates can't be captured: that takes CUDA, and this is on cpu" in said
    assert "`--graph auto` goes on without" in said


TWO = """
class model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
    def forward(self, x):
        return self.head(self.body(x).tanh())

class Noting(torch.optim.SGD):
    def step(self, closure=None):
        with open("seen.txt", "a") as file:
            file.write(f"{self.param_groups[0]['lr']}\\n")
        return super().step(closure)

def optimizers(model):
    return {"body": Noting(model.body.parameters(), lr=0.0625), "head": torch.optim.SGD(model.head.parameters(), lr=1)}
"""


def test_the_optimizer_that_is_swept_stays_the_same_for_verify(cli, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL.split("def optimizer")[0].replace("def model", "def _") + TWO)
    swept = cli("sweep", "model.py", "--out", "run", "--steps", "40", "--run-steps", "10", "--sweep-optimizer", "head")
    assert swept.returncode == 0, swept.stderr
    assert "optimizer: SGD (of 2: head)" in swept.stderr
    done = cli("verify", "run", "--steps", "30", "--budget", "90", "--quiet")
    assert done.returncode in {0, 1, 5}, done.stderr
    assert set((tmp_path / "seen.txt").read_text().split()) == {"0.0625"}  # held, whatever the other did


def test_find_sweeps_the_one_that_is_named_too(cli, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL.split("def optimizer")[0].replace("def model", "def _") + TWO)
    find = ("find", "model.py", "--out", "run", "--steps", "30", "--budget", "90")
    asked = cli(*find)
    assert asked.returncode == 2
    assert "choose one: --sweep-optimizer body, --sweep-optimizer head" in asked.stderr
    done = cli(*find, "--sweep-optimizer", "head")
    assert done.returncode in {0, 5}, done.stderr
    assert set((tmp_path / "seen.txt").read_text().split()) == {"0.0625"}


def test_a_dry_run_trains_nothing_and_writes_nothing(cli, model_file: Path, tmp_path: Path) -> None:
    shown = cli("sweep", model_file, "--dry-run", "--repeats", "3")
    assert (shown.returncode, shown.stderr) == (0, "")
    for fact in ("model: 27 parameters, on cpu", "Optimizer: SGD, 20 updates an epoch", "32 x 8 float32, 32 int64",
                 "for a constant prediction", "A sweep takes 525 updates with 3 trial runs of 75"):  # fmt: skip
        assert fact in shown.stdout, fact
    answer = json.loads(cli("find", model_file, "--epochs", "3", "--dry-run", "--json").stdout)
    assert (answer["updates"], answer["setup"]["optimizer"]["name"]) == (425, "SGD")
    assert not (tmp_path / "lrfinder-runs").exists()
    both = cli("sweep", "--resume", "somewhere", "--dry-run")
    assert (both.returncode, "--dry-run can't be given with --resume" in both.stderr) == (2, True)


@pytest.mark.parametrize("command", [("sweep",), ("find", "--epochs", "9")])
def test_a_dry_run_of_several_processes_is_made_by_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(several, "_launch", lambda nproc, _: 40 + nproc)
    assert CliRunner().invoke(app, [*command, "model.py", "--dry-run", "--nproc", "2"]).exit_code == 42
