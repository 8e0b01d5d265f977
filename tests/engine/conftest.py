"""What the engine's tests share."""

from __future__ import annotations

import pytest
import torch

from helpers.problems import Recorder


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    """The class, so that property tests can make one per example."""
    return Recorder


@pytest.fixture(scope="session")
def fsdp_on_cpu() -> None:
    """Skip where torch has it on GPUs alone: torch 2.6."""
    if not hasattr(torch.cpu.Stream, "record_event"):
        pytest.skip(f"FSDP2 of torch {torch.__version__} doesn't run on a CPU")


@pytest.fixture(autouse=True, scope="session")
def _one_thread(one_thread: None) -> None:
    """All models here are tiny."""


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """What a test trains must not depend on which tests ran before it."""
    torch.manual_seed(0)
