"""What exports say, as texts and on the command line."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from export.matrix import NEEDS
from helpers.processes import environment
from lrfinder.cli.schedule import app
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump, load_schedule
from lrfinder.errors import UsageError
from lrfinder.export import EXPORTERS, export_schedule
from lrfinder.schedules import (
    Cosine,
    Cyclical,
    Linear,
    Plateau,
    Polynomial,
    Rex,
    Schedule,
    SlantedTriangular,
    TimeBased,
)

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
    """DeepSpeed makes "Adam" an AdamW unless told otherwise, and its own classes take no `decoupled_weight_decay`."""
    for name, settings, kind, mode in [
        ("Adam", {}, "Adam", False),
        ("Adam", {"decoupled_weight_decay": True}, "Adam", True),
        ("Adam", {"decoupled_weight_decay": False}, "Adam", False),
        ("AdamW", {"decoupled_weight_decay": True}, "AdamW", None),
        ("torch.optim.AdamW", {}, "AdamW", None),  # DeepSpeed asks torch.optim for the name
    ]:
        made = OptimizerConfig(name=name, lr=0.02, settings=settings)
        text = export_schedule(ScheduleConfig(optimizer=made, schedule=Cosine(steps=12)), "deepspeed").text
        optimizer = json.loads(text)["optimizer"]
        assert (optimizer["type"], optimizer["params"].get("adam_w_mode")) == (kind, mode)
        assert "decoupled_weight_decay" not in optimizer["params"]


@pytest.mark.parametrize("target", ["lightning", "huggingface"])
@pytest.mark.parametrize("schedule", [Cosine(steps=12), Plateau(steps=12), Plateau(steps=12, warmup=3)], ids=repr)
def test_a_class_that_isnt_torchs_is_asked_for(schedule: Schedule, target: str) -> None:
    for name, asked in [
        ("pkg.sub.Lion", "# Import pkg.sub here.\n"),
        ("Lion", "# Import Lion here.\n"),
        ("Adam", None),
    ]:
        made = ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=0.02), schedule=schedule)
        text = export_schedule(made, target).text
        assert asked in text if asked else "# Import" not in text


def test_settings_of_numpys_are_numbers_in_code() -> None:
    settings = {"betas": (np.float64(0.9), 0.99), "weight_decay": np.float64(0.1), "eps": 1e-8, "amsgrad": True}
    made = OptimizerConfig(name="AdamW", lr=0.02, settings=settings)
    names: dict[str, Any] = {}
    exec(export_schedule(ScheduleConfig(optimizer=made, schedule=Cosine(steps=12)), "huggingface").text, names)  # noqa: S102
    group = names["optimizers"](torch.nn.Linear(1, 1))[0].param_groups[0]
    assert {key: group[key] for key in settings} == settings
    assert {type(made.settings["weight_decay"]), *map(type, made.settings["betas"])} == {float}


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # keras with numpy 2
@pytest.mark.parametrize("power", [0.3, 0.5, 0.9, 5.0])
@pytest.mark.parametrize("target", [pytest.param(it, marks=pytest.mark.needs(*NEEDS[it])) for it in ("keras", "optax")])
def test_the_last_updates_of_a_long_polynomial_are_within_single_precision(
    target: str, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 - u / over is rounded, and a power below 1 makes that large where little is left."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    steps = 100_000
    export = export_schedule(config(Polynomial(steps=steps, power=power)), target)
    assert (export.preset is not None) == (power > 0.5)
    names: dict[str, Any] = {}
    exec(export.text, names)  # noqa: S102
    used = np.asarray(names["schedule"](np.arange(steps)), dtype="float64")
    assert np.abs(used / 0.02 - (1 - np.arange(steps) / steps) ** power).max() <= 1e-6


def test_updates_that_single_precision_cannot_tell_are_looked_up() -> None:
    long = [TimeBased(steps=steps, rate=0.5, every=20_000_000) for steps in (2**24, 2**24 + 1)]
    assert [export_schedule(config(it), "keras").preset for it in long] == ["InverseTimeDecay", None]


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


@pytest.mark.parametrize("stem", ["keras", "numpy", "math"])
def test_a_file_that_would_hide_what_it_imports_is_refused(stem: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / f"{stem}.py"
    words = ["export", str(path), "--to", "keras", "--write"]
    with pytest.raises(UsageError, match=f"imports {stem}, and Python would take this file for it") as caught:
        CliRunner().invoke(app, [*words, str(target)], catch_exceptions=False)
    assert not target.exists()
    CliRunner().invoke(app, [*words, str(target.with_name(caught.value.hint.split()[2][:-1]))], catch_exceptions=False)
    assert [file.name for file in tmp_path.glob("*.py")] == [f"{stem}_rates.py"]


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
