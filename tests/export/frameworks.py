"""Run exported schedules in the frameworks themselves: JSON jobs on standard input, the rates used on standard output.

A process of its own: Keras and JAX settle their devices and threads when they are imported.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from alone import run_axolotl, run_deepspeed, run_mmengine, run_timm, run_torchtune
from loops import grouped, names_of, parameters, stepped

# Keras counts these by itself; after them its counter is set, which takes half the time.
REAL_UPDATES = 20


def run_torch(text: str, steps: int) -> list[list[float]]:
    optimizer = grouped()
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
    for update in range(steps):
        if update < REAL_UPDATES:
            assert int(optimizer.iterations) == update
        else:
            optimizer.iterations.assign(update)
        used.append([float(keras.ops.convert_to_numpy(optimizer.learning_rate))])
        if update < REAL_UPDATES:
            optimizer.apply([keras.ops.ones(2)], [weight])
    return used


def run_optax(text: str, steps: int) -> list[list[float]]:
    import jax
    import jax.numpy as jnp
    import optax

    schedule = names_of(text)["schedule"]
    optimizer = optax.sgd(schedule)
    state = optimizer.init(jnp.zeros(2))
    assert int(jax.tree.leaves(state)[0]) == 0  # the count that optax hands to a schedule
    _, state = optimizer.update(jnp.ones(2), state)
    assert int(jax.tree.leaves(state)[0]) == 1
    # Traced, as under jit, but with all counts at once, and as many each time: compiling hundreds takes far longer.
    counts = jnp.arange(max(steps, 512))
    return [[rate] for rate in jax.vmap(schedule)(counts).tolist()[:steps]]


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
    "timm": run_timm,
    "deepspeed": run_deepspeed,
    "torchtune": run_torchtune,
    "axolotl": run_axolotl,
    "mmengine": run_mmengine,
    "csv": run_csv,
    "json": run_json,
}


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    rates = [RUNNERS[job["target"]](job["text"], job["steps"]) for job in json.load(sys.stdin)]
    print(json.dumps(rates))
