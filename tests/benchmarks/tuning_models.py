"""Small models that are pretrained here on one data set, to be tuned on another: in full, or by adapters of PEFT.

`digits`: a perceptron that knows the digits 0 to 4, tuned on 5 to 9 with a new head. `language`: a decoder (Llama's, of
one layer) that knows one language of 24 letters, tuned on another that shares half of its rules.
"""

from __future__ import annotations

import copy
import itertools
from functools import lru_cache
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import LlamaConfig, LlamaForCausalLM

LETTERS, LENGTH, SHARED = 24, 16, 12
Task = dict[str, Any]


class Perceptron(nn.Module):
    """Two hidden layers and a head; it computes its loss as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 5)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.second(self.first(inputs).relu()).relu())
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@lru_cache
def _digits() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Return the old digits, and the new ones to train on and to judge by."""
    read = load_digits()
    inputs, labels = torch.tensor(read.data, dtype=torch.float32) / 16, torch.tensor(read.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(5))
    inputs, labels = inputs[order], labels[order]
    old, new = labels < 5, labels >= 5
    return (
        TensorDataset(inputs[old], labels[old]),
        TensorDataset(inputs[new][:600], labels[new][:600] - 5),
        TensorDataset(inputs[new][600:], labels[new][600:] - 5),
    )


@lru_cache
def _sentences(language: str, count: int, seed: int) -> TensorDataset:
    """Return sentences of a language: after each letter come three others, mostly the first of them."""
    rules = torch.stack(
        [torch.randperm(LETTERS, generator=torch.Generator().manual_seed(i))[:3] for i in range(LETTERS)]
    )
    if language == "new":
        other = torch.stack(
            [torch.randperm(LETTERS, generator=torch.Generator().manual_seed(99 + i))[:3] for i in range(LETTERS)]
        )
        rules = torch.cat([rules[:SHARED], other[SHARED:]])
    draw = torch.Generator().manual_seed(seed)
    letters = [torch.randint(LETTERS, (count,), generator=draw)]
    for _ in range(LENGTH - 1):
        choice = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), count, replacement=True, generator=draw)
        letters.append(rules[letters[-1], choice])
    return TensorDataset(torch.stack(letters, dim=1))


def _decoder() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=LETTERS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
    )
    return LlamaForCausalLM(config)


def batch_of(samples: list[tuple[torch.Tensor, ...]]) -> dict[str, torch.Tensor]:
    """Return samples as a batch with names."""
    parts = [torch.stack(part) for part in zip(*samples, strict=True)]
    return {"input_ids": parts[0], "labels": parts[0]} if len(parts) == 1 else {"inputs": parts[0], "labels": parts[1]}


def loader(data: TensorDataset, *, shuffle: bool, batch_size: int = 32) -> DataLoader:
    """Return batches with names."""
    return DataLoader(data, batch_size=batch_size, shuffle=shuffle, drop_last=shuffle, collate_fn=batch_of)


@lru_cache
def _pretrained(kind: str) -> nn.Module:
    """Train on the old data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, data, steps = (
            (Perceptron(), _digits()[0], 300) if kind == "digits" else (_decoder(), _sentences("old", 4000, 1), 800)
        )
        adam = torch.optim.AdamW(net.parameters(), lr=3e-3)
        decay = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=steps)
        batches = itertools.chain.from_iterable(itertools.repeat(loader(data, shuffle=True)))
        for batch in itertools.islice(batches, steps):
            adam.zero_grad()
            net(**batch)["loss"].backward()
            adam.step()
            decay.step()
    return net


def model(kind: str, rank: int | None) -> nn.Module:
    """Return the pretrained model with a new head, if it has one; with adapters of `rank`, the rest frozen."""
    net = copy.deepcopy(_pretrained(kind))
    if kind == "digits":
        net.head = nn.Linear(128, 5)
    if rank is None:
        return net
    targets, saved = (
        (["first", "second"], ["head"]) if kind == "digits" else (["q_proj", "v_proj", "up_proj", "down_proj"], None)
    )
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets, modules_to_save=saved)
    return get_peft_model(net, config)


def data_of(kind: str) -> tuple[TensorDataset, TensorDataset]:
    """Return the new data: to train on, and to judge by."""
    return _digits()[1:] if kind == "digits" else (_sentences("new", 1000, 2), _sentences("new", 400, 3))
