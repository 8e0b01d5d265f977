"""A script of several processes in one training: its losses are those of a loop by hand, and no rank ends alone."""

from __future__ import annotations

import gc
import importlib.util
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from lrfinder.errors import EnvironmentFailure, ModelFileError, UsageError
from lrfinder.options import Stop
from lrfinder.records import SweepSettings

Swept = Callable[..., Any]
PROGRAM = Path(__file__).parent / "programs" / "ddp.py"
RATES = SweepSettings(steps=30, min_lr=1e-3, max_lr=1.0).lrs()


def by_hand(rank: int, folder: Path, size: int) -> None:
    """Train ddp.py's network at RATES on one of `size` processes, by a loop of its own, and write the losses."""
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("ddp", PROGRAM)
    ddp: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ddp)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size)
    net = DistributedDataParallel(ddp.network())
    sampler = DistributedSampler(ddp.data(), seed=1, drop_last=True)
    loader = DataLoader(ddp.data(), batch_size=16, sampler=sampler)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    batches = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches += loader
    losses = []
    for index in range(len(RATES) + 1):
        x, y = batches[index]
        optimizer.param_groups[0]["lr"] = RATES[min(index, len(RATES) - 1)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    (folder / f"{rank}.json").write_text(json.dumps(losses))
    dist.barrier()
    os._exit(0)  # destroying the group may wait for a thread that a fork doesn't have


def means_by_hand(folder: Path, size: int) -> list[float]:
    """Return the mean losses of `size` processes that train at RATES by a loop of their own."""
    gc.collect()  # an earlier test's store, collected in a fork, would wait for its thread, which isn't there
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=by_hand, args=(rank, folder, size)) for rank in range(size)]
    for rank in ranks:
        rank.start()
    try:
        for rank in ranks:
            rank.join(60)
    finally:  # one that is left would keep the pipes of this process open
        for rank in ranks:
            rank.kill()
            rank.join()
    assert [rank.exitcode for rank in ranks] == [0] * size
    own = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]
    return [sum(losses) / size for losses in zip(*own, strict=True)]


def test_the_losses_are_the_means_of_a_loop_by_hand(together: Swept, tmp_path: Path) -> None:
    done = together()
    [trace] = done.sweep.traces
    assert [trace.initial_loss, *trace.losses] == means_by_hand(tmp_path, 2)
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 30)
    assert done.sweep.setup.processes == 2
    assert not (tmp_path / "net.pt").exists()


def test_a_rank_that_fails_ends_all_and_is_named(together: Swept) -> None:
    with pytest.raises(
        ModelFileError, match="failed after 3 updates on rank 1 of 2: RuntimeError: the script"
    ) as failure:
        together("raises")
    assert 'raise RuntimeError("the script' in str(failure.value)  # its own traceback


def test_a_rank_that_is_killed_is_named(together: Swept) -> None:
    with pytest.raises(EnvironmentFailure, match=r"process on rank 1 of 2 ended by itself: signal 9 after \d updates"):
        together("killed")


def test_a_rank_that_leaves_early_ends_all(together: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrfinder.scripts.job.LATER_S", 0.5)
    [trace] = together("leaves").sweep.traces
    assert (trace.stop, trace.updates) == (Stop.OUT_OF_DATA, 3)
    assert "the script ended after 3 updates" in trace.why


def test_processes_that_train_apart_are_refused(together: Swept) -> None:
    with pytest.raises(UsageError, match="it hasn't joined its 2 processes to a group of so many"):
        together("apart")


def test_such_a_script_started_as_one_process_says_what_to_do(sweep: Swept) -> None:
    with pytest.raises(ModelFileError, match=r"failed before its first update.*RANK expected") as failure:
        sweep("ddp.py")
    assert "give --nproc N" in str(failure.value.hint)
