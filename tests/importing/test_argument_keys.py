"""The keys of argument files: slips, other tools' names, rates of some groups. The fields are the frameworks' own."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import Seq2SeqTrainingArguments, TrainingArguments

from lrfinder.config import format_schedule
from lrfinder.errors import ConfigError, UsageError
from lrfinder.importing import import_schedule

AXOLOTL = Path(sys.prefix) / "frameworks" / "axolotl"
HEAD = "learning_rate: 2.0e-5\nmax_steps: 100\n"


@cache
def classes() -> dict[str, ast.ClassDef]:
    files = [*AXOLOTL.glob("utils/schemas/*.py"), *AXOLOTL.glob("integrations/*/args.py")]
    files += (AXOLOTL / "core").rglob("*args*.py")
    trees = [ast.parse(file.read_text()) for file in files]
    return {it.name: it for tree in trees for it in tree.body if isinstance(it, ast.ClassDef)}


def fields(name: str) -> Iterator[str]:
    """Read the fields of a class of axolotl's, and of its bases: to import them takes packages that aren't here."""
    made = classes().get(name)
    for base in made.bases if made else ():
        yield from fields(ast.unparse(base))
    for it in made.body if made else ():
        if isinstance(it, ast.AnnAssign) and isinstance(it.target, ast.Name):
            alias = [word for word in getattr(it.value, "keywords", ()) if word.arg == "alias"]
            yield ast.literal_eval(alias[0].value) if alias else it.target.id


@cache
def axolotls() -> frozenset[str]:
    plugins = [name for name in classes() if name.endswith("Args")]
    return frozenset(field for name in ("AxolotlInputConfig", *plugins) for field in fields(name))


@pytest.mark.parametrize("base", ["", "base_model: x\n"])
@pytest.mark.parametrize(
    "key",
    [
        *("lr_schedulr", "lr_schedule", "lr_schedulers", "lrscheduler", "lr_sheduler", "LR_SCHEDULER"),
        *("lr-scheduler", "lrScheduler"),
    ],
)
def test_a_slip_in_axolotls_schedule_is_told_with_its_place(tmp_path: Path, key: str, base: str) -> None:
    (tmp_path / "args.yaml").write_text(f"{HEAD}{key}: cosine\n{base}")
    with pytest.raises(ConfigError, match=rf"args\.yaml:3:1: {key}: unknown; did you mean lr_scheduler\?"):
        import_schedule(tmp_path / "args.yaml")


@pytest.mark.parametrize(
    ("key", "meant", "axolotls_name"),
    [
        ("lr_scheduler_typ", "lr_scheduler_type", "lr_scheduler"),
        ("lrSchedulerType", "lr_scheduler_type", "lr_scheduler"),
        ("lr_scheduler_kwarg", "lr_scheduler_kwargs", "lr_scheduler_kwargs"),
        ("optimiser", "optim", "optimizer"),
        ("Optimizer", "optim", "optimizer"),
        ("scheduler", "lr_scheduler_type", "lr_scheduler"),
        ("warmup", "warmup_steps", "warmup_steps"),
        ("num_warmup_steps", "warmup_steps", "warmup_steps"),
        ("warmup-ratio", "warmup_ratio", "warmup_ratio"),
        ("max_train_steps", "max_steps", "max_steps"),
        ("lr", "learning_rate", "learning_rate"),
        ("lerning_rate", "learning_rate", "learning_rate"),
        ("weight_deacy", "weight_decay", "weight_decay"),
        ("base_modle", "base_model", "base_model"),
        ("embeding_lr", "embedding_lr", "embedding_lr"),
        ("jagged_restart_step", "jagged_restart_steps", "jagged_restart_steps"),
    ],
)
def test_slips_and_other_tools_names_are_refused(key: str, meant: str, axolotls_name: str) -> None:
    for mark, name in (({}, meant), ({"micro_batch_size": 2}, axolotls_name)):
        with pytest.raises(UsageError, match=rf"^{key}: unknown; did you mean {name}\?"):
            import_schedule({"learning_rate": 1e-3, "max_steps": 10, key: 1, **mark})


def test_a_slip_in_the_rate_is_told_before_the_rate_is_missed() -> None:
    with pytest.raises(UsageError, match=r"^lerning_rate: unknown; did you mean learning_rate\?$"):
        import_schedule({"lerning_rate": 1e-3, "max_steps": 10})


@pytest.mark.parametrize("kind", [TrainingArguments, Seq2SeqTrainingArguments])
def test_no_argument_of_transformers_is_taken_for_a_misspelt_one(kind: type) -> None:
    every = {field.name: None for field in dataclasses.fields(kind)}
    made = import_schedule({**every, "learning_rate": 1e-3, "max_steps": 10, "lr_scheduler_type": "cosine"})
    assert made.schedule.name == "cosine"


def test_no_field_of_axolotls_is_taken_for_a_misspelt_one() -> None:
    read = {"learning_rate", "lr_scheduler", "lr_scheduler_kwargs", "max_steps", "warmup_steps", "warmup_ratio"}
    read |= {"optimizer", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"}
    own = {"lr_groups", "embedding_lr", "embedding_lr_scale", "loraplus_lr_ratio", "dion_lr", "cosine_min_lr_ratio"}
    own |= {"cosine_constant_lr_ratio", "lr_quadratic_warmup", "jagged_restart_steps"}
    assert read | own <= axolotls()
    assert len(axolotls()) > 400
    others = dict.fromkeys(axolotls() - read - own, "x")
    made = import_schedule({**others, "learning_rate": 1e-3, "max_steps": 10, "lr_scheduler": "linear"})
    assert made.schedule.name == "linear"


RATES = {
    "embedding_lr": 1e-6,
    "embedding_lr_scale": 0.1,
    "lr_groups": [{"name": "a", "modules": ["b"], "lr": 1e-6}],
    "loraplus_lr_ratio": 16,
    "dion_lr": 0.01,
}


@pytest.mark.parametrize("key", RATES)
@pytest.mark.parametrize("shape", ["lr_scheduler", "lr_scheduler_type"])
def test_rates_of_some_groups_are_refused(tmp_path: Path, key: str, shape: str) -> None:
    data = {"learning_rate": 2e-5, "max_steps": 100, shape: "cosine", key: RATES[key]}
    with pytest.raises(UsageError, match=rf"^{key}: .* gives some param groups another rate"):
        import_schedule(data)
    (tmp_path / "args.yaml").write_text(f"{HEAD}{shape}: cosine\n{key}: {RATES[key]}\n")
    with pytest.raises(ConfigError, match=rf"args\.yaml:4:{len(key) + 3}: {key}: "):
        import_schedule(tmp_path / "args.yaml")


@pytest.mark.parametrize("key", [*RATES, "alternate_lr_scheduler_type", "jagged_restart_steps"])
def test_what_axolotls_arguments_hold_is_refused_in_the_object(key: str) -> None:
    made = SimpleNamespace(learning_rate=1e-3, lr_scheduler_type="cosine", max_steps=10, loraplus_lr_embedding=1e-6)
    assert import_schedule(made).schedule.name == "cosine"
    setattr(made, key, RATES.get(key, 3))
    with pytest.raises(UsageError, match=rf"^{key}: "):
        import_schedule(made)


def test_the_refused_rates_are_those_that_its_trainer_reads() -> None:
    """Every attribute of its arguments with a rate in its name, in the mixin that makes the param groups."""
    tree = ast.parse((AXOLOTL / "core/trainers/mixins/optimizer.py").read_text())
    read = {it.attr for it in ast.walk(tree) if isinstance(it, ast.Attribute) and ast.unparse(it.value) == "self.args"}
    assert {name for name in read if "lr" in name} <= RATES.keys()
    assert {name for name in axolotls() if name.endswith("_lr")} <= RATES.keys()


def test_loraplus_embedding_alone_does_nothing() -> None:
    """Axolotl's default for it is 1e-6, and its trainer reads it only beside a ratio."""
    data = {"learning_rate": 1e-3, "max_steps": 10, "lr_scheduler": "linear", "loraplus_lr_embedding": 1e-6}
    assert import_schedule(data).schedule.name == "linear"
    with pytest.raises(UsageError, match=r"(?s)loraplus_lr_ratio: 0 gives .*loraplus_lr_embedding: 1e-06 gives "):
        import_schedule({**data, "loraplus_lr_ratio": 0})


