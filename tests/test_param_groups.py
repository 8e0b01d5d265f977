"""Layer-wise rates, on a real transformer and on small nets whose layers are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import lrfinder
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.schedules import Linear


class Net(nn.Module):
    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.position = nn.Parameter(torch.zeros(4))
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(blocks)])
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


def rates(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, float]:
    """The rate of each parameter, by its name."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    return {named[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]}


def test_blocks_are_layers_with_what_lies_below_and_above() -> None:
    model = Net()
    found = rates(model, lrfinder.layerwise(model, 1.0, decay=0.5))
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert found["position"] == found["embed.weight"] == 0.5**4
    for block in range(3):
        assert found[f"blocks.{block}.0.weight"] == found[f"blocks.{block}.1.bias"] == 0.5 ** (3 - block)
    assert found["norm.weight"] == found["head.bias"] == 1.0


def test_a_plain_sequence_has_a_layer_each() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    found = rates(model, lrfinder.layerwise(model, 0.1, decay=1 / 2.6))
    assert [found[f"{i}.weight"] for i in (0, 2, 4)] == pytest.approx([0.1 / 2.6**2, 0.1 / 2.6, 0.1])


def test_a_model_without_a_list_has_its_children() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dropout, self.second = nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 1)

    model = Plain()
    found = rates(model, lrfinder.layerwise(model, 1.0, decay=0.5))
    assert (found["first.weight"], found["second.weight"]) == (0.5, 1.0)


def test_a_transformers_model() -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16
    )
    model = transformers.BertForSequenceClassification(config)
    found = rates(model, lrfinder.layerwise(model, 1.0, decay=0.9))
    assert found["bert.embeddings.word_embeddings.weight"] == pytest.approx(0.9**5)
    assert [found[f"bert.encoder.layer.{i}.output.dense.weight"] for i in range(4)] == pytest.approx(
        [0.9**4, 0.9**3, 0.9**2, 0.9]
    )
    assert found["classifier.weight"] == found["bert.pooler.dense.weight"] == 1.0


def test_named_layers_and_the_rest_with_the_first() -> None:
    model = Net()
    groups = lrfinder.layerwise(model, 1.0, decay=0.5, layers=[model.embed, model.blocks, [model.norm, model.head]])
    found = rates(model, groups)
    assert found["position"] == found["embed.weight"] == 0.25
    assert found["blocks.2.0.weight"] == 0.5
    assert found["head.weight"] == 1.0


def test_frozen_and_tied_parameters_are_there_once_or_not_at_all() -> None:
    model = Net()
    model.head.weight = nn.Parameter(torch.zeros(5, 4))
    model.head.weight = model.embed.weight  # tied: it belongs to the lower layer
    model.blocks[1].requires_grad_(False)
    groups = lrfinder.layerwise(model, 1.0, decay=0.5)
    torch.optim.SGD(groups, lr=1.0)  # torch refuses a parameter in two groups
    found = rates(model, groups)
    assert found["embed.weight"] == 0.5**4
    assert not any(name.startswith("blocks.1") for name in found)


def test_the_schedule_keeps_the_ratios() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(lrfinder.layerwise(model, 9.0, decay=0.5))
    config = ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=0.1), schedule=Linear(steps=10))
    config.scheduler(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * 0.5**k for k in (4, 3, 2, 1, 0)])


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [
        ({"decay": 0.0}, "decay must be above 0"),
        ({"decay": 1.5}, "at most 1"),
        ({"decay": float("nan")}, "decay must be"),
        ({"layers": [nn.Linear(1, 1)]}, "layer 0 has parameters that aren't the model's"),
    ],
)
def test_what_cannot_be_meant(keywords: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        lrfinder.layerwise(Net(), 1.0, **keywords)


def test_a_layer_twice_and_a_frozen_model() -> None:
    model = Net()
    with pytest.raises(UsageError, match="two layers"):
        lrfinder.layerwise(model, 1.0, layers=[model.embed, model.embed])
    with pytest.raises(UsageError, match="lr must be above 0"):
        lrfinder.layerwise(model, 0.0)
    with pytest.raises(UsageError, match="no parameter that wants a gradient"):
        lrfinder.layerwise(model.requires_grad_(False), 1.0)
