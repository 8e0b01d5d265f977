"""What the commands say of a run that goes on from a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

MODEL = """
import torch
from torch import nn

def model():
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

class Loader:
    def __iter__(self):
        teacher = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        for _ in range(12):
            x = torch.randn(32, 8)
            yield x, (x @ teacher).argmax(1)
    def __len__(self):
        return 12

train_loader = Loader()
loss_fn = nn.CrossEntropyLoss()

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model file, and a checkpoint of it after 12 updates at a rate that is far too low."""
    (tmp_path / "net.py").write_text(MODEL)
    names: dict = {}
    exec(MODEL, names)  # noqa: S102 - the model file
    torch.manual_seed(1)
    model = names["model"]()
    optimizer = names["optimizer"](model.parameters(), 0.01)
    for inputs, target in names["train_loader"]:
        for group in optimizer.param_groups:
            group["lr"] = 0.001
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), target).backward()
        optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 12}, tmp_path / "ck.pt")
    return tmp_path


SWEEP = ("sweep", "net.py", "--from", "ck.pt", "--out", "run", "--repeats", 1, "--run-steps", 20, "--steps", 60)


def test_a_run_that_goes_on_is_told_whether_to_warm_up_again(cli, folder: Path) -> None:
    swept = cli(*SWEEP, "--min-lr", 1e-4, "--max-lr", 10)
    assert (
        "The run goes on from ck.pt after 12 updates, with its optimizer state. It stopped at 0.001; warm up"
        in swept.stdout
    )
    runs = [json.loads(line) for line in (folder / "run" / "runs.jsonl").read_text().splitlines()]
    start = runs[0]["initial_loss"]
    runs = sorted(
        ({"lr": run["plan"]["lr"], "loss": min(run["loss"] or 9.0, run["initial_loss"])} for run in runs),
        key=lambda run: run["lr"],
    )
    rates, losses = np.log10([run["lr"] for run in runs]), [run["loss"] for run in runs]
    said = json.loads(cli("recommend", "run", "--steps", 60, "--against", 0.001, "--json").stdout)
    at = np.interp(np.log10([0.001, said["config"]["optimizer"]["lr"]]), rates, losses)
    assert said["against"][0]["measured"]
    assert said["against"][0]["worse"] == pytest.approx((at[0] - at[1]) / (start - min(losses)), rel=1e-6)
    assert said["start"] in said["why"]
    verified = cli("verify", "run", "--budget", 240, "--json")
    document = json.loads(verified.stdout)
    assert any(trial["plan"]["lr"] == 0.001 for trial in document["trials"])
    assert document["worse"] > 0.1
    assert " The rate at which it stopped, 0.001, loses " in document["why"]
    torch.save(torch.load(folder / "ck.pt"), folder / "other.pt")
    (folder / "other.pt").replace(folder / "ck.pt")
    again = cli("verify", "run", "--budget", 480)
    assert (again.returncode, "ck.pt has changed since the sweep began" in again.stderr) == (2, True)
    assert cli("sweep", "--resume", "run").returncode == 2


def test_check_and_find_begin_there_too(cli, folder: Path) -> None:
    found = json.loads(cli("find", "net.py", "--from", "ck.pt", "--steps", 60, "--out", "run", "--json").stdout)
    assert found["start"].startswith("The run goes on from ck.pt after 12 updates")
    assert json.loads((folder / "run" / "run.json").read_text())["setup"]["start"]["step"] == 12
    checked = cli("check", "net.py", "--config", "run/schedule.yaml", "--from", "ck.pt")
    assert checked.returncode == 0
    checked = cli("check", "net.py", "--config", "run/schedule.yaml", "--from", "net.py")
    assert (checked.returncode, "net.py: torch can't read it" in checked.stderr) == (2, True)


def test_what_isn_t_there_is_told_before_torch_is_loaded(cli, folder: Path) -> None:
    done = cli("sweep", "net.py", "--from", "gone.pt")
    assert (done.returncode, "no such checkpoint: 'gone.pt'" in done.stderr) == (2, True)
    assert not (folder / "lrfinder-runs").exists()