@pytest.mark.parametrize(
    ("key", "value"), [("vision_tower_lr", 1e-6), ("learning_rate_mapping", {"a": 1}), ("min-lr", 1)]
)
def test_a_key_that_is_called_after_the_rate_is_refused(key: str, value: Any) -> None:
    """LLaVA's `vision_tower_lr`, Sentence Transformers' `learning_rate_mapping`, Megatron's `min-lr`."""
    data = {"learning_rate": 1e-3, "max_steps": 10}
    with pytest.raises(UsageError, match=rf"^{key}: unknown, and by its name it changes the rate"):
        import_schedule({**data, key: value})
    assert import_schedule({**data, key: None}).schedule.name == "linear"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lr_scheduler_type: cosine\nlr_scheduler: linear",
            r':3:1: lr_scheduler_type: lr_scheduler: "linear" is there, too',
        ),
        (
            "lr_scheduler_type: cosine\nbase_model: x",
            r":3:1: lr_scheduler_type: base_model shows .* it is lr_scheduler$",
        ),
        (
            "optim: sgd\nbase_model: x",
            r":3:1: optim: base_model shows that .* axolotl's, whose key for it is optimizer",
        ),
        ("optim: sgd\noptimizer: sgd\nbase_model: x", r':3:1: optim: optimizer: "sgd" is there, too'),
        ("optim: sgd\noptimizer: lion", r':4:1: optimizer: optim: "sgd" is there, too'),
        ("lr_scheduler_type: cosine\noptimizer: sgd", r":4:1: optimizer: transformers' key for it is optim$"),
        ("lr_scheduler: cosine\nwarmup_steps: 5\nwarmup_ratio: 0.1", r":5:1: warmup_ratio: warmup_steps is there, too"),
        ("adafactor: true", r":3:1: adafactor: isn't read; write optim: adafactor"),
        (
            "deepspeed: {scheduler: {type: WarmupLR}}",
            r":3:13: deepspeed.scheduler: takes the place of lr_scheduler_type",
        ),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "args.yaml").write_text(f"{HEAD}{text}\n")
    with pytest.raises(ConfigError, match=f"(?m){message}"):
        import_schedule(tmp_path / "args.yaml")


