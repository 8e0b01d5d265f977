"""Which value belongs to a key that was shown before, each list seen once: one layer of attention, AdamW."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(25)
_SAMPLES, _HELD_OUT, _KEYS, _PAIRS = 204_800, 2_000, 12, 5
_order = torch.rand(_SAMPLES + _HELD_OUT, _KEYS, generator=_draw).argsort(1)[:, :_PAIRS]
_values = torch.randint(8, _order.shape, generator=_draw)
_asked = torch.randint(_PAIRS, (len(_order), 1), generator=_draw)
_inputs = torch.cat((_order * 8 + _values, _KEYS * 8 + _order.gather(1, _asked)), 1)  # pairs, then the key alone
_targets = _values.gather(1, _asked).squeeze(1)

loss_fn = nn.CrossEntropyLoss()


class _Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.signs = nn.Embedding(_KEYS * 9, 32)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(32, 8)

    def forward(self, signs):
        return self.out(self.layer(self.signs(signs))[:, -1])


def model():
    return _Recall()


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr)
