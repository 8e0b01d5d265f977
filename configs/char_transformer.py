"""A character-level transformer that learns to write like Python's own help topics, from the standard library.

The batch is not (inputs, target) for a ready-made loss: every position predicts the next character. That is what
`training_step` is for.

lrfinder sweep configs/char_transformer.py
"""

import pydoc_data.topics

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

CONTEXT = 48  # characters that the model sees at once

topics = pydoc_data.topics.topics
text = "".join(topics[name] for name in sorted(topics))[:300_000]
characters = sorted(set(text))
number = {character: index for index, character in enumerate(characters)}
ids = torch.tensor([number[character] for character in text])


class Windows(Dataset):
    """Non-overlapping pieces of the text, each with itself moved on by one character as the target."""

    def __init__(self, ids):
        self.ids = ids

    def __len__(self):
        return (len(self.ids) - 1) // CONTEXT

    def __getitem__(self, index):
        start = index * CONTEXT
        return self.ids[start : start + CONTEXT], self.ids[start + 1 : start + CONTEXT + 1]


class CharacterTransformer(nn.Module):
    def __init__(self, width=64, depth=2, heads=4):
        super().__init__()
        self.token = nn.Embedding(len(characters), width)
        self.position = nn.Parameter(torch.zeros(CONTEXT, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(characters), bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, ids):
        hidden = self.body(self.token(ids) + self.position, mask=self.mask, is_causal=True)
        return self.head(self.norm(hidden))


def model():
    return CharacterTransformer()


def training_step(model, batch):
    ids, following = batch
    return functional.cross_entropy(model(ids).flatten(0, 1), following.flatten())


def train_loader(batch_size=16):
    return DataLoader(Windows(ids[:270_000]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(Windows(ids[270_000:]), batch_size=128)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.95), weight_decay=0.1)
