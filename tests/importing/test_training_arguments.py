"""Hugging Face's arguments, imported without transformers, against what transformers itself does."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from helpers.processes import environment
from lrfinder.config import OptimizerConfig
from lrfinder.errors import ConfigError, UsageError
from lrfinder.importing import import_schedule
from lrfinder.importing.huggingface_optimizers import optimizer_class
from lrfinder.importing.huggingface_rates import FORMULAS, GREEDY, PLATEAU, Run
from lrfinder.importing.training_arguments import Arguments
from lrfinder.schedules import Table

share = st.floats(0, 1)
cycles = st.floats(0.1, 4)
floor = st.one_of(st.fixed_dictionaries({"min_lr_rate": share}), st.fixed_dictionaries({"min_lr": st.floats(0, 0.02)}))
# The arguments of each type; a new type needs a line here.
KEYWORDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "linear": st.just({}),
    "cosine": st.fixed_dictionaries({}, optional={"num_cycles": cycles}),
    "cosine_with_restarts": st.fixed_dictionaries({}, optional={"num_cycles": st.integers(1, 6)}),
    "polynomial": st.fixed_dictionaries({}, optional={"lr_end": st.floats(0, 0.009), "power": st.floats(0.2, 4)}),
    "constant": st.just({}),
    "constant_with_warmup": st.just({}),
    "inverse_sqrt": st.fixed_dictionaries({}, optional={"timescale": st.integers(1, 300)}),
    "cosine_with_min_lr": st.builds(
        lambda a, b: a | b, floor, st.fixed_dictionaries({}, optional={"num_cycles": cycles})
    ),
    "cosine_warmup_with_min_lr": st.builds(
        lambda a, b: a | b, floor, st.fixed_dictionaries({}, optional={"num_cycles": cycles, "warmup_lr_rate": share})
    ),
    "warmup_stable_decay": st.fixed_dictionaries(
        {"num_decay_steps": st.integers(0, 120)},
        optional={
            "warmup_type": st.sampled_from(["linear", "cosine", "1-sqrt"]),
            "decay_type": st.sampled_from(["linear", "cosine", "1-sqrt"]),
            "min_lr_ratio": share,
            "num_cycles": cycles,
        },
    ),
}


def theirs(name: str, peak: float, warmup: int, steps: int, keywords: dict[str, Any]) -> list[float]:
    """Train with transformers' own scheduler, and record the rates that each update uses."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = get_scheduler(name, optimizer, warmup, steps, scheduler_specific_kwargs=dict(keywords))
    used = []
    for t in range(steps):
        used.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if t + 1 < steps:
            scheduler.step()
    return used


@pytest.mark.as_pinned("transformers")
def test_every_type_of_transformers_is_known() -> None:
    assert {kind.value for kind in SchedulerType} == {*FORMULAS, PLATEAU, GREEDY}
    assert set(KEYWORDS) == set(FORMULAS)


@pytest.mark.as_pinned("transformers")
@pytest.mark.parametrize("name", FORMULAS)
@given(data=st.data(), steps=st.integers(1, 100), warm=st.integers(0, 110), peak=st.floats(0.01, 2))
def test_the_formula_is_transformers_own(name: str, data: st.DataObject, steps: int, warm: int, peak: float) -> None:
    keywords = data.draw(KEYWORDS[name])
    formula = FORMULAS[name].model_validate(keywords)
    run = Run(peak=peak, warmup=warm, steps=steps)
    ours = [peak * formula.factor(t, run) for t in range(steps)]
    assert ours == pytest.approx(theirs(name, peak, warm, steps, keywords), rel=1e-12, abs=1e-15 * peak)


@pytest.mark.as_pinned("transformers")
@pytest.mark.parametrize("name", FORMULAS)
@given(data=st.data(), steps=st.integers(2, 100), warm=st.integers(0, 110), peak=st.floats(0.01, 2))
def test_the_config_is_what_transformers_does(
    name: str, data: st.DataObject, steps: int, warm: int, peak: float
) -> None:
    keywords = data.draw(KEYWORDS[name])
    used = theirs(name, peak, warm, steps, keywords)
    assume(max(used) > 1e-6 * peak)
    config = import_schedule(
        {
            "learning_rate": peak,
            "lr_scheduler_type": name,
            "lr_scheduler_kwargs": keywords,
            "warmup_steps": warm,
            "max_steps": steps,
        }
    )
    assert config.steps == steps
    assert config.lrs() == pytest.approx(used, rel=0, abs=1.001e-9 * config.optimizer.lr)


