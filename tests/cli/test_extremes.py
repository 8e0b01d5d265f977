"""Numbers, names and files at the far ends: each is refused with its status, and with what was wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from helpers.run_folders import MODEL

RUN = Path(__file__).parents[1] / "data" / "run-v5-tiny"
GOOD = "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 10}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extremes")
    shutil.copytree(RUN, folder / "run")
    for name in ("model.py", "tiny.py"):
        (folder / name).write_text(MODEL)
    (folder / "good.yaml").write_text(GOOD)
    (folder / "cycle.yaml").write_text(GOOD.replace("constant, ", f"cosine-restarts, first: {10**400}, "))
    os.mkfifo(folder / "pipe.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    return folder


NAME = "x" * 300
NUMBERS = {
    "epochs inf": (("recommend", "run", "--epochs", "inf"), "epochs must be above 0 and at most 1e+08, got inf"),
    "epochs 1e999": (("verify", "run", "--epochs", "1e999"), "epochs must be above 0"),
    "epochs nan": (("recommend", "run", "--epochs", "nan"), "epochs must be above 0"),
    "epochs 1e8": (("recommend", "run", "--epochs", "1e8"), "1e+08 epochs, in updates, must be at most 100000000"),
    "steps 1e12": (("recommend", "run", "--steps", str(10**12)), "steps must be at most 100000000"),
    "steps of verify": (("verify", "run", "--steps", str(10**12)), "steps must be at most 100000000"),
    "steps of explain": (
        ("schedule", "explain", "--optimizer", "SGD", "--steps", str(10**12)),
        "and at most 100000000, got 1000000000000",
    ),
    "warmup of explain": (
        ("schedule", "explain", "--optimizer", "SGD", "--warmup", str(10**12)),
        "warmup must be from 0 to 100000000",
    ),
    "lr of explain": (("schedule", "explain", "--optimizer", "SGD", "--lr", "nan"), "lr must be a number above 0"),
    "a cycle": (
        ("schedule", "show", "cycle.yaml"),
        "cycle.yaml:3:42: schedule.first: expected a whole number of at most 9223",
    ),
    "momentum of explain": (("schedule", "explain", "--optimizer", "SGD", "--momentum", "inf"), "momentum must be"),
    "decay of explain": (
        ("schedule", "explain", "--optimizer", "SGD", "--weight-decay", "inf"),
        "weight decay must be",
    ),
    "warmup": (("recommend", "run", "--steps", "100", "--warmup", str(10**12)), "warmup must be from 0 to"),
    "lr": (("recommend", "run", "--steps", "100", "--lr", "inf"), "lr must be a finite number"),
    "lr of verify": (("verify", "run", "--steps", "100", "--lr", "nan"), "lr must be a finite number"),
    "budget": (("verify", "run", "--steps", "100", "--budget", "9" * 400), "budget"),
    "budget in %": (("verify", "run", "--steps", "100", "--budget", "9" * 400 + "%"), "budget"),
    "samples": (
        ("schedule", "batches", "good.yaml", "--samples", str(10**23), "--batch-size", "1"),
        "are more than 100000000 updates",
    ),
    "momentum nan": (("sweep", "model.py", "--momentum", "nan"), "momentum must be a finite number, got nan"),
    "decay inf": (("sweep", "model.py", "--weight-decay", "inf"), "weight_decay must be a finite number, got inf"),
    "time inf": (("sweep", "model.py", "--max-seconds", "inf"), "max_seconds must be a finite number above 0, got inf"),
    "time nan": (("check", "model.py", "--config", "good.yaml", "--max-seconds", "nan"), "max_seconds must be"),
    "loader": (("sweep", "model.py", "--loader-timeout", "inf"), "loader_timeout must be a finite number of seconds"),
    "loader for ever": (("sweep", "model.py", "--loader-timeout", "1e18"), "loader_timeout must be at most 1e+09 sec"),
    "processes": (("sweep", "model.py", "--nproc", "9" * 23), "1024"),
    "processes of a script": (("sweep", "--script", "model.py", "--nproc", str(10**12)), "1024"),
    "jobs": (("verify", "run", "--steps", "9", "--jobs", str(2**31)), "1024"),
    "accumulate": (("sweep", "model.py", "--accumulate", "9" * 23), "accumulate must be at most 1000000"),
    "rates": (("sweep", "model.py", "--min-lr", "1e-300", "--max-lr", "1e300"), "too many times min_lr"),
    "seed": (("sweep", "model.py", "--seed", str(2**64)), "seed must be from 0 to 2**32 - 1"),
    "batch": (("sweep", "model.py", "--cache-batches", str(10**30)), "cache_batches must be"),
    "smoothing": (("schedule", "refine", "good.yaml", "--log", "none", "--smoothing", "nan"), "none"),
    "a pipe": (("sweep", "pipe.py"), "'pipe.py' is not a regular file"),
    "a pipe to check": (("check", "pipe.py", "--config", "good.yaml"), "'pipe.py' is not a regular file"),
    "a device": (("sweep", "zero.py"), "'zero.py' is not a regular file"),
    "a pipe as a log": (("schedule", "refine", "good.yaml", "--log", "pipe.py"), "pipe.py: not a regular file"),
    "a long model": (("sweep", f"{NAME}.py"), "File name too long"),
    "a long run": (("recommend", NAME), "File name too long"),
    "a long config": (("schedule", "show", f"{NAME}.yaml"), "File name too long"),
    "a long --write": (("recommend", "run", "--steps", "9", "--write", f"{NAME}.yaml"), "File name too long"),
    "a long run of verify": (("verify", NAME, "--steps", "9"), "File name too long"),
    "an escape in a model": (("sweep", "esc\x1b[2Jx.py"), r"'esc\x1b[2Jx.py': a control character is in the name"),
    "an escape in a folder": (("sweep", "model.py", "--out", "\u202ee"), r"'\u202ee': a control character is in"),
    "an escape in a config": (("schedule", "show", "\x1b[2J.yaml"), "?[2J.yaml: no such file"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_what_is_too_much_is_2_and_named(zygote, place: Path, case: str) -> None:
    args, message = NUMBERS[case]
    status, child = zygote.run(*args, cwd=place, timeout=20)
    assert status == 2, child.stderr
    assert message in child.stderr
    assert "\x1b" not in child.stdout + child.stderr


def changed(place: Path, how) -> Path:
    run = place / "changed"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(RUN, run)
    document = json.loads((run / "run.json").read_text())
    how(document)
    (run / "run.json").write_text(json.dumps(document))
    return run


DOCUMENTS = {
    "a rate": (lambda it: it["settings"].update(max_lr=1e308), "settings: .*too many times min_lr"),
    "no optimizer": (lambda it: it["setup"]["optimizer"].update(name=""), "setup.optimizer"),
    "a setting": (lambda it: it["setup"]["optimizer"]["settings"].update(a=2**63), "settings.a: no config can hold"),
    "a long one": (lambda it: it["setup"]["optimizer"]["settings"].update(a=10**400), "setup.optimizer"),
    "ratios": (lambda it: it["setup"]["optimizer"].update(group_ratios=[0, 0]), "setup.optimizer: .*group_ratios"),
    "another order": (lambda it: it["setup"].update(model="\u202eevil"), "a control character in"),
    "depth": (
        lambda it: it.update(deep=json.loads("[" * 900 + "]" * 900)),
        "run.json: nested deeper than 16 levels|not valid JSON",
    ),
    "length": (lambda it: it.update(long=["x" * 2**22]), "run.json: larger than 4 MiB"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_run_that_holds_too_much_is_2_and_named(zygote, place: Path, case: str) -> None:
    how, message = DOCUMENTS[case]
    changed(place, how)
    status, child = zygote.run("recommend", "changed", "--steps", "100", "--quiet", cwd=place)
    assert status == 2, child.stderr
    assert re.search(message, child.stderr), child.stderr


@pytest.mark.parametrize("name", ["curve.png", "recommendation.json", "schedule.yaml", "verification.json"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(zygote, place: Path, name: str) -> None:
    run = changed(place, lambda it: None)
    os.mkfifo(run / name)
    verify = ("verify", "changed", "--model", "nowhere.py", *(() if name == "schedule.yaml" else ("--steps", "100")))
    status, child = zygote.run(*verify, cwd=place, timeout=30)
    assert status == 2, child.stderr
    status, child = zygote.run("recommend", "changed", "--steps", "100", cwd=place, timeout=30)
    assert status == (2 if name in {"schedule.yaml", "verification.json"} else 0), child.stderr


@pytest.mark.parametrize("literal", ["0x" + "f" * 100_000, "0b" + "1" * 100_000, "9" * 4299])
@pytest.mark.parametrize("suffix", ["yaml", "toml", "json"])
def test_a_whole_number_that_is_too_long_is_2_with_its_place(zygote, place: Path, literal: str, suffix: str) -> None:
    text = {
        "yaml": GOOD.replace("steps: 10", f"steps: {literal}"),
        "toml": f'version = 1\n[optimizer]\nname = "SGD"\nlr = 0.1\n[schedule]\nname = "constant"\nsteps = {literal}\n',
        "json": '{"version": 1, "optimizer": {"name": "SGD", "lr": 0.1},\n'
        f'"schedule": {{"name": "constant", "steps": {literal}}}}}',
    }[suffix]
    (place / f"long.{suffix}").write_text(text)
    status, child = zygote.run("schedule", "show", f"long.{suffix}", cwd=place)
    assert status == 2, child.stderr
    assert f"long.{suffix}:" in child.stderr


def test_a_dangling_run_does_not_hide_the_others(zygote, place: Path) -> None:
    for name in ("lrfinder-runs/broken", "lrfinder-runs"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "lrfinder-runs" / "broken" / "run.json").symlink_to("nowhere")
    shutil.copytree(RUN, place / "lrfinder-runs" / "good")
    status, child = zygote.run("recommend", "--steps", "10", "--json", cwd=place)
    assert status == 0, child.stderr
    assert json.loads(child.stdout)["run"] == "lrfinder-runs/good"
