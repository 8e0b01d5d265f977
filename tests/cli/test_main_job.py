"""The main job through the real command line: init, sweep, recommend, show, train, check."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch

import lrfinder

SWEEP = ("--steps", "60", "--repeats", "2")


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_init_says_the_next_command_as_a_shell_takes_it(cli, tmp_path: Path) -> None:
    assert shlex.split(cli("init", "my model.py").stdout)[-5:] == ["lrfinder", "find", "my model.py", "--epochs", "10"]
    assert (tmp_path / "my model.py").is_file()


def test_from_nothing_to_a_training_run(cli, tmp_path: Path) -> None:
    """`init` gives a file that runs as it is; each command's output is what the next one needs."""
    assert cli("init").returncode == 0
    before = files_in(tmp_path)
    swept = cli("sweep", "model.py", "--json")
    assert swept.returncode == 0, swept.stderr
    document = json.loads(swept.stdout)
    run = tmp_path / document["run"]
    assert run.parent.name == "lrfinder-runs"
    names = ("run.json", "curve.csv", "runs.jsonl", "curve.png", "cost.json")
    written = {f"lrfinder-runs/{run.name}/{name}" for name in names}
    assert files_in(tmp_path) - before == written | {"lrfinder-runs", f"lrfinder-runs/{run.name}"}

    rows = list(csv.DictReader(io.StringIO((run / "curve.csv").read_text())))
    assert list(rows[0]) == ["repeat", "step", "lr", "loss"]
    assert len(rows) == sum(repeat["points"] for repeat in document["repeats"])
    assert document["updates"] >= len(rows)

    advised = cli("recommend", "--steps", "200", "--write", "schedule.toml", "--json")
    assert advised.returncode == 0, advised.stderr
    advice = json.loads(advised.stdout)
    assert advice["updates"] == document["updates"]
    assert advice["picks"][0]["status"] in {"confident", "uncertain"}
    assert advice["config"]["optimizer"]["lr"] == pytest.approx(advice["picks"][0]["lr"], rel=0.005)
    assert tomllib.loads((tmp_path / "schedule.toml").read_text()) == advice["config"]
    assert (run / "recommendation.json").is_file()

    lrs = json.loads(cli("schedule", "show", "schedule.toml", "--json").stdout)["lrs"]
    assert len(lrs) == 200
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    scheduler = lrfinder.load_schedule(tmp_path / "schedule.toml").scheduler(optimizer)
    used = []
    for _ in range(200):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used == lrs


def test_people_read_the_rate_first_and_the_rules_on_request(cli, model_file: Path) -> None:
    swept = cli("sweep", model_file, *SWEEP, "--out", "run")
    assert swept.returncode == 0, swept.stderr
    for text in ("Suggested peak learning rate: ", "Picture: run/curve.png", "lrfinder recommend run --epochs E"):
        assert text in swept.stdout
    assert "repeat 2 of 2" in swept.stderr
    advised = cli("recommend", "run", "--epochs", "3")
    lines = advised.stdout.splitlines()
    assert re.fullmatch(r"Suggested peak learning rate: \S+   \(\S+ to \S+, confident\)", lines[0])
    assert re.fullmatch(r"Trains between \S+ and \S+; SGD's default is 0.001\.", lines[1])
    assert "from lrfinder import load_schedule" in advised.stdout
    detailed = cli("recommend", "run", "--epochs", "3", "--details")
    for text in ("steepest", "lowest", "valley", "Trainable band"):
        assert text in detailed.stdout
        assert text not in advised.stdout
    assert 'load_schedule("run/schedule.yaml")' in advised.stdout
    assert advised.stderr == ""
    assert "\x1b" not in swept.stdout + swept.stderr + advised.stdout  # no colors off a terminal


def test_quiet_prints_results_alone(cli, model_file: Path) -> None:
    swept = cli("sweep", model_file, *SWEEP, "--out", "run", "--quiet")
    assert swept.stderr == ""
    rate = float(swept.stdout)  # and nothing else
    recommended = cli("recommend", "run", "--quiet")
    assert (recommended.stderr, float(recommended.stdout)) == ("", rate)


