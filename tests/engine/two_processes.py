"""What `test_several_processes.py` runs under torchrun, on every rank: it writes what it saw to rank_R.json."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lrfinder

SAMPLES, STEPS, LOWEST, HIGHEST = 96, 24, 1e-3, 10.0
CPU = {"device": "cpu", "min_lr": LOWEST, "max_lr": HIGHEST, "steps": STEPS}


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(SAMPLES, 6, generator=generator, dtype=torch.float64)
    return TensorDataset(inputs, (inputs @ torch.randn(6, 3, generator=generator, dtype=torch.float64)).argmax(1))


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)


class Halves(IterableDataset):
    """Streams the data once, and then nothing any more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __iter__(self):
        while self.left:
            self.left -= 1
            yield data()[self.left]


class Gated(nn.Module):
    """Has weights that no loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = net(), nn.Linear(2, 2)

    def forward(self, inputs):
        return self.used(inputs)


def restored(rank: int) -> dict:
    """Sweep live objects, and say what is as it was; then train on, without the others."""
    model = net(seed=rank)  # each rank's own weights: those of rank 0 are trained, and each gets its own back
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data(), batch_size=8)
    before, draws = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    result = lrfinder.sweep(model, train_loader=loader, loss_fn=nn.CrossEntropyLoss(), optimizer=optimizer, **CPU)
    same = all(torch.equal(old, new) for old, new in zip(before.values(), model.state_dict().values(), strict=True))
    loss = nn.functional.cross_entropy(model(torch.ones(1, 6, dtype=torch.float64)), torch.tensor([rank]))
    loss.backward()
    alone = copy.deepcopy(model)
    alone.zero_grad()
    nn.functional.cross_entropy(alone(torch.ones(1, 6, dtype=torch.float64)), torch.tensor([rank])).backward()
    own = zip(model.parameters(), alone.parameters(), strict=True)
    return {
        "updates": result.updates,
        "weights": same,
        "generator": torch.equal(draws, torch.get_rng_state()),
        "state": not optimizer.state,
        "own gradients": all(torch.equal(one.grad, other.grad) for one, other in own),
        "no group": not dist.is_initialized(),
    }


def reference(lrs: list[float]) -> list[float]:
    """The losses of the same training by torch alone: DDP, and an all-reduce of each loss."""
    model = DistributedDataParallel(net())
    optimizer = sgd(model.parameters(), lr=1.0)
    mine = torch.arange(dist.get_rank(), SAMPLES, 2).split(8)
    losses = []
    for number in range(len(lrs) + 1):
        inputs, target = data()[mine[number % len(mine)]]
        loss = nn.functional.cross_entropy(model(inputs), target)
        mean = loss.detach().clone()
        dist.all_reduce(mean, op=dist.ReduceOp.SUM)
        losses.append(mean.item() / 2)
        if number < len(lrs):
            optimizer.param_groups[0]["lr"] = lrs[number]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return losses[1:]


def failure(**names) -> str:
    try:
        lrfinder.sweep(net, **{"loss_fn": nn.CrossEntropyLoss(), **CPU, **names})
    except Exception as error:  # noqa: BLE001 - the test says which it must be
        return f"{type(error).__name__}: {error}"
    return ""


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    seen = {"restored": restored(rank)}
    names = {"loss_fn": nn.CrossEntropyLoss(), "optimizer": sgd}
    loader = DataLoader(data(), batch_size=8)

    def swept(**changes):
        given = {"mode": "continuous", "repeats": 1, "train_loader": loader, **names, **CPU, **changes}
        result = lrfinder.sweep(changes.pop("model", net), **{key: it for key, it in given.items() if key != "model"})
        return {"losses": result.losses[0], "status": result.status, "processes": result.setup.processes} | {
            "batch": result.setup.batch,
            "sharding": result.setup.sharding,
            "updates": result.updates,
        }

    whole = lrfinder.sweep(net, train_loader=loader, **names, **CPU, mode="auto", out=folder / "run")
    runs = [run.loss for run in whole.runs]
    seen["auto"] = {"losses": whole.losses, "runs": runs, "lr": lrfinder.recommend(whole).lr}
    seen["accumulated"] = swept(accumulate=2, train_loader=DataLoader(data(), batch_size=4))
    seen["probe"] = swept(metric="probe")
    batches = list(DataLoader(data(), batch_size=8))
    seen["list"] = swept(train_loader=batches)
    seen["stream"] = swept(train_loader=DataLoader(Halves(SAMPLES), batch_size=8))
    seen["unused"] = swept(model=lambda: Gated().double())
    seen["late"] = swept(max_seconds=1e-6)
    seen["iterator"] = failure(train_loader=iter(batches))
    seen["lbfgs"] = failure(train_loader=batches, optimizer="LBFGS")
    dist.init_process_group("gloo")
    seen["reference"] = reference(list(whole.lrs[0]))
    seen["wrapped"] = swept(model=lambda: DistributedDataParallel(net()))
    live = DistributedDataParallel(net())
    seen["live"] = swept(model=live, optimizer=torch.optim.SGD(live.parameters(), lr=1.0, momentum=0.9), repeats=2)

    def step(model, batch):
        if rank == 1:
            raise ValueError("boom")
        return model(batch[0]).mean()

    seen["one fails"] = failure(train_loader=batches, loss_fn=None, training_step=step)
    (folder / f"rank_{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
