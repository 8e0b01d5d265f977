"""A real `transformers.Trainer` of a model with adapters of PEFT: only they and the new head are tuned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import Trainer, TrainingArguments

from lrfinder.errors import UsageError
from lrfinder.integrations.huggingface import find_lr
from lrfinder.task.checkpoint.begin import load_weights
from lrfinder.task.checkpoint.read import read_checkpoint

DRAW = torch.Generator().manual_seed(0)
TEACHER = torch.randn(16, 3, generator=DRAW)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, x, labels):
        logits = self.head(self.body(x).relu())
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer(folder: Path, rank: int, steps: int = 60, **arguments) -> Trainer:
    torch.manual_seed(0)
    inputs = torch.randn(256, 16, generator=torch.Generator().manual_seed(1))
    samples = [{"x": x, "labels": int((x @ TEACHER).argmax())} for x in inputs]
    config = LoraConfig(r=rank, target_modules=["body"], modules_to_save=["head"])
    args = TrainingArguments(
        str(folder),
        per_device_train_batch_size=16,
        max_steps=steps,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        **({"save_strategy": "no"} | arguments),
    )
    return Trainer(get_peft_model(Net(), config), args, train_dataset=samples)


@pytest.mark.parametrize("rank", [1, 4])
def test_a_rate_for_adapters_is_found_and_followed_and_the_base_stays_where_it_is(tmp_path: Path, rank: int) -> None:
    made = trainer(tmp_path, rank)
    weights = dict(made.model.named_parameters())
    before = {name: (weight.data_ptr(), weight.detach().clone()) for name, weight in weights.items()}
    advice = find_lr(made, repeats=1, min_lr=1e-4, max_lr=10, steps=60)
    assert advice.lr is not None, advice.why
    for name, weight in made.model.named_parameters():
        assert weight.data_ptr() == before[name][0]
        assert torch.equal(weight, before[name][1])
    advice.apply(made)
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        loss = made.train().training_loss
    finally:
        hook.remove()
    assert rates == pytest.approx(advice.schedule.lrs())
    plain = trainer(tmp_path, rank)  # at the Trainer's own default, 5e-5
    assert loss < plain.train().training_loss - 0.2
    for name, weight in made.model.named_parameters():
        assert weight.requires_grad is (not torch.equal(weight, before[name][1])), name


def test_a_run_of_adapters_goes_on_from_the_trainers_own_checkpoint(tmp_path: Path) -> None:
    made = trainer(tmp_path, 2, steps=20, save_strategy="steps", save_steps=20, learning_rate=0.01)
    made.train()
    place = tmp_path / "checkpoint-20"
    assert (place / "adapter_model.safetensors").is_file()
    fresh = trainer(tmp_path / "other", 2)
    before = {name: weight.clone() for name, weight in fresh.model.state_dict().items()}
    checkpoint = read_checkpoint(str(place))
    load_weights(checkpoint, fresh.model, "here")
    assert all(torch.equal(made.model.state_dict()[name], weight) for name, weight in fresh.model.state_dict().items())
    assert not all(torch.equal(before[name], weight) for name, weight in fresh.model.state_dict().items())
    with pytest.raises(UsageError, match="checkpoint-20 doesn't fit here: "):
        load_weights(checkpoint, trainer(tmp_path / "wider", 3).model, "here")
    start = find_lr(
        trainer(tmp_path / "third", 2), start_from=place, mode="continuous", repeats=1, steps=10
    ).result.setup.start
    assert (start.step, start.optimizer) == (20, True)
