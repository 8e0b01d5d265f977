"""What exports say, as texts and on the command line."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.processes import environment
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump, load_schedule
from lrfinder.errors import UsageError
from lrfinder.export import EXPORTERS, export_schedule
from lrfinder.schedules import Cosine, Cyclical, Linear, Rex, Schedule, SlantedTriangular

CODE = [name for name in EXPORTERS if name not in {"csv", "json"}]
FILES = {"deepspeed": ".json", "torchtune": ".yaml", "axolotl": ".yaml"}  # not code, where there is a preset


def config(schedule: Schedule | None = None, groups: tuple[float, ...] | None = None) -> ScheduleConfig:
    optimizer = OptimizerConfig(name="AdamW", lr=0.02, groups=groups, settings={"betas": (0.9, 0.95)})
    return ScheduleConfig(optimizer=optimizer, schedule=schedule or Linear(steps=12, warmup=4))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dump(config(), tmp_path / "schedule.yaml")
    return tmp_path / "schedule.yaml"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lrfinder", "schedule", "export", *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", CODE)
def test_code_states_version_unit_and_warmup_and_has_no_long_line(target: str) -> None:
    text = export_schedule(config(), target).text
    ast.parse(text)
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    assert "lrfinder" in head
    assert "An update is one step of the optimizer" in head
    assert "the first update is at 0.25 of it, not at 0" in head
    assert "Checked with" in head
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize("target", CODE)
def test_what_a_preset_cannot_say_has_its_reason(target: str) -> None:
    export = export_schedule(config(Rex(steps=12, warmup=4)), target)
    assert (export.preset, export.suffix) == (None, ".py")
    if target != "lightning":
        assert "No " in export.text or "can't say it" in export.text


@pytest.mark.parametrize("target", FILES)
def test_files_state_version_unit_and_end_too(target: str) -> None:
    export = export_schedule(config(Cosine(steps=12)), target)
    assert export.preset is not None
    assert export.suffix == FILES[target]
    for said in (
        "lrfinder",
        "An update is one step of the optimizer",
        "xact for the updates of the run",
        "Checked with",
    ):
        assert said in export.text


@pytest.mark.parametrize("target", FILES)
def test_small_numbers_are_numbers_for_every_reader(target: str) -> None:
    """YAML 1.1, which torchtune and axolotl read, takes 1e-05 for text."""
    optimizer = OptimizerConfig(name="AdamW", lr=1e-5)
    text = export_schedule(ScheduleConfig(optimizer=optimizer, schedule=Cosine(steps=12)), target).text
    data = json.loads(text) if target == "deepspeed" else yaml.safe_load(text)
    rates = {
        "deepspeed": lambda: data["optimizer"]["params"]["lr"],
        "torchtune": lambda: data["optimizer"]["lr"],
        "axolotl": lambda: data["learning_rate"],
    }
    assert rates[target]() == 1e-5


def test_the_keys_that_axolotls_plugin_needs_are_yaml() -> None:
    optimizer = OptimizerConfig(name="AdamW", lr=1e-5)
    text = export_schedule(ScheduleConfig(optimizer=optimizer, schedule=Rex(steps=12)), "axolotl").text
    keys = [line.removeprefix("#     ") for line in text.splitlines() if line.startswith("#     ")]
    plugin = "lrfinder_schedule.SchedulePlugin"
    assert yaml.safe_load("\n".join(keys)) == {"plugins": [plugin], "learning_rate": 1e-5, "max_steps": 12}


@pytest.mark.parametrize("target", CODE)
def test_a_momentum_that_moves_is_not_left_out_in_silence(target: str) -> None:
    moving = Cyclical(steps=12, up=6, momentums=(0.85, 0.95))
    assert "leaves it as the optimizer has it" in export_schedule(config(moving), target).text
    assert "moves the momentum" not in export_schedule(config(Cyclical(steps=12, up=6)), target).text


def test_deepspeeds_adam_stays_adam() -> None:
    """DeepSpeed makes "Adam" an AdamW unless told otherwise."""
    schedule = Cosine(steps=12)
    adam = ScheduleConfig(optimizer=OptimizerConfig(name="Adam", lr=0.02), schedule=schedule)
    for made, expected in [(adam, False), (config(schedule), None)]:
        optimizer = json.loads(export_schedule(made, "deepspeed").text)["optimizer"]
        assert optimizer["params"].get("adam_w_mode") is expected


@pytest.mark.parametrize("target", ["timm", "deepspeed", "mmengine", "optax"])
def test_the_slanted_triangle_is_a_line_up_and_a_line_down(target: str) -> None:
    assert export_schedule(config(SlantedTriangular(steps=50)), target).preset is not None
    assert "slanted-triangular" in export_schedule(config(SlantedTriangular(steps=50)), target).text


@pytest.mark.parametrize("target", ["deepspeed", "torchtune"])
def test_param_groups_of_their_own_need_code(target: str) -> None:
    schedule = Cosine(steps=12)
    assert export_schedule(config(schedule), target).preset is not None
    assert export_schedule(config(schedule, groups=(1.0,)), target).preset is not None
    assert export_schedule(config(schedule, groups=(1.0, 0.1)), target).preset is None


def test_what_is_continued_keeps_its_rates() -> None:
    """torchtune makes the component anew with the optimizer's loaded state, whose rate may be 0 by then."""
    import torch

    names: dict[str, Any] = {}
    exec(export_schedule(config(), "torchtune").text, names)  # noqa: S102 - our own text
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=3.0)
    names["lr_scheduler"](optimizer, num_training_steps=12)
    optimizer.param_groups[0]["lr"] = 0.0
    scheduler = names["lr_scheduler"](optimizer, num_training_steps=12, last_epoch=6)
    assert scheduler.get_last_lr() == pytest.approx([config().rate(7)])