@pytest.mark.parametrize("stable", [0, 30, 60, 90])
def test_stable_steps_that_are_given(stable: int) -> None:
    keywords = {"num_decay_steps": 20, "num_stable_steps": stable, "decay_type": "linear", "min_lr_ratio": 0.1}
    formula = FORMULAS["warmup_stable_decay"].model_validate(keywords)
    run = Run(peak=1.0, warmup=10, steps=90)
    with pytest.warns(UserWarning, match="Both num_training_steps and num_stable_steps"):
        expected = theirs("warmup_stable_decay", 1.0, 10, 90, keywords)
    assert [formula.factor(t, run) for t in range(90)] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "keywords", "shape"),
    [
        ("linear", {}, "linear"),
        ("cosine", {}, "cosine"),
        ("cosine_with_restarts", {"num_cycles": 4}, "cosine-restarts"),
        ("polynomial", {"power": 2.0, "lr_end": 0.001}, "polynomial"),
        ("constant", {}, "constant"),
        ("constant_with_warmup", {}, "constant"),
        ("inverse_sqrt", {}, "inverse-sqrt"),
        ("inverse_sqrt", {"timescale": 40}, "inverse-sqrt"),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}, "cosine"),
        ("warmup_stable_decay", {"num_decay_steps": 24}, "wsd"),
        ("warmup_stable_decay", {"num_decay_steps": 24, "min_lr_ratio": 0.05}, "wsd"),
    ],
)
@pytest.mark.parametrize("warmup", [0, 1, 30])
def test_they_are_named(name: str, keywords: dict[str, Any], shape: str, warmup: int) -> None:
    arguments = {
        "learning_rate": 0.02,
        "lr_scheduler_type": name,
        "lr_scheduler_kwargs": keywords,
        "warmup_steps": warmup,
        "max_steps": 120 + warmup,
    }
    config = import_schedule(arguments)
    if name == "constant":
        warmup = 0  # transformers doesn't look at it there
    found = config.schedule
    assert (found.name, found.warmup) == (shape, warmup)
    assert found.warmup_start == (keywords.get("min_lr_ratio", 0) if warmup else None)
    assert "equal at every update" in (config.evidence.why or "")
    assert import_schedule(arguments, tolerance=1e-9) == config


def test_a_warmup_that_is_no_line_is_said() -> None:
    keywords = {"num_decay_steps": 20, "warmup_type": "cosine"}
    arguments = {"learning_rate": 5e-5, "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": keywords}
    config = import_schedule({**arguments, "warmup_steps": 10}, steps=100)
    assert isinstance(config.schedule, Table)
    assert "as a table, equal at every update: its warm-up is no line" in config.evidence.why
    assert config.lrs()[5] == pytest.approx(2.5e-5)


def test_a_tolerance_takes_the_named_shape_and_says_how_near_it_is() -> None:
    keywords = {"min_lr_rate": 0.1, "warmup_lr_rate": 0.0}
    arguments = {
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine_warmup_with_min_lr",
        "lr_scheduler_kwargs": keywords,
        "warmup_steps": 500,
    }
    assert isinstance(import_schedule(arguments, steps=5000).schedule, Table)
    config = import_schedule(arguments, steps=5000, tolerance=0.005)
    assert (config.schedule.name, config.schedule.warmup, config.schedule.warmup_start) == ("cosine", 500, 0.0)
    used = theirs("cosine_warmup_with_min_lr", 5e-5, 500, 5000, keywords)
    worst = max(abs(a - b) for a, b in zip(config.lrs(), used, strict=True)) / 5e-5
    assert 0.001 < worst <= 0.005
    assert f"within {worst:.1g} of the peak" in config.evidence.why


def test_a_plateau_is_torchs() -> None:
    keywords = {"factor": 0.3, "patience": 1, "min_lr": 0.002, "threshold": 0.01}
    arguments = {
        "learning_rate": 0.02,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": keywords,
        "warmup_steps": 50,  # which transformers doesn't look at there
        "max_steps": 400,
    }
    config = import_schedule(arguments)
    theirs, ours = (torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.02) for _ in range(2))
    scheduler = get_scheduler("reduce_lr_on_plateau", theirs, 50, 400, scheduler_specific_kwargs=keywords)
    own: Any = config.scheduler(ours)
    cuts = []
    for loss in [1.0, 0.9, 0.895, 0.9, 0.9, 0.5, 0.6, 0.7, *[0.8] * 8]:
        scheduler.step(loss)
        own.observe(loss)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-11)
        cuts.append(theirs.param_groups[0]["lr"])
    assert len(set(cuts)) == 3  # the rate itself, a cut, and the floor
    with pytest.raises(UsageError, match=r"lr_scheduler_kwargs\.warmup: reduce_lr_on_plateau doesn't take it"):
        import_schedule(arguments | {"lr_scheduler_kwargs": {"warmup": 3}})


