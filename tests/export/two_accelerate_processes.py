"""Two processes of Accelerate under torchrun: the rate that each update uses, for every way to hand the scheduler over.

Writes {way: rates} to FOLDER/rank_R.json.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader, TensorDataset

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.schedules import Linear

STEPS, WARMUP, PEAK = 12, 3, 0.0317
WAYS: dict[str, dict[str, Any]] = {
    "split_batches": {"dataloader_config": DataLoaderConfiguration(split_batches=True)},
    "not with the optimizer": {"step_scheduler_with_optimizer": False},
    "not prepared": {},
    "as it is": {},
}


def rates(way: str) -> list[float]:
    """Train with two micro-batches an update, and return the rate of each update."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, **WAYS[way])
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    config = ScheduleConfig(
        optimizer=OptimizerConfig(name="AdamW", lr=PEAK), schedule=Linear(warmup=WARMUP, steps=STEPS)
    )
    scheduler: Any = config.scheduler(optimizer)
    loader = DataLoader(TensorDataset(torch.ones(8 * STEPS, 3)), batch_size=2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if way != "not prepared":
        scheduler = accelerator.prepare(scheduler)
    used: list[float] = []
    while len(used) < STEPS:
        for (inputs,) in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(inputs).square().mean())
                if accelerator.sync_gradients:
                    used.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if way in {"split_batches", "as it is"} or accelerator.sync_gradients:
                    scheduler.step()
                optimizer.zero_grad()
    return used[:STEPS]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    seen = {way: rates(way) for way in WAYS}
    (Path(sys.argv[1]) / f"rank_{os.environ['RANK']}.json").write_text(json.dumps(seen))
