"""A real `transformers.Trainer`, swept as it is: nothing of it changes, and its run then follows f(t)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import lrfinder
from lrfinder.integrations.huggingface import find_lr


def samples() -> list[dict]:
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(1, 50, (64, 8), generator=draw)
    return [{"input_ids": row, "labels": int(row[0] < 25)} for row in words]


class Counting(Trainer):
    """One that collects numbers in its loss, as TRL's does."""

    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)
        self.seen = defaultdict(list)

    def compute_loss(self, model, inputs, *args, **keywords):
        loss = super().compute_loss(model, inputs, *args, **keywords)
        self.seen["train" if model.training else "eval"].append(1.0)
        return loss


def trainer(folder: Path, **arguments) -> Trainer:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    given = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "report_to": [], "use_cpu": True, "seed": 1}
    given |= {"save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
    args = TrainingArguments(str(folder), **(given | arguments))
    return Counting(BertForSequenceClassification(config), args, train_dataset=samples())


def rates_of(made: Trainer) -> list[float]:
    """Train, and return the rate of each update, as torch's own hook sees it."""
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        made.train()
    finally:
        hook.remove()
    return rates


def seeded_rates_of(made: Trainer) -> list[float]:
    torch.manual_seed(2)
    return rates_of(made)


def weights(made: Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in made.model.parameters()]


@pytest.mark.parametrize("arguments", [{}, {"gradient_accumulation_steps": 2, "weight_decay": 0.1}, {"bf16": True}])
def test_a_run_after_it_is_the_run_without_it(tmp_path: Path, arguments: dict) -> None:
    plain, swept = trainer(tmp_path, **arguments), trainer(tmp_path, **arguments)
    generator = torch.get_rng_state()
    before = weights(swept)
    advice = find_lr(swept, max_lr=1.0, repeats=1, run_steps=10)
    assert advice.result.settings.steps == 100
    assert all(map(torch.equal, weights(swept), before))
    assert torch.equal(torch.get_rng_state(), generator)
    assert (swept.optimizer, swept.lr_scheduler, dict(swept.seen)) == (None, None, {})
    torch.set_rng_state(generator)
    expected = rates_of(plain)
    torch.set_rng_state(generator)
    assert rates_of(swept) == expected
    assert all(map(torch.equal, weights(swept), weights(plain)))


def test_what_train_turns_on_in_the_model_is_on_in_the_sweep_and_off_again(tmp_path: Path) -> None:
    kind = "activation" if hasattr(TrainingArguments, "activation_checkpointing") else "gradient"  # before 5.24
    arguments = {f"{kind}_checkpointing": True, "neftune_noise_alpha": 5.0}
    plain, swept = trainer(tmp_path, **arguments), trainer(tmp_path, **arguments)
    embeddings, encoder, before = swept.model.get_input_embeddings(), swept.model.bert.encoder, weights(swept)
    seen = []
    hook = encoder.register_forward_pre_hook(
        lambda module, _: seen.append(
            (any(part.gradient_checkpointing for part in module.modules() if hasattr(part, "gradient_checkpointing")),
             getattr(embeddings, "neftune_noise_alpha", None))
        )
    )  # fmt: skip
    find_lr(swept, max_lr=1.0, repeats=1, run_steps=10, steps=50, mode="continuous")
    hook.remove()
    assert set(seen) == {(True, 5.0)}
    assert not any(getattr(part, "gradient_checkpointing", False) for part in swept.model.modules())
    assert not hasattr(embeddings, "neftune_noise_alpha")
    assert not embeddings._forward_hooks
    assert all(map(torch.equal, weights(swept), before))
    expected = seeded_rates_of(plain)
    assert seeded_rates_of(swept) == expected
    assert all(map(torch.equal, weights(swept), weights(plain)))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_applied_the_run_is_as_long_as_its_arguments_say_and_follows_f(tmp_path: Path, accumulation: int) -> None:
    made = trainer(tmp_path, gradient_accumulation_steps=accumulation)
    advice = find_lr(made, schedule="cosine", max_lr=1.0, repeats=1, run_steps=10)
    if advice.lr is None:
        pytest.fail(advice.why)
    advice.apply(made)
    assert made.args.learning_rate == advice.lr
    rates = rates_of(made)
    assert len(rates) == 16 // accumulation
    assert rates == pytest.approx(advice.schedule.lrs())


def test_a_run_that_goes_on_begins_where_it_was(tmp_path: Path) -> None:
    plain, swept = trainer(tmp_path), trainer(tmp_path)
    seeded_rates_of(plain)
    seeded_rates_of(swept)
    optimizer, scheduler, seen = swept.optimizer, swept.lr_scheduler, swept.seen["train"]
    find_lr(swept, max_lr=1.0, repeats=1, run_steps=10)
    assert (swept.optimizer, swept.lr_scheduler) == (optimizer, scheduler)
    assert swept.seen["train"] is seen
    assert len(seen) == 16
    expected = seeded_rates_of(plain)
    assert seeded_rates_of(swept) == expected
    assert all(map(torch.equal, weights(swept), weights(plain)))


def test_given_as_learning_rate_it_is_the_run_of_that_rate_from_the_start(tmp_path: Path) -> None:
    made = trainer(tmp_path, lr_scheduler_type="cosine")
    advice = find_lr(made, max_lr=1.0, repeats=1, run_steps=10)
    assert advice.lr is not None, advice.why
    made.args.learning_rate = advice.lr
    plain = trainer(tmp_path, lr_scheduler_type="cosine", learning_rate=advice.lr)
    expected = seeded_rates_of(plain)
    assert seeded_rates_of(made) == expected
    assert all(map(torch.equal, weights(made), weights(plain)))


def test_its_losses_are_those_of_the_trainer_s_own_steps(tmp_path: Path) -> None:
    """On one batch, and without dropout."""

    def made() -> Trainer:
        one = trainer(tmp_path, per_device_train_batch_size=64, max_grad_norm=0.05)
        for module in one.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return one

    swept = find_lr(made(), max_lr=0.1, repeats=1, mode="continuous").result.traces[0]
    by_hand = made()
    by_hand.current_gradient_accumulation_steps = 1  # which `train` sets
    optimizer, (batch,) = by_hand.create_optimizer(), by_hand.get_train_dataloader()
    by_hand.model.train()
    losses = []
    for rate in swept.lrs:
        losses.append(by_hand.training_step(by_hand.model, batch).item())
        torch.nn.utils.clip_grad_norm_(by_hand.model.parameters(), by_hand.args.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    assert [swept.initial_loss, *swept.losses[:59]] == pytest.approx(losses[:60], rel=5e-5)


@pytest.mark.parametrize(("arguments", "kind"), [({}, torch.float32), ({"bf16": True}, torch.bfloat16)])
def test_it_computes_in_the_trainer_s_precision(tmp_path: Path, arguments: dict, kind: torch.dtype) -> None:
    made, seen = trainer(tmp_path, **arguments), set()
    made.model.classifier.register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    find_lr(made, repeats=1, mode="continuous")
    assert seen == {kind}


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # PEFT's own
def test_a_model_of_peft_trains_its_adapter_alone(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    made, plain = trainer(tmp_path), trainer(tmp_path)
    for one in (made, plain):
        torch.manual_seed(3)
        one.model = get_peft_model(one.model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"]))
    before = weights(made)
    advice = find_lr(made, schedule="cosine", max_lr=10.0, repeats=1, run_steps=10)
    assert all(map(torch.equal, weights(made), before))
    held = sum(p.numel() for group in made.create_optimizer().param_groups for p in group["params"])
    assert held < sum(p.numel() for p in made.model.parameters()) / 2
    made.optimizer = None
    assert advice.lr is not None, advice.why
    advice.apply(made)
    assert rates_of(made) == pytest.approx(advice.schedule.lrs())
    frozen = [name for name, p in made.model.named_parameters() if not p.requires_grad]
    after = dict(made.model.named_parameters())
    there = dict(plain.model.named_parameters())
    assert all(torch.equal(after[name], there[name]) for name in frozen)


def test_frozen_weights_stay_and_cost_nothing(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    for parameter in made.model.bert.parameters():
        parameter.requires_grad_(False)
    before = weights(made)
    advice = find_lr(made, max_lr=10.0, repeats=1, run_steps=10)
    assert all(map(torch.equal, weights(made), before))
    assert advice.result.setup.optimizer.name == "AdamW"


def test_what_can_t_be_swept_is_refused(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    made.is_fsdp_enabled = True
    with pytest.raises(lrfinder.UsageError, match="several devices"):
        find_lr(made)
    endless = trainer(tmp_path, max_steps=3)
    endless.args.max_steps = -1
    endless.get_train_dataloader = lambda: iter(())
    with pytest.raises(lrfinder.UsageError, match="no length"):
        find_lr(endless)