def test_the_groups_of_the_config_are_given_their_ratios() -> None:
    import torch

    names: dict[str, object] = {}
    exec(export_schedule(config(groups=(1.0, 0.1)), "torch").text, names)  # noqa: S102 - our own text
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=3.0)
    names["make_scheduler"](optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02 / 4, 0.002 / 4])
    with pytest.raises(ValueError, match="zip"):
        names["make_scheduler"](torch.optim.SGD(weights, lr=1.0))


def test_a_file_named_for_another_format_is_warned_of(path: Path, tmp_path: Path) -> None:
    """DeepSpeed's own schedulers can't warm up as ours do: what comes out is code, whatever the file is called."""
    done = run(path, "--to", "deepspeed", "--write", tmp_path / "ds.json")
    assert done.returncode == 0
    assert "ds.json holds what .py files hold: name it ds.py" in done.stderr
    ast.parse((tmp_path / "ds.json").read_text())
    for name in ("ds.py", "ds"):
        assert run(path, "--to", "deepspeed", "--write", tmp_path / name).stderr == ""
    dump(config(Cosine(steps=12)), path)
    assert run(path, "--to", "axolotl", "--write", tmp_path / "rates.yml").stderr == ""
    assert json.loads(run(path, "--to", "deepspeed", "--json").stdout)["suffix"] == ".json"


def test_an_unknown_target_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match="unknown target 'flax'") as caught:
        export_schedule(config(), "flax")
    assert "torch, lightning" in caught.value.hint


def test_the_command_prints_writes_and_refuses(path: Path, tmp_path: Path) -> None:
    printed = run(path, "--to", "torch")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == export_schedule(load_schedule(path), "torch").text
    out = tmp_path / "rates.csv"
    written = run(path, "--to", "csv", "--write", out)
    assert written.returncode == 0
    assert str(out) in written.stdout.replace("\n", "")
    assert [float(row["lr"]) for row in csv.DictReader(out.read_text().splitlines())] == list(config().lrs())
    document = json.loads(run(path, "--to", "json", "--json").stdout)
    assert document["target"] == "json"
    assert json.loads(document["text"])["lrs"] == list(config().lrs())
    refused = run(path, "--to", "flax")
    assert refused.returncode == 2
    assert "choose one of: torch" in refused.stderr


def test_nothing_heavy_is_imported_for_it(path: Path) -> None:
    code = f"""
import sys
from lrfinder.config import load_schedule
from lrfinder.export import EXPORTERS, export_schedule
for target in EXPORTERS:
    export_schedule(load_schedule({str(path)!r}), target)
assert not {{"torch", "transformers", "lightning", "keras", "jax", "optax", "timm", "mmengine"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_the_help_names_every_target() -> None:
    told = run("--help").stdout
    for name in EXPORTERS:
        assert name in told


@pytest.mark.parametrize(
    ("given", "guess"), [("torhc", "did you mean torch? "), ("opta", "did you mean optax? "), ("x", "")]
)
def test_an_unknown_target_names_the_nearest_and_all(given: str, guess: str) -> None:
    with pytest.raises(UsageError, match=f"unknown target '{given}'") as refused:
        export_schedule(config(), given)
    assert str(refused.value.hint).startswith(f"{guess}choose one of: torch, lightning, huggingface")