# --- the arguments themselves ---------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.one_of(st.floats(0, 0.999), st.integers(1, 600)))
def test_the_warmup_is_the_trainers(steps: int, warm: float) -> None:
    arguments = object.__new__(TrainingArguments)  # its constructor looks for devices; get_warmup_steps needs none
    arguments.warmup_steps = warm
    expected = arguments.get_warmup_steps(steps)
    assert Arguments(learning_rate=1.0, warmup_steps=warm).warmup(steps) == expected
    if 0 < warm < 1:  # version 4's own argument for the same
        assert Arguments(learning_rate=1.0, warmup_ratio=warm).warmup(steps) == math.ceil(steps * warm)


def test_the_object_itself_a_mapping_and_its_file(tmp_path: Path) -> None:
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        learning_rate=3e-4,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs='{"min_lr_rate": "0.1"}',  # as on a command line
        warmup_steps=0.1,
        max_steps=200,
        optim="sgd",
        optim_args="momentum=0.9, nesterov=true",
        use_cpu=True,
        report_to="none",
    )
    config = import_schedule(arguments)
    used = theirs("cosine_with_min_lr", 3e-4, 20, 200, {"min_lr_rate": 0.1})
    assert config.lrs() == pytest.approx(used, rel=0, abs=1e-9 * 3e-4)
    assert config.optimizer.name == "SGD"
    assert config.optimizer.settings == {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
    assert import_schedule(arguments.to_dict()) == config
    file = tmp_path / "args.json"
    file.write_text(arguments.to_json_string())
    assert import_schedule(file) == config
    assert import_schedule(str(file)) == config


def test_every_optimizer_of_the_trainer_has_its_class() -> None:
    for optim in OptimizerNames:
        assert optimizer_class(optim.value), optim
    for optim in ("adamw_torch", "adamw_torch_fused", "sgd", "adagrad", "rmsprop", "adafactor"):
        arguments = object.__new__(TrainingArguments)
        vars(arguments).update(
            optim=OptimizerNames(optim),
            optim_args=None,
            learning_rate=0.1,
            adam_beta1=0.9,
            adam_beta2=0.99,
            adam_epsilon=1e-8,
            weight_decay=0.0,
        )
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
        assert kind.__name__ == optimizer_class(optim)
        if kind is torch.optim.AdamW:
            assert settings["betas"] == (0.9, 0.99)
    assert optimizer_class("adam_mini") is None


def test_the_optimizers_settings_are_the_trainers() -> None:
    base = {"learning_rate": 0.1, "max_steps": 5, "adam_beta2": 0.95, "weight_decay": 0.3}
    adamw = import_schedule(base).optimizer
    assert (adamw.name, adamw.settings) == ("AdamW", {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.3})
    assert import_schedule(base, optimizer="Lion").optimizer == OptimizerConfig(
        name="Lion", lr=0.1, settings={"weight_decay": 0.3}
    )
    assert import_schedule({**base, "optim": "galore_adamw"}).optimizer.settings == {}  # it makes its own groups


@pytest.mark.as_pinned("transformers")  # 5.0 takes no `optim_args` for these
@pytest.mark.parametrize(
    ("optim", "optim_args"),
    [
        ("sgd", "momentum=0.9, nesterov=True, weight_decay=0.7"),
        ("sgd", "momentum=0.9, nesterov=off, dampening=0.1"),
        ("rmsprop", "momentum=0.5, alpha=0.9, eps=1e-3, centered=yes, weight_decay=0.7"),
        ("adagrad", "lr_decay=0.01, eps=1e-5, weight_decay=0.7"),
        ("adafactor", None),
        ("adamw_torch", None),
    ],
)
def test_the_settings_are_those_of_the_optimizer_that_the_trainer_makes(
    tmp_path: Path, optim: str, optim_args: str | None
) -> None:
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        learning_rate=0.1,
        max_steps=5,
        weight_decay=0.3,
        optim=optim,
        optim_args=optim_args,
        use_cpu=True,
        report_to="none",
    )
    made = Trainer(torch.nn.Linear(2, 1), arguments).create_optimizer()
    found = import_schedule(arguments).optimizer
    assert found.name == type(made).__name__
    assert {key: made.param_groups[0][key] for key in found.settings} == found.settings
    said = {pair.split("=")[0].strip() for pair in (optim_args or "").split(",") if pair}
    assert found.settings.keys() >= said | {"weight_decay"}


