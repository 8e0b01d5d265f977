"""`axolotl find-lr`: axolotl's own functions make the Trainer; here stand-ins of theirs do, with the same signatures.

All of axolotl needs 1.6 GB of packages that nothing else here uses: how it was tried whole is in the README of the
integrations. Its source is installed, so that what the command calls is held against it.
"""

from __future__ import annotations

import ast
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from lrfinder.config import load_schedule

AXOLOTL = Path(sys.prefix) / "frameworks" / "axolotl"


def function(file: str, name: str) -> ast.FunctionDef:
    tree = ast.parse((AXOLOTL / file).read_text())
    return next(it for it in tree.body if isinstance(it, ast.FunctionDef) and it.name == name)


def test_what_it_calls_is_there() -> None:
    assert [arg.arg for arg in function("cli/config.py", "load_cfg").args.args] == ["config"]
    for name in ("load_datasets", "load_preference_datasets"):
        assert "cfg" in {arg.arg for arg in function("common/datasets.py", name).args.kwonlyargs}
    made = function("train.py", "setup_model_and_trainer")
    assert [arg.arg for arg in made.args.args] == ["cfg", "dataset_meta"]
    returned = next(it.value for it in ast.walk(made) if isinstance(it, ast.Return))
    assert isinstance(returned, ast.Tuple)
    assert ast.unparse(returned.elts[0]) == "trainer"
    assert 'ENTRY_POINT_GROUP = "axolotl.cli_commands"' in (AXOLOTL / "cli/plugins.py").read_text()
    (ours,) = [it for it in entry_points(group="axolotl.cli_commands") if it.dist and it.dist.name == "lrfinder"]
    assert (ours.name, ours.value) == ("find-lr", "lrfinder.integrations.axolotl:find_lr")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose Trainer is a small one, as far as axolotl's functions are asked."""
    path = tmp_path / "config.yml"
    path.write_text("base_model: ./base\n")
    text = torch.arange(33 * 64).reshape(64, 33).remainder(7)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}

    def setup(cfg: SimpleNamespace, meta: str) -> tuple[object, ...]:
        assert meta == ("preferences" if cfg.rl else "texts")
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=8, num_key_value_heads=2, **sizes))
        args = TrainingArguments(
            str(tmp_path / "out"), report_to=[], use_cpu=True, disable_tqdm=True, num_train_epochs=20
        )
        return Trainer(model, args, train_dataset=[{"input_ids": row, "labels": row} for row in text]), model

    def load(config: str) -> SimpleNamespace:
        written = Path(config).read_text()
        return SimpleNamespace(rl="dpo" if "rl" in written else None, lr_scheduler="cosine")

    monkeypatch.setitem(sys.modules, "axolotl.cli.config", SimpleNamespace(load_cfg=load))
    datasets = SimpleNamespace(load_datasets=lambda cfg: "texts", load_preference_datasets=lambda cfg: "preferences")
    monkeypatch.setitem(sys.modules, "axolotl.common.datasets", datasets)
    monkeypatch.setitem(sys.modules, "axolotl.train", SimpleNamespace(setup_model_and_trainer=setup))
    return path


@pytest.mark.parametrize("text", ["", "rl: dpo\n"])
def test_it_prints_the_rate_to_set_and_writes_the_schedule(config: Path, tmp_path: Path, text: str) -> None:
    from lrfinder.integrations.axolotl import find_lr

    config.write_text(config.read_text() + text)
    done = CliRunner().invoke(find_lr, [str(config), "--write", str(tmp_path / "schedule.yaml")])
    assert done.exit_code == 0, done.output
    written = load_schedule(tmp_path / "schedule.yaml")
    assert f"\nlearning_rate: {written.optimizer.lr}\n" in done.output
    assert (written.schedule.name, written.steps) == ("cosine", 160)  # 64 texts, eight a batch, 20 times
    assert f"lrfinder schedule export {tmp_path / 'schedule.yaml'} --to axolotl" in done.output
    assert list((tmp_path / "out").iterdir()) == []  # the Trainer makes it; no checkpoint is written


def test_an_error_says_what_to_do_with_its_status(config: Path, tmp_path: Path) -> None:
    from lrfinder.integrations.axolotl import find_lr

    done = CliRunner().invoke(find_lr, [str(config), "--write", str(tmp_path / "schedule.text")])
    assert done.exit_code == 2
    assert "\nlearning_rate: " in done.output  # what was measured is not lost
    assert "lrfinder: " in done.output
    assert ".yaml" in done.output
    missing = CliRunner().invoke(find_lr, [str(tmp_path / "no.yml")])
    assert missing.exit_code == 2
    assert "does not exist" in missing.output