def test_axolotl_refuses_two_warm_ups_as_well() -> None:
    (check,) = [
        it
        for it in ast.walk(ast.parse((AXOLOTL / "utils/schemas/validation.py").read_text()))
        if isinstance(it, ast.FunctionDef) and "warmup_steps and warmup_ratio are mutually" in ast.unparse(it)
    ]
    check.decorator_list = []
    names: dict[str, Any] = {}
    exec(compile(ast.Module([check], []), "axolotl", "exec"), names)  # noqa: S102 - the framework's own
    with pytest.raises(ValueError, match="mutually exclusive"):
        names[check.name](None, {"warmup_steps": 5, "warmup_ratio": 0.1})


def test_what_version_4_writes_into_every_file_is_none() -> None:
    data = {"learning_rate": 1e-3, "max_steps": 10, "adafactor": False, "warmup_ratio": 0.0, "deepspeed": "zero2.json"}
    assert import_schedule(data).schedule.name == "linear"


WITH_SCHEDULER = '{"zero_optimization": {"stage": 2},\n "scheduler": {"type": "WarmupDecayLR", "params": {}}}'


@pytest.mark.parametrize("mark", ["", "base_model: x\nwarmup_steps: 0\n"], ids=["transformers", "axolotl"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_scheduler_in_deepspeeds_file_is_refused(
    tmp_path: Path, beside: bool, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = tmp_path / "working"
    (working / "ds").mkdir(parents=True)
    (tmp_path / "ds").mkdir()
    monkeypatch.chdir(working)
    file = tmp_path / "ds/zero2.json" if beside else working / "ds/zero2.json"
    arguments = tmp_path / "args.yaml"
    arguments.write_text(f"{HEAD}deepspeed: ds/zero2.json\n{mark}")
    file.write_text(WITH_SCHEDULER)
    key = "lr_scheduler" if mark else "lr_scheduler_type"
    message = (
        rf"args\.yaml:3:12: deepspeed: .*zero2\.json:2:2: scheduler: takes the place of {key}, and isn't read; take"
    )
    with pytest.raises(ConfigError, match=message):
        import_schedule(arguments)
    if not beside:
        with pytest.raises(UsageError, match=r"^deepspeed: ds/zero2\.json:2:2: scheduler: takes the place of"):
            import_schedule({"learning_rate": 1e-3, "max_steps": 10, "deepspeed": "ds/zero2.json"})
    file.write_text('{"zero_optimization": {"stage": 2}, "scheduler": null}')
    assert "DeepSpeed" not in import_schedule(arguments).evidence.why


@pytest.mark.parametrize("name", ["away.json", "words.json", "bytes.json", "folder", "x" * 5000, "nul\0.json"])
def test_a_file_of_deepspeeds_that_cannot_be_read_is_said(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.json").write_text("scheduler: [")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    config = import_schedule({"learning_rate": 1e-3, "max_steps": 10, "deepspeed": name})
    assert "couldn't be read: a scheduler in it would take the place of this one" in config.evidence.why
    format_schedule(config, suffix=".toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: muon", r":4:12: optimizer: unknown 'muon'"),
        ("lr_scheduler: consine", r":4:15: lr_scheduler: unknown 'consine'; known: linear"),
        ('warmup_ratio: "0.1"', r':4:15: warmup_ratio: expected a number from 0 to 1, got "0.1"'),
        ("warmup_ratio: .inf", r":4:15: warmup_ratio: expected a number from 0 to 1, got Infinity"),
        ("warmup_steps: -1", r":4:15: warmup_steps: expected a number of at least 0, got -1"),
    ],
)
def test_messages_have_the_names_of_axolotls_keys(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "args.yaml").write_text(f"{HEAD}base_model: x\n{text}\n")
    with pytest.raises(ConfigError, match=message):
        import_schedule(tmp_path / "args.yaml")
