"""One model on several processes: the same curve as in one, and as torch's own DistributedDataParallel gives."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data.distributed import DistributedSampler

import lrfinder
from helpers.processes import environment, seen_by_two_ranks
from lrfinder.engine.distributed.environment import Place
from lrfinder.engine.distributed.exchange import MANY, AgreedEnd, CountedBatches, SharedReadback, weighted_mean
from lrfinder.engine.distributed.shards import EveryNth, agreed_batches, shard
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.losses.readback import CHUNK
from lrfinder.errors import ModelFileError, UsageError
from lrfinder.records import Metric
from lrfinder.store import load_run

from .two_processes import CPU, STEPS, data, net, sgd

SCRIPT = Path(__file__).parent / "two_processes.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two real processes of torchrun saw."""
    return seen_by_two_ranks(SCRIPT, tmp_path_factory)


def test_two_processes_measure_what_one_does(ranks):
    _, (seen, other) = ranks
    alone = lrfinder.sweep(
        net,
        train_loader=DataLoader(data(), batch_size=16),
        loss_fn=nn.CrossEntropyLoss(),
        optimizer=sgd,
        mode="auto",
        **CPU,
    )
    assert seen["auto"] == other["auto"]
    for shared, own in zip(seen["auto"]["losses"], alone.losses, strict=True):
        assert shared == pytest.approx(own, rel=0, abs=1e-6)
    assert seen["auto"]["runs"] == pytest.approx([run.loss for run in alone.runs], rel=0, abs=1e-6)
    assert seen["auto"]["lr"] == lrfinder.recommend(alone).lr


@pytest.mark.parametrize("way", ["auto", "accumulated", "list", "unused", "wrapped", "live"])
def test_it_is_the_training_of_torchs_own_data_parallel(ranks, way):
    """Accumulated, from a list, with weights that no loss depends on, and wrapped by the user: the same batches."""
    for seen in ranks[1]:
        losses = seen[way]["losses"]
        assert (losses[0] if way == "auto" else losses) == pytest.approx(seen["reference"], rel=0, abs=1e-12)


def test_each_rank_gets_its_own_objects_back(ranks):
    for seen in ranks[1]:
        assert seen["restored"].pop("updates") > STEPS
        assert all(seen["restored"].values()), seen["restored"]


def test_the_ends_come_together(ranks):
    for seen in ranks[1]:
        assert (seen["late"]["status"], seen["late"]["updates"]) == ("out_of_time", 0)
        # Twelve batches are six for each; the last update's loss would need a seventh.
        assert (seen["stream"]["status"], seen["stream"]["updates"], len(seen["stream"]["losses"])) == (
            "out_of_data",
            6,
            5,
        )
        assert seen["probe"]["status"] in {"completed", "diverged"}
    assert ranks[1][0]["probe"] == ranks[1][1]["probe"]


def test_the_batch_is_said_and_only_one_writes(ranks):
    folder, (seen, _) = ranks
    setup = load_run(folder / "run").setup
    assert (setup.processes, setup.batch_per_process, setup.batch_size, setup.batches_per_epoch) == (2, 8, 16, 6)
    assert setup.batch == "16 (8 x 2 processes)"
    assert seen["accumulated"]["batch"] == "16 (4 x 2 processes x 2 accumulated)"
    assert "DistributedSampler" in seen["auto"].get("sharding", seen["unused"]["sharding"])
    assert "one in 2" in seen["list"]["sharding"]


def test_what_cannot_be_shared_is_refused_by_all(ranks):
    for seen in ranks[1]:
        assert seen["iterator"].startswith("ModelFileError: ")
        assert "LBFGS decides by its own loss" in seen["lbfgs"]
    first, second = (seen["one fails"] for seen in ranks[1])
    assert second == "ValueError: boom"
    assert first.startswith("ModelFileError: rank 1 of 2 failed first in update 0: ValueError: boom")


def test_the_mean_is_weighted_by_samples():
    assert weighted_mean([1.0, 4.0], [3, 1]) == 7 / 4
    assert weighted_mean([0.1], [7]) == 0.1
    assert weighted_mean([2.0, 9.0], [4, 0]) == 2.0
    assert math.isnan(weighted_mean([1.0, math.nan], [1, 1]))
    assert math.isnan(weighted_mean([0.0, 0.0], [0, 0]))
    assert weighted_mean([1.0, math.inf], [2, 1]) == math.inf


class Alone:
    """A team of which this process plays every rank: what is gathered is `others` and its own."""

    def __init__(self, rank=0, size=2, others=None):
        self.rank, self.size, self.broken = rank, size, False
        self._others = others

    def gather(self, numbers):
        return [list(numbers), *([self._others] if self._others is not None else [list(numbers)] * (self.size - 1))]

    def start_gather(self, mine):
        rows = torch.tensor(self.gather(mine.tolist()), dtype=torch.float64)
        return SimpleNamespace(wait=lambda: None, is_completed=lambda: True), rows


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_of_a_pass_goes_to_one_rank(shuffle):
    samples = TensorDataset(torch.arange(24))
    loader = DataLoader(samples, batch_size=4, shuffle=shuffle)
    parts = [shard(loader, Alone(rank), seed=3, where="x")[0] for rank in range(2)]
    assert [len(part) for part in parts] == [3, 3]
    assert sorted(number for part in parts for (batch,) in part for number in batch.tolist()) == list(range(24))
    assert type(loader.sampler) is not DistributedSampler  # the user's loader is as it was


