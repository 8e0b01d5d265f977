"""The commands, as processes: statuses, signals, and a real run at the rates of a config."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

import lrfinder
from helpers.zygote import Zygote
from lrfinder import load_schedule
from lrfinder.errors import UsageError
from lrfinder.store import load_run, load_source

DATA = Path(__file__).parents[1] / "data"
ENV = {"OMP_NUM_THREADS": "1"}
SCHEDULE = """
version: 1
optimizer: {name: SGD, lr: 0.08}
schedule: {name: cosine, warmup: 5, steps: 80, final: 0.001}
"""


def started(zygote: Zygote, folder: Path, *args: object) -> object:
    return zygote.start(*args, cwd=folder, env=ENV)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_script_is_swept_and_recommended(zygote: Zygote, tmp_path: Path, program: Callable[[str], str]) -> None:
    program("classifier.py")
    status, done = zygote.run(
        *("sweep", "--script", "classifier.py", "--out", "run", "--json", "--run-steps", 30),
        *("--", "--epochs", 4, "--warmup", 20),
        cwd=tmp_path,
        env=ENV,
        timeout=120,
    )
    assert status == 0, done.stderr
    document = json.loads(done.stdout)
    assert "starts of the script" in done.stderr
    source, result = load_source(tmp_path / "run"), load_run(tmp_path / "run")
    assert source.script is not None
    assert source.script.arguments == ("--epochs", "4", "--warmup", "20")
    assert document["updates"] == result.updates
    assert (result.setup.optimizer.chosen_by, result.setup.optimizer.own_lr) == ("script", 0.05)
    assert "epoch 0" in (tmp_path / "run" / "script.log").read_text()
    status, done = zygote.run("recommend", "run", "--epochs", 10, "--json", cwd=tmp_path)
    advised = json.loads(done.stdout)
    assert status == 0
    assert advised["picks"][0]["lr"] == pytest.approx(document["advice"]["lr"], rel=1e-2)
    assert advised["config"]["schedule"]["steps"] == 400
    status, done = zygote.run("sweep", "--resume", "run", cwd=tmp_path)
    assert status == 2
    assert "can't be resumed" in done.stderr
    verify = ("verify", "run", "--steps", 400, "--budget", 400, "--json")
    shorter = ("--script", "classifier.py", "--", "--epochs", 1)
    status, done = zygote.run(*verify, *shorter, cwd=tmp_path, env=ENV, timeout=120)
    assert status == 5
    assert "the script ended after 40 updates" in done.stdout
    assert "python classifier.py --epochs 1" in done.stderr
    status, done = zygote.run(*verify, cwd=tmp_path, env=ENV, timeout=120)
    assert status in {0, 1}, done.stdout


def test_the_rate_of_a_script_is_checked(zygote: Zygote, tmp_path: Path, program: Callable[[str], str]) -> None:
    program("classifier.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    check = ("check", "--script", "classifier.py", "--json")
    status, done = zygote.run(*check, "--", "--epochs", 6, "--lr", 80, cwd=tmp_path, env=ENV, timeout=120)
    own = json.loads(done.stdout)
    assert (status, own["sane"], own["lr"], own["config"]) == (1, False, 80.0, None)
    assert "unstable" in own["why"]
    configured = (*check, "--config", "schedule.yaml", "--junit", "check.xml")
    status, done = zygote.run(*configured, "--", "--epochs", 6, cwd=tmp_path, env=ENV, timeout=120)
    document = json.loads(done.stdout)
    assert (document["lr"], document["config"]) == (0.08, "schedule.yaml")
    low, high = document["band"]["low_interval"][0], document["band"]["high_interval"][1]
    assert (status == 0) == (low <= 0.08 <= high)
    assert {path.name for path in tmp_path.iterdir()} == {"classifier.py", "schedule.yaml", "check.xml"}


def test_ctrl_c_ends_the_script_and_keeps_what_was_measured(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("others.py")
    child = started(zygote, tmp_path, "sweep", "--script", "others.py", "--out", "run", "--", "hangs")
    curve = tmp_path / "run" / "curve.csv"
    wait_for(lambda: curve.exists() and len(curve.read_text().splitlines()) > 3)
    family = psutil.Process(child.pid).children(recursive=True)
    assert family
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert len(load_run(tmp_path / "run").traces[0].losses) == 3


def test_a_killed_command_takes_the_script_with_it(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("others.py")
    child = started(zygote, tmp_path, "sweep", "--script", "others.py", "--out", "run", "--", "hangs")
    curve = tmp_path / "run" / "curve.csv"
    wait_for(lambda: curve.exists() and len(curve.read_text().splitlines()) > 3)
    family = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert len(load_run(tmp_path / "run").traces[0].losses) == 3


def test_a_run_trains_at_the_rates_of_the_config(zygote: Zygote, tmp_path: Path, program: Callable[[str], str]) -> None:
    program("classifier.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    run = ("run", "--config", "schedule.yaml", "--script", "classifier.py")
    status, done = zygote.run(*run, "--", "--seed", 5, "--save", "model.pt", "--epochs", 2, cwd=tmp_path, env=ENV)
    assert status == 0, done.stderr
    assert "epoch 1" in done.stdout
    assert "80 updates at the rates of the schedule" in done.stderr
    with (tmp_path / "schedule-rates.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = load_schedule(tmp_path / "schedule.yaml").lrs()
    assert [int(row["update"]) for row in rows] == list(range(80))
    assert [float(row["lr_0"]) for row in rows] == list(expected)
    assert [float(row["lr_1"]) for row in rows] == [rate * 0.25 for rate in expected]
    # Everything of the script's is real, and its own scheduler went on as without us: twice StepLR's cut.
    assert (tmp_path / "finally").exists()
    assert (tmp_path / "atexit").exists()
    assert (tmp_path / "rates.txt").read_text() == "80 [0.00625, 0.0015625]\n"
    assert torch.equal(torch.load(tmp_path / "model.pt")["0.weight"], trained(tmp_path, expected)["0.weight"])
    status, done = zygote.run(*run, cwd=tmp_path)
    assert status == 2
    assert "there is a log already" in done.stderr
    status, done = zygote.run(*run, "--first-update", 80, "--", "--fail-at", 3, "--epochs", 1, cwd=tmp_path, env=ENV)
    assert status == 1
    assert done.stderr.count("Traceback") == 1
    assert "the script's own mistake" in done.stderr
    assert "inside" not in done.stderr.partition("Traceback")[2].partition("lrfinder:")[0]
    assert len((tmp_path / "schedule-rates.csv").read_text().splitlines()) == 1 + 80 + 3


def test_under_torchrun_another_number_of_processes_is_refused_and_a_run_is_logged_by_rank_0(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("classifier.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    shutil.copytree(DATA / "run-v12-script", tmp_path / "swept")  # by one process
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    job = {**ENV, **place, "TORCHELASTIC_RUN_ID": "job"}
    for command in (("sweep",), ("find", "--epochs", 1), ("verify",), ("check",)):
        status, done = zygote.run(*command, "--nproc", 3, "--script", "classifier.py", cwd=tmp_path, env=job)
        assert status == 2
        assert "3 processes of the script are wanted, and torchrun has started 1" in done.stderr
    (tmp_path / "translator.py").touch()
    status, done = zygote.run("verify", "swept", "--steps", 100, cwd=tmp_path, env=job)
    assert status == 2
    assert "the script was swept as one process by itself, and torchrun has started 1" in done.stderr
    for name, value in {**place, "TORCHELASTIC_RUN_ID": "job"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="3 processes of the script are wanted"):
        lrfinder.sweep_script("classifier.py", nproc=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    job |= {"RANK": "1", "WORLD_SIZE": "2"}
    status, done = zygote.run("run", "--config", "schedule.yaml", "--script", "classifier.py", cwd=tmp_path, env=job)
    assert status == 0, done.stderr
    assert "epoch 2" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"classifier.py", "schedule.yaml", "swept", "translator.py"}


def test_a_run_goes_on_where_the_scripts_own_checkpoint_was_made(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("classifier.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    run = ("run", "--config", "schedule.yaml", "--script", "classifier.py")
    script = ("--", "--epochs", 1, "--resume", "last.pt")
    status, done = zygote.run(*run, "--resume", *script, cwd=tmp_path, env=ENV)
    assert status == 2
    assert "has loaded no state of its optimizer" in done.stderr
    killed = (*run, "--", "--epochs", 2, "--resume", "last.pt", "--fail-at", 55)  # 15 updates after the checkpoint
    assert zygote.run(*killed, cwd=tmp_path, env=ENV)[0] == 1
    status, done = zygote.run(*run, "--log", "other.csv", *script, cwd=tmp_path, env=ENV)
    assert status == 2
    assert "saved after 40 updates: --resume goes on there" in done.stderr
    status, done = zygote.run(*run, "--resume", *script, cwd=tmp_path, env=ENV)
    assert status == 0, done.stderr
    with (tmp_path / "schedule-rates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["update"]) for row in rows] == [*range(55), *range(40, 80)]
    expected = load_schedule(tmp_path / "schedule.yaml").lrs()
    assert [float(row["lr_0"]) for row in rows] == [expected[int(row["update"])] for row in rows]
    status, done = zygote.run("check", "--config", "schedule.yaml", "--log", "schedule-rates.csv", cwd=tmp_path)
    assert status == 0, done.stdout


def trained(folder: Path, rates: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """Train the program's network by hand at the rates; return its weights."""
    import importlib.util

    from torch.utils.data import DataLoader

    spec = importlib.util.spec_from_file_location("classifier", folder / "classifier.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(5)
    args = module.parse([])
    loader = DataLoader(module.data(), batch_size=16, shuffle=True)
    net = module.network()
    optimizer = module.make_optimizer(net, args)
    step = 0
    for _ in range(2):
        for x, y in loader:
            for group, share in zip(optimizer.param_groups, (1.0, 0.25), strict=True):
                group["lr"] = rates[step] * share
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    torch.set_num_threads(threads)
    return net.state_dict()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("sweep", "--script", "no.py"), "no such file"),
        (("sweep", "--script", "classifier.py", "--batch-size", 3), "--batch-size can't be given with a script"),
        (("sweep", "--script", "classifier.py", "--module", "m"), "can't both be given"),
        (("sweep", "model.py", "--script", "classifier.py"), "a script is given, and 'model.py' too"),
        (("sweep", "--script", "explored.ipynb"), "is a notebook, not a script"),
        (("sweep", "--script", "classifier.py", "--from", "c.pt"), "--from can't be given with a script"),
        (("check", "--script", "classifier.py", "--accumulate", 2), "--accumulate can't be given with a script"),
        (("check", "model.py"), "--config is missing"),
        (("sweep", "--module", "no.such"), "no module named 'no.such'"),
        (("sweep", "model.py", "--which", "G"), "--which is for a script"),
        (("run", "--config", "schedule.yaml"), "name a --script or a --module"),
        (
            ("run", "--config", "schedule.yaml", "--script", "classifier.py", "--log", "no/rates.csv"),
            "no/rates.csv: its folder is not there",
        ),
        (("run", "--config", "plateau.yaml", "--script", "classifier.py"), "needs validation losses"),
    ],
)
def test_bad_usage(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str], args: tuple[object, ...], said: str
) -> None:
    program("classifier.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    (tmp_path / "plateau.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: plateau, steps: 100}\n"
    )
    status, done = zygote.run(*args, cwd=tmp_path)
    assert status == 2
    assert said in done.stderr