def test_json_is_alone_on_standard_output_whatever_the_file_prints(cli, model_file: Path) -> None:
    model_file.write_text("print('hello from the model file')\n" + model_file.read_text())
    swept = cli("sweep", model_file, *SWEEP, "--out", "run", "--json")
    assert json.loads(swept.stdout)["run"] == "run"
    assert "hello from the model file" in swept.stderr


def test_the_same_seed_gives_the_same_curve(cli, model_file: Path, tmp_path: Path) -> None:
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert cli("sweep", model_file, *SWEEP, "--seed", seed, "--out", out, "--quiet").returncode == 0
    a, b, c = ((tmp_path / out / "curve.csv").read_bytes() for out in "abc")
    assert a == b
    assert a != c


def test_options_reach_the_sweep(cli, model_file: Path, tmp_path: Path) -> None:
    model_file.write_text(model_file.read_text().split("def optimizer")[0])
    options = ("--min-lr", "0.001", "--max-lr", "0.1", "--steps", "12", "--repeats", "1", "--spacing", "linear")
    chosen = ("--optimizer", "sgd", "--momentum", "0.8", "--weight-decay", "0.01")
    done = cli("sweep", model_file, *options, *chosen, "--device", "cpu", "--out", "run", "--quiet")
    assert done.returncode in {0, 5}, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["setup"]["optimizer"]["name"] == "SGD"
    assert run["setup"]["optimizer"]["settings"]["momentum"] == 0.8
    assert run["setup"]["optimizer"]["chosen_by"] == "option"
    rates = [float(row["lr"]) for row in csv.DictReader(io.StringIO((tmp_path / "run" / "curve.csv").read_text()))]
    assert rates == pytest.approx([0.001 + 0.099 * i / 11 for i in range(12)])


def test_references_to_a_function_and_to_a_module(cli, tmp_path: Path, model_file: Path) -> None:
    body = "\n".join(f"    {line}" for line in model_file.read_text().splitlines())
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "net.py").write_text(f"def build():\n{body}\n    return locals()\n")
    for reference in ("package/net.py:build", "package.net:build"):
        done = cli("sweep", reference, *SWEEP, "--json")
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"lrfinder-runs/net-build-[\d-]+", json.loads(done.stdout)["run"])


CONFIG = "version: 1\noptimizer: {{name: SGD, lr: {lr}}}\nschedule: {{name: constant, steps: 10}}\n"


@pytest.mark.parametrize(("lr", "status", "word"), [(0.1, 0, "sane"), (1e-6, 1, "below"), (1e4, 1, "above")])
def test_check_says_whether_a_rate_is_sane(
    cli, model_file: Path, tmp_path: Path, lr: float, status: int, word: str
) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG.format(lr=lr))
    before = files_in(tmp_path)
    done = cli("check", model_file, "--config", "schedule.yaml", "--json")
    assert done.returncode == status, done.stderr + done.stdout
    document = json.loads(done.stdout)
    assert document["sane"] is (status == 0)
    assert word in document["why"] or status == 0
    assert files_in(tmp_path) == before
    said = cli("check", model_file, "--config", "schedule.yaml", "--quiet").stdout
    assert word in said


def test_check_is_bounded_in_time_and_honest_about_it(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG.format(lr=0.1))
    slow = model_file.read_text().replace(
        "x = torch.randn(32, 8)", "x = torch.randn(32, 8); __import__('time').sleep(0.2)"
    )
    model_file.write_text(slow)
    done = cli("check", model_file, "--config", "schedule.yaml", "--max-seconds", "1")
    assert done.returncode == 5
    assert "time limit" in done.stdout


def test_check_warns_where_the_config_is_for_another_optimizer(cli, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(CONFIG.format(lr=0.1).replace("SGD", "AdamW"))
    done = cli("check", model_file, "--config", "schedule.yaml")
    assert "the config's rate is for AdamW, and SGD was swept" in done.stderr