def test_a_polynomial_that_transformers_refuses_is_refused() -> None:
    keywords = {"name": "polynomial", "num_warmup_steps": 0, "num_training_steps": 10}
    with pytest.raises(ValueError, match="must be smaller"):
        get_scheduler(optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-8), **keywords)
    with pytest.raises(UsageError, match=r"lr_end \(1e-07\) must be below learning_rate \(1e-08\)"):
        import_schedule({"learning_rate": 1e-8, "max_steps": 10, "lr_scheduler_type": "polynomial"})


GOOD = """\
learning_rate: 3e-4
lr_scheduler_type: warmup_stable_decay
lr_scheduler_kwargs: {num_decay_steps: 20, decay_type: linear}
warmup_steps: 0
num_train_epochs: 3.0
max_steps: 100
logging_steps: 10
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint", "hint"),
    [
        ("learning_rate: 3e-4\n", "", r"args\.yaml:1:1: learning_rate: missing", "5e-05"),
        ("3e-4", "-1", r"args\.yaml:1:16: learning_rate: expected a number above 0, got -1", None),
        ("3e-4", "'3e-4'", r"args\.yaml:1:16: learning_rate: expected a number, got \"3e-4\"", None),
        (
            "warmup_stable_decay",
            "wsd",
            r"args\.yaml:2:20: lr_scheduler_type: unknown 'wsd'; known: linear, cosine",
            None,
        ),
        ("warmup_stable_decay", "greedy", r"args\.yaml:2:20: lr_scheduler_type: greedy raises and cuts the rate", None),
        (
            "num_decay_steps: 20, ",
            "",
            r"args\.yaml:3:1: lr_scheduler_kwargs\.num_decay_steps: missing; this key has no default, so add it",
            None,
        ),
        (
            "decay_type: linear",
            "decay: linear",
            r"args\.yaml:3:44: lr_scheduler_kwargs\.decay: warmup_stable_decay doesn't take it; it takes num_decay",
            None,
        ),
        ("linear}", "exp}", r"args\.yaml:3:56: lr_scheduler_kwargs\.decay_type: expected 'linear', 'cosine' or", None),
        (
            "{num_decay_steps: 20, decay_type: linear}",
            "nothing",
            r"args\.yaml:3:22: lr_scheduler_kwargs: expected",
            None,
        ),
        ("max_steps: 100\n", "", r"args\.yaml:1:1: max_steps: missing, and num_train_epochs doesn't say", "--steps T"),
        ("max_steps: 100", "max_steps: -1", r"args\.yaml:6:12: max_steps: missing", "--steps T"),
        ("logging_steps", "learning_rate", r"args\.yaml:7:1: learning_rate: this key is already at line 1", None),
        ("warmup_steps: 0", "warmup_steps: 5\nwarmup_ratio: 0.1", r"args\.yaml:5:1: warmup_ratio \(0\.1\)", "remove"),
        ("logging_steps: 10", "optim: adam_mini", r"args\.yaml:7:8: optim: unknown 'adam_mini'", "--optimizer"),
        (GOOD, "[1]", r"args\.yaml:1:1: expected a mapping", "TrainingArguments"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, complaint: str, hint: Any) -> None:
    file = tmp_path / "args.yaml"
    file.write_text(GOOD)
    assert import_schedule(file).schedule.name == "wsd"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=complaint) as caught:
        import_schedule(file)
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_a_mapping_is_told_without_places() -> None:
    with pytest.raises(UsageError, match=r"^learning_rate: missing$"):
        import_schedule({"max_steps": 10})
    with pytest.raises(UsageError, match=r"^max_steps: is 10, and 12 was asked for$"):
        import_schedule({"learning_rate": 0.1, "max_steps": 10}, steps=12)
    with pytest.raises(UsageError, match=r"expected one of min_lr and min_lr_rate"):
        import_schedule({"learning_rate": 0.1, "max_steps": 10, "lr_scheduler_type": "cosine_with_min_lr"})
    with pytest.raises(UsageError, match=r"every update would use the rate 0"):
        import_schedule({"learning_rate": 0.1, "max_steps": 1, "warmup_steps": 1})
    with pytest.raises(UsageError, match=r"its formula has no value there"):
        import_schedule(
            {
                "learning_rate": 0.1,
                "max_steps": 9,
                "lr_scheduler_type": "polynomial",
                "lr_scheduler_kwargs": {"power": -1e9},
            }
        )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        import_schedule(tmp_path / "args.json", steps=10)
    assert "TrainingArguments" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match=r"file of training arguments ends in \.yaml"):
        import_schedule(tmp_path / "args.txt", steps=10)


def test_neither_torch_nor_transformers_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"learning_rate": 0.1, "max_steps": 10, "warmup_steps": 2}))
    code = f"""
import sys
from lrfinder import import_schedule
import_schedule({str(file)!r})
assert not {{"torch", "transformers", "numpy", "pandas"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