def test_all_else_is_divided_by_batches():
    weighted = DataLoader(TensorDataset(torch.arange(24)), batch_size=4, sampler=WeightedRandomSampler([1.0] * 24, 24))
    part, how = shard(weighted, Alone(), seed=0, where="x")
    assert isinstance(part, EveryNth)
    assert "one in 2" in how
    assert (len(part), part.batch_size) == (3, 4)
    assert list(EveryNth([1, 2, 3, 4, 5], 1, 2)) == [2, 4]  # the fifth has no partner

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(12))

    stream, _ = shard(DataLoader(Stream(), batch_size=2), Alone(rank=1), seed=0, where="x")
    assert [batch.tolist() for batch in stream] == [[2, 3], [6, 7], [10, 11]]


def test_a_longer_loader_ends_with_the_others():
    part, _ = shard([1, 2, 3, 4, 5, 6], Alone(others=[2]), seed=0, where="x")
    assert (list(part), len(part)) == ([1, 3], 2)


def test_a_sampler_for_other_ranks_and_an_iterator_are_refused():
    samples = TensorDataset(torch.arange(8))
    loader = DataLoader(samples, sampler=DistributedSampler(samples, num_replicas=4, rank=3))
    with pytest.raises(UsageError, match="rank 3 of 4"):
        shard(loader, Alone(), seed=0, where="x")
    with pytest.raises(ModelFileError, match="only one start"):
        shard(iter([1]), Alone(), seed=0, where="x")


def test_streams_end_with_the_shortest():
    def stream():
        yield from range(10)

    assert list(agreed_batches(stream(), Alone(), ahead=4)) == list(range(10))
    assert list(agreed_batches(stream(), Alone(others=[3]), ahead=4)) == [0, 1, 2]


@pytest.mark.parametrize(("seconds", "chunk"), [(0.0, MANY), (0.003, MANY), (0.01, CHUNK), (1.0, 1)])
def test_losses_come_in_chunks_the_larger_the_shorter_updates_are_and_slow_ones_at_once(seconds, chunk):
    now = [0.0]
    readback = SharedReadback(Alone(), None, time_is_over=lambda: now[0] > 30.0, clock=lambda: now[0])
    readback.counts = CountedBatches(iter([torch.zeros(2)] * 99), 1)
    arrived = []
    means = []
    count = 25 if chunk == 1 else 60
    for number in range(count):
        now[0] += seconds
        next(readback.counts)
        arrived.append(len(come := readback.put(torch.tensor(float(number)), None)))
        means += [loss for loss, _ in come]
    means += [loss for loss, _ in readback.rest()]
    assert means == [float(number) for number in range(count)]
    if chunk == 1:
        assert arrived[-5:] == [1] * 5  # once rank 0 has seen that they are slow
        now[0] = 31.0
        readback.put(torch.tensor(1.0), None)
        with pytest.raises(AgreedEnd):
            readback.put(torch.tensor(1.0), None)
    else:
        assert set(arrived) == {0, CHUNK, chunk}  # the first ones before rank 0 has told
        assert arrived.count(CHUNK) == (1 if chunk == MANY else 14)


def test_a_killed_process_ends_the_job_and_is_named(tmp_path):
    """The other ways to fail, on each rank: `make lost-ranks`."""
    from benchmarks.lost_ranks import job

    good, line = job("kill", 1, tmp_path, slower=2)
    assert good, line


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_by_nccl_gives_the_curve_of_one_process(tmp_path):
    """`--nproc 1` goes the way of several: nccl, DDP or FSDP2, losses that are gathered, a group that is destroyed."""
    (tmp_path / "model.py").write_text(MODEL)
    curves = []
    for options in ([], ["--nproc", "1"], ["--nproc", "1", "--strategy", "fsdp2"]):
        run = tmp_path / f"run{len(options)}"
        command = [sys.executable, "-m", "lrfinder", "sweep", "model.py", "--device", "cuda", "--out", str(run)]
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 5}, done.stderr[-4000:]
        assert "destroy_process_group" not in done.stderr
        curves.append(load_run(run))
    one, *others = curves
    for several in others:
        assert several.setup.processes == 1
        assert several.settings.metric is Metric.TRAIN
        for ours, theirs in zip(several.losses, one.losses, strict=True):
            assert ours == pytest.approx(theirs, rel=0, abs=1e-6)


MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def model():
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()

def train_loader():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 8, generator=generator, dtype=torch.float64)
    return DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=32)

loss_fn = nn.CrossEntropyLoss()
"""


def test_what_was_gathered_last_is_held_until_the_group_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else gloo's thread, which frees it, and the end of the group wait for each other."""
    handed_over = []

    def all_gather(rows: list[torch.Tensor], mine: torch.Tensor, **_: object) -> SimpleNamespace:
        handed_over.extend(weakref.ref(tensor) for tensor in (*rows, mine))
        return SimpleNamespace(wait=lambda: None)

    monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
    team = Team(Place(rank=0, size=2, local_rank=0, local_size=2), None, SimpleNamespace(), None, owned=False)
    team.gather([1.0, 2.0])
    gc.collect()
    assert len(handed_over) == 3
    assert all(tensor() is not None for tensor in handed_over)
