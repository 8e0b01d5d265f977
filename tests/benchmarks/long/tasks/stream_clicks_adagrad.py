"""Clicks on made-up advertisements, five fields with a few frequent values each, seen once: embeddings, Adagrad."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(23)
_SAMPLES, _HELD_OUT, _VALUES, _FIELDS = 409_600, 4_000, 200, 5
_common = (_VALUES * torch.rand(_SAMPLES + _HELD_OUT, _FIELDS, generator=_draw) ** 2.5).long()
_inputs = _common + _VALUES * torch.arange(_FIELDS)
_effect, _taste = torch.randn(_VALUES * _FIELDS, generator=_draw), torch.randn(_VALUES * _FIELDS, 3, generator=_draw)
_scores = 0.7 * _effect[_inputs].sum(1) + (_taste[_inputs[:, 0]] * _taste[_inputs[:, 1]]).sum(1) - 1
_targets = (torch.rand(len(_scores), generator=_draw) < torch.sigmoid(_scores)).float()

loss_fn = nn.BCEWithLogitsLoss()


class _Machine(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.EmbeddingBag(_VALUES * _FIELDS, 1, mode="sum")
        self.factors = nn.Embedding(_VALUES * _FIELDS, 6)
        nn.init.zeros_(self.bias.weight)
        nn.init.normal_(self.factors.weight, std=0.1)

    def forward(self, fields):
        each = self.factors(fields)
        pairs = (each.sum(1).square() - each.square().sum(1)).sum(1) / 2
        return self.bias(fields).squeeze(1) + pairs


def model():
    return _Machine()


def train_loader(batch_size=64):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.Adagrad(params, lr=lr)
