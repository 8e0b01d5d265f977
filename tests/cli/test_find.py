"""`lrfinder find`: one command from a model file to a schedule config."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

import lrfinder

MODEL = """
import torch
from torch import nn

def model():
    return nn.Linear(8, 3)

def batches():
    teacher = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(20):
        x = torch.randn(32, 8)
        yield x, (x @ teacher).argmax(1)

class Loader:
    __iter__ = staticmethod(batches)
    def __len__(self):
        return 20

train_loader, val_loader = Loader(), Loader()
loss_fn = nn.CrossEntropyLoss()
"""


@pytest.fixture(autouse=True)
def _model(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)


def test_eight_lines_that_end_in_what_to_paste(cli, tmp_path: Path) -> None:
    done = cli("find", "net.py", "--epochs", 5, "--out", "run")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) == 8
    assert lines[0].startswith("Suggested peak learning rate: ")
    assert "Not verified: 5% of the run, 5 updates" in done.stdout
    config = lrfinder.load_schedule(tmp_path / "run" / "schedule.yaml")
    assert (config.steps, f"{config.optimizer.lr:g}") == (100, lines[0].split()[4])
    names: dict = {"optimizer": lrfinder.load_schedule, "__builtins__": __builtins__}
    paste = "\n".join(line.strip() for line in lines if line.startswith("    ")).replace(".scheduler(optimizer)", "")
    exec(paste.replace('"run', f'"{tmp_path}/run'), names)  # noqa: S102 - what a user pastes
    assert names["scheduler"] == config


def test_the_same_as_the_three_commands_one_after_the_other(cli, tmp_path: Path) -> None:
    found = json.loads(cli("find", "net.py", "--steps", "1k", "--budget", 240, "--out", "a", "--json").stdout)
    swept = json.loads(cli("sweep", "net.py", "--out", "b", "--json").stdout)
    cli("recommend", "b", "--steps", 1000)
    verified = json.loads(cli("verify", "b", "--budget", 240, "--json").stdout)
    assert found["config"] == {**verified["config"], "evidence": found["config"]["evidence"]}
    assert found["picks"] == verified["picks"]
    assert found["verified"] is verified["confirmed"]
    assert found["updates"] == verified["updates"] > swept["updates"]
    assert (tmp_path / "a" / "curve.csv").read_bytes() == (tmp_path / "b" / "curve.csv").read_bytes()
    alone = cli("find", "--resume", "a", "--steps", "1e3", "--budget", 240, "--quiet")  # all is there
    assert float(alone.stdout) == found["lr"]


def test_a_search_that_was_killed_carries_on(zygote, tmp_path: Path) -> None:
    child = zygote.start("find", "net.py", "--steps", 2000, "--budget", 800, "--out", "run", cwd=tmp_path)
    deadline = time.monotonic() + 60
    told = False
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
        with contextlib.suppress(FileNotFoundError):  # the process has just begun
            told = "validation loss" in child.stderr
    child.send_signal(2)
    assert child.wait() == 130
    assert "lrfinder find --resume run" in child.stdout
    status, child = zygote.run("find", "--resume", "run", "--steps", 2000, "--budget", 800, cwd=tmp_path)
    assert status in {0, 5}
    assert "scheduler = load_schedule" in child.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a MODEL"),
        (["net.py"], "add --steps T or --epochs E"),
        (["net.py", "--steps", "1x"], "'1x' is not a whole number; 10000, 1e4 and 10k are"),
        (["net.py", "--steps", "10", "--epochs", "1"], "can't both be given"),
        (["net.py", "--epochs", "nan"], "epochs must be above 0"),
        (["net.py", "--steps", "10", "--schedule", "cosin"], "cosine"),
        (
            ["net.py", "--steps", "1000", "--budget", "much"],
            "nor a share of the run, nor a time",
        ),
        (["net.py", "--steps", "10", "--resume", "run"], "name a MODEL"),
    ],
)
def test_what_can_t_be_meant_is_2_before_anything_is_measured(cli, tmp_path: Path, words: list[str], said: str) -> None:
    done = cli("find", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "lrfinder-runs").exists()


def test_where_nothing_can_be_learned_it_is_5(cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL.replace("nn.CrossEntropyLoss()", "lambda out, target: out.sum() * 0.0 + 2"))
    done = cli("find", "net.py", "--epochs", 5, "--budget", "0", "--out", "run")
    assert done.returncode == 5
    assert "No learning rate can be suggested: " in done.stdout
    assert not (tmp_path / "run" / "schedule.yaml").exists()


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = lrfinder.find("net.py", epochs=5, out="run")
    assert found.lr == found.schedule.optimizer.lr
    assert found.verification is None
    assert "can't tell the best rates apart" in found.unverified
    found.save("mine.json")
    assert lrfinder.load_schedule("mine.json") == found.schedule
    assert capfd.readouterr() == ("", "")


def test_with_several_param_groups_it_says_whose_rate_it_is(cli, tmp_path: Path) -> None:
    groups = "[{'params': params[:1], 'lr': 0.1 * lr}, {'params': params[1:], 'lr': lr}]"
    (tmp_path / "net.py").write_text(
        MODEL + f"\ndef optimizer(params, lr):\n    params = [*params]\n    return torch.optim.SGD({groups}, lr=lr)\n"
    )
    assert "the param groups train at 0.1, 1 times this rate." in cli("sweep", "net.py", "--out", "run").stdout


def test_epochs_that_can_t_be_counted_are_told_with_the_way_on(cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        MODEL.replace("train_loader, val_loader = Loader(), Loader()", "train_loader = batches")
    )
    done = cli("find", "net.py", "--epochs", 5, "--out", "run")
    assert done.returncode == 2
    assert "the sweep is kept: lrfinder find --resume run --steps T" in done.stderr
    assert cli("find", "--resume", "run", "--steps", 100, "--quiet").returncode == 0
