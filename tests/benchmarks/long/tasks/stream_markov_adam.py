"""The next of twenty signs where the two before it decide, each text seen once: embeddings and a perceptron, Adam."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(24)
_SAMPLES, _HELD_OUT, _SIGNS, _CONTEXT = 204_800, 4_000, 20, 4
_chances = torch.softmax(2.5 * torch.randn(_SIGNS, _SIGNS, _SIGNS, generator=_draw), -1)
_texts = torch.randint(_SIGNS, (_SAMPLES + _HELD_OUT, _CONTEXT + 1), generator=_draw)
for _place in range(2, _CONTEXT + 1):
    _likely = _chances[_texts[:, _place - 2], _texts[:, _place - 1]]
    _texts[:, _place] = torch.multinomial(_likely, 1, generator=_draw).squeeze(1)
_inputs, _targets = _texts[:, :-1], _texts[:, -1]

loss_fn = nn.CrossEntropyLoss()


def model():
    return nn.Sequential(
        nn.Embedding(_SIGNS, 16), nn.Flatten(), nn.Linear(16 * _CONTEXT, 128), nn.GELU(), nn.Linear(128, _SIGNS)
    )


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
