"""A real `transformers.Trainer` of a model with adapters of PEFT: only they and the new head are tuned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import Trainer, TrainingArguments

from lrfinder.integrations.huggingface import find_lr

DRAW = torch.Generator().manual_seed(0)
TEACHER = torch.randn(16, 3, generator=DRAW)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, x, labels):
        logits = self.head(self.body(x).relu())
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer(folder: Path, rank: int) -> Trainer:
    torch.manual_seed(0)
    inputs = torch.randn(256, 16, generator=torch.Generator().manual_seed(1))
    samples = [{"x": x, "labels": int((x @ TEACHER).argmax())} for x in inputs]
    config = LoraConfig(r=rank, target_modules=["body"], modules_to_save=["head"])
    args = TrainingArguments(
        str(folder),
        per_device_train_batch_size=16,
        max_steps=60,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
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
