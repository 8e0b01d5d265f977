"""Checkpoints that the real trainers of Lightning and transformers wrote: a sweep begins where their runs stopped."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import lrfinder
from lrfinder.integrations.huggingface import find_lr

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, in Lightning

SHORT = {"mode": "continuous", "repeats": 1, "steps": 10, "min_lr": 1e-3, "max_lr": 1e-1}
DRAW = torch.Generator().manual_seed(1)
X = torch.randn(64, 4, generator=DRAW)


class Net(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)}


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(X, X.sum(1, keepdim=True)), batch_size=8)
    module = Net()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(tmp_path, filename="last", save_last=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    swept = lrfinder.sweep(Net, train_loader=loader, start_from=tmp_path / "last.ckpt", **SHORT)
    start = swept.setup.start
    assert (start.step, start.optimizer) == (16, True)
    stopped = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"]
    assert start.lr == stopped
    with torch.no_grad():
        expected = nn.functional.mse_loss(module.net(X[:8]), X[:8].sum(1, keepdim=True)).item()
    assert abs(swept.traces[0].initial_loss - expected) < 1e-6


def test_a_checkpoint_folder_of_a_hugging_face_trainer(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    words = torch.randint(1, 50, (64, 8), generator=DRAW)
    samples = [{"input_ids": row, "labels": int(row[0] < 25)} for row in words]
    args = TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=8,
        max_steps=20,
        save_steps=10,
        learning_rate=1e-3,
        weight_decay=0.1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(BertForSequenceClassification(config), args, train_dataset=samples)
    trainer.train()

    def optimizer(params, lr):
        own = trainer.optimizer.param_groups  # the Trainer's groups: with weight decay, and without
        kept = [{id(weight) for weight in group["params"]} for group in own]
        groups = [
            {"params": [weight for weight in params if id(weight) in ids], "weight_decay": group["weight_decay"]}
            for ids, group in zip(kept, own, strict=True)
        ]
        return torch.optim.AdamW(groups, lr=lr)

    batches = [{"input_ids": words[i : i + 8], "labels": (words[i : i + 8, 0] < 25).long()} for i in range(0, 64, 8)]
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    swept = lrfinder.sweep(
        trainer.model, train_loader=batches, optimizer=optimizer, start_from=tmp_path / "checkpoint-10", **SHORT
    )
    start = swept.setup.start
    assert (start.step, start.optimizer) == (10, True)
    assert 4e-4 < start.lr < 6e-4, "half way down a linear decay from 1e-3"
    there = BertForSequenceClassification.from_pretrained(tmp_path / "checkpoint-10")
    with torch.no_grad():
        assert abs(swept.traces[0].initial_loss - there(**batches[0]).loss.item()) < 1e-6
    assert all(map(torch.equal, trainer.model.parameters(), before))
    advice = find_lr(trainer, start_from=tmp_path / "checkpoint-10", **SHORT)
    assert advice.result.setup.start == start
    assert advice.result.traces[0].initial_loss != swept.traces[0].initial_loss, "the Trainer's own batches"
    assert all(map(torch.equal, trainer.model.parameters(), before))
