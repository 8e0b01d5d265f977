"""Run exported schedules in the frameworks themselves: JSON jobs on standard input, the rates used on standard output.

A process of its own: Keras and JAX settle their devices and threads when they are imported.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

PEAK_ELSEWHERE = 0.7  # the rate that live optimizers are built with: the export must not depend on it


def names_of(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(text, names)  # noqa: S102 - our own text
    return names


def stepped(optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    """Step both as a training loop does; the rates that each update uses, group by group."""
    used = []
    for step in range(steps):
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return used


def parameters() -> list[Any]:
    import torch

    return [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]


def run_torch(text: str, steps: int) -> list[list[float]]:
    import torch

    first, second = parameters()
    groups = [{"params": [first], "lr": PEAK_ELSEWHERE}, {"params": [second], "lr": PEAK_ELSEWHERE / 4}]
    optimizer = torch.optim.SGD(groups)
    return stepped(optimizer, names_of(text)["make_scheduler"](optimizer), steps)


def run_lightning(text: str, steps: int) -> list[list[float]]:
    import lightning
    import torch

    names = names_of(text)

    class Module(lightning.LightningModule):
        configure_optimizers = names["configure_optimizers"]

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

    made = Module().configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    return stepped(made["optimizer"], made["lr_scheduler"]["scheduler"], steps)


def run_huggingface(text: str, steps: int) -> list[list[float]]:
    import torch
    from transformers import get_scheduler

    names = names_of(text)
    if "ARGUMENTS" not in names:
        optimizer, scheduler = names["optimizers"](torch.nn.Linear(1, 1))
        return stepped(optimizer, scheduler, steps)
    arguments = names["ARGUMENTS"]
    optimizer = torch.optim.SGD(parameters(), lr=arguments["learning_rate"])
    scheduler = get_scheduler(
        arguments["lr_scheduler_type"],
        optimizer,
        num_warmup_steps=arguments["warmup_steps"],
        num_training_steps=arguments["max_steps"],
        scheduler_specific_kwargs=arguments.get("lr_scheduler_kwargs", {}),
    )
    return stepped(optimizer, scheduler, steps)


def run_keras(text: str, steps: int) -> list[list[float]]:
    import keras
    import numpy as np

    schedule = names_of(text)["schedule"]
    optimizer = keras.optimizers.SGD(learning_rate=schedule)
    weight = keras.Variable(np.zeros(2, dtype="float32"))
    used = []
    for _ in range(steps):
        used.append([float(keras.ops.convert_to_numpy(optimizer.learning_rate))])
        optimizer.apply([keras.ops.ones(2)], [weight])
    return used


def run_optax(text: str, steps: int) -> list[list[float]]:
    import jax
    import jax.numpy as jnp
    import optax

    schedule = jax.jit(names_of(text)["schedule"])
    optimizer = optax.sgd(schedule)
    state = optimizer.init(jnp.zeros(2))
    counts = []
    for _ in range(min(steps, 3)):  # the count that optax hands to a schedule: 0, 1, 2, ...
        counts.append(int(jax.tree.leaves(state)[0]))
        _, state = optimizer.update(jnp.ones(2), state)
    assert counts == list(range(min(steps, 3)))
    return [[float(schedule(count))] for count in range(steps)]


def run_csv(text: str, steps: int) -> list[list[float]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["update"]) for row in rows] == list(range(steps))
    return [[float(row["lr"])] for row in rows]


def run_json(text: str, steps: int) -> list[list[float]]:
    data = json.loads(text)
    assert len(data["lrs"]) == steps
    return [[lr] for lr in data["lrs"]]


RUNNERS = {
    "torch": run_torch,
    "lightning": run_lightning,
    "huggingface": run_huggingface,
    "keras": run_keras,
    "optax": run_optax,
    "csv": run_csv,
    "json": run_json,
}


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    rates = [RUNNERS[job["target"]](job["text"], job["steps"]) for job in json.load(sys.stdin)]
    print(json.dumps(rates))
