"""Models of the real transformers package, made from configs: their own loss is used, as torch computes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from lrfinder.errors import ModelFileError
from lrfinder.task.problem import BuiltProblem

pytestmark = pytest.mark.needs("transformers")

FILE = """
from transformers import BatchEncoding, GPT2Config, GPT2LMHeadModel

def model():
    return GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2,
                                      resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0))

ids = torch.arange(16).view(2, 8) % 11
"""


@pytest.mark.parametrize("batch", ["dict(input_ids=ids, labels=ids)", "BatchEncoding(dict(input_ids=ids, labels=ids))"])
def test_a_language_model_keeps_its_own_loss(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor], batch: str
) -> None:
    trial = build(f"{FILE}train_loader = [{batch}]\n")
    loss = first_loss(trial)
    ids = torch.arange(16).view(2, 8) % 11
    logits = trial.model(input_ids=ids).logits
    assert loss.item() == pytest.approx(
        functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()
    )
    assert trial.loss_note() == "the model's own (CausalLMOutputWithCrossAttentions.loss)"


def test_without_labels_it_is_told_that_there_is_no_loss(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor]
) -> None:
    with pytest.raises(ModelFileError, match="without a loss") as caught:
        first_loss(build(f"{FILE}train_loader = [dict(input_ids=ids)]\n"))
    assert "labels" in str(caught.value.hint)
