"""Fine-tuning as model files: lrfinder sweep tests/benchmarks/tuning_tasks.py:digits_rank_4, and so on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

import tuning_models


def _task(kind: str, rank: int | None) -> dict[str, Any]:
    train, held_out = tuning_models.data_of(kind)
    return {
        "model": lambda: tuning_models.model(kind, rank),
        "train_loader": lambda: tuning_models.loader(train, shuffle=True),
        "val_loader": lambda: tuning_models.loader(held_out, shuffle=False, batch_size=200),
        "optimizer": lambda params, lr: torch.optim.AdamW(params, lr=lr, weight_decay=0.0),
    }


def digits_full() -> dict[str, Any]:
    return _task("digits", None)


def digits_rank_2() -> dict[str, Any]:
    return _task("digits", 2)


def digits_rank_8() -> dict[str, Any]:
    return _task("digits", 8)


def language_full() -> dict[str, Any]:
    return _task("language", None)


def language_rank_2() -> dict[str, Any]:
    return _task("language", 2)


def language_rank_8() -> dict[str, Any]:
    return _task("language", 8)
