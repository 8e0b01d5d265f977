"""What `test_strategies.py` runs under torchrun, on every rank: each strategy with each kind of model."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.api.critical_batch import noise_at
from lrfinder.api.sweeping.together import together
from lrfinder.records import GradientNoise, RunPlan, UpdateOptions
from lrfinder.task.problem import Problem

STEPS, STRATEGIES = 24, ("ddp", "fsdp2")


def data(samples: int = 96, seed: int = 1) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator, dtype=torch.float64)
    return TensorDataset(inputs, (inputs @ torch.ones(6, 3, dtype=torch.float64).tril()).argmax(1))


class Net(nn.Module):
    """Three blocks and weights of its own, some of which no whole number of processes divides; used by name."""

    def __init__(self, *, saves_memory: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.ones(5))
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(width, 5), nn.Tanh()) for width in (6, 5, 5)])
        self.head = nn.Linear(5, 3)
        self.saves_memory = saves_memory

    def forward(self, inputs):
        for block in self.blocks:
            inputs = checkpoint(block, inputs, use_reentrant=False) if self.saves_memory else block(inputs)
        return self.head(inputs * self.scale)

    def unusual_step(self, batch):
        """Compute a loss without a call of the model itself."""
        hidden = batch[0]
        for block in self.blocks:
            hidden = block(hidden)
        return nn.functional.cross_entropy(nn.functional.linear(hidden * self.scale, self.head.weight), batch[1])


def net(**how) -> Net:
    return Net(**how).double()


def divided(mesh) -> Net:
    """Divide it as a model file would: blocks and root, torch's own defaults."""
    made = net()
    for block in made.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(made, mesh=mesh)


def adamw(params, lr):
    return torch.optim.AdamW(params, lr=lr)


def by_layer(params, lr):
    """Layer-wise rates, of the parameters in the order of `net`."""
    params = list(params)
    return torch.optim.SGD(
        [{"params": params[:1], "lr": lr / 4}, {"params": params[1:5], "lr": lr / 2}, {"params": params[5:]}], lr=lr
    )


def by_width(params, lr):
    """The rates of maximal update parametrization: those of matrices fall with their fan-in."""
    params = list(params)
    groups = [{"params": [weight], "lr": lr / weight.shape[1] if weight.dim() > 1 else lr} for weight in params]
    return torch.optim.AdamW(groups, lr=lr)


KINDS = {
    "plain": {"model": net, "optimizer": adamw, "mode": "auto", "run_steps": 15},
    "layer-wise": {"model": net, "optimizer": by_layer},
    "width-wise (muP)": {"model": net, "optimizer": by_width},
    "compiled": {"model": lambda: torch.compile(net(), backend="eager"), "optimizer": adamw},
    "activation checkpoints": {"model": lambda: net(saves_memory=True), "optimizer": adamw},
    "own step": {
        "model": net,
        "optimizer": adamw,
        "loss_fn": None,
        "training_step": lambda model, batch: model.unusual_step(batch),
    },
    "clipped, accumulated": {"model": net, "optimizer": adamw, "clip_norm": 0.5, "accumulate": 2},
    "judged": {"model": net, "optimizer": adamw, "metric": "val", "steps": 12},
}


def swept(kind: str, *, ranks: int, **changes):
    """Sweep one kind of model with 16 samples an update, whatever the number of processes."""
    given = {
        "loss_fn": nn.CrossEntropyLoss(),
        "mode": "continuous",
        "repeats": 1,
        "device": "cpu",
        "min_lr": 1e-3,
        "max_lr": 10.0,
        "steps": STEPS,
        "val_loader": DataLoader(data(24, seed=2), batch_size=8),  # three batches for two processes
        **KINDS[kind],
        **changes,
    }
    size = 16 // ranks // given.get("accumulate", 1)
    return lrfinder.sweep(given.pop("model"), train_loader=DataLoader(data(), batch_size=size), **given)


def answer_of(result) -> dict:
    return {
        "losses": result.losses[0],
        "runs": [run.loss for run in result.runs],
        "lr": lrfinder.recommend(result).lr,
        "strategy": result.setup.strategy,
    }


def noise(*, ranks: int, strategy: str = "ddp") -> dict:
    """Return the gradients of 16 samples after a short run, whatever the number of processes."""
    problem = Problem(
        name="noise",
        model=net,
        train_loader=DataLoader(data(), batch_size=16 // ranks),
        val_loader=DataLoader(data(24, seed=2), batch_size=8),
        loss_fn=nn.CrossEntropyLoss(),
        optimizer=adamw,
        training=UpdateOptions(strategy=strategy),
    )
    plan = RunPlan(lr=0.05, steps=10, schedule="constant")

    def lead() -> GradientNoise | None:
        return noise_at(problem, plan, device="cpu", seed=0, batch=16)[1]

    return asdict(together(lead, device="cpu", live=lambda: problem))


def live() -> dict:
    """Sweep a live model that `fully_shard` has divided, and say what is as it was; then train on."""
    model = divided(init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

    def update():
        nn.functional.cross_entropy(model(torch.ones(1, 6, dtype=torch.float64)), torch.tensor([1])).backward()
        optimizer.step()

    update()
    weights, states = copies(model.parameters()), copies(values(optimizer))
    with torch.no_grad():
        model(torch.ones(1, 6, dtype=torch.float64))  # leaves the root whole, as any forward pass does
    result = swept("plain", ranks=2, model=model, optimizer=optimizer, mode="continuous", repeats=2)
    same = {
        "weights": all(map(torch.equal, weights, copies(model.parameters()))),
        "state": all(map(torch.equal, states, copies(values(optimizer)))),
        "gradients": all(weight.grad is not None for weight in model.parameters()),
    }
    update()  # it goes on
    moved = any(not torch.equal(*both) for both in zip(weights, copies(model.parameters()), strict=True))
    return {**same, "moved": moved, "updates": result.updates > STEPS}


def values(optimizer):
    return [value for state in optimizer.state.values() for value in state.values()]


def copies(tensors):
    """Return copies of what this rank holds of each tensor."""
    return [local(tensor.detach()).clone() for tensor in tensors]


def local(tensor):
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def failure(model, **names) -> str:
    given = {"loss_fn": nn.CrossEntropyLoss(), "optimizer": adamw, "device": "cpu", "steps": 4, "strategy": "fsdp2"}
    loader = DataLoader(data(), batch_size=8)
    try:
        lrfinder.sweep(model, train_loader=loader, **{**given, **names})
    except lrfinder.LrfinderError as error:
        return f"{type(error).__name__}: {error} ({error.hint})"
    return ""


def with_scalar() -> nn.Module:
    made = net()
    made.temperature = nn.Parameter(torch.ones((), dtype=torch.float64))
    return made


def by_tensor(mesh) -> nn.Module:
    made = net()
    made.head.weight = nn.Parameter(distribute_tensor(made.head.weight.detach(), mesh, [Shard(0)]))
    return made


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    found = {
        strategy: {kind: answer_of(swept(kind, ranks=2, strategy=strategy)) for kind in KINDS}
        for strategy in STRATEGIES
    }
    found["noise"] = {strategy: noise(ranks=2, strategy=strategy) for strategy in STRATEGIES}
    found["own"] = {kind: answer_of(swept(kind, ranks=2, model=divided)) for kind in ("plain", "judged")}
    found["failures"] = {
        "adafactor": failure(net, optimizer=lambda params, lr: torch.optim.Adafactor(params, lr=lr)),
        "scalar": failure(with_scalar),
        "live": failure(net(), optimizer="AdamW"),
        "by tensor": failure(by_tensor, strategy="ddp"),
    }
    for metric in ("train", "val"):
        nan = swept("judged", ranks=2, strategy="fsdp2", model=Spare, optimizer=spoiling, metric=metric, max_lr=0.1)
        found[f"spoiled, {metric}"] = {"status": nan.status, "losses": len(nan.losses[0]), "why": nan.traces[0].why}
    dist.init_process_group("gloo")
    found["live"] = live()
    (folder / f"rank_{rank}.json").write_text(json.dumps(found))


class Spare(Net):
    """Has weights that no loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.ones(4))
        self.double()


def spoiling(params, lr):
    return Spoiling(params, lr=lr)


class Spoiling(torch.optim.SGD):
    """Writes a NaN into the part of rank 1 of a weight, after its third update."""

    made = 0

    def step(self, closure=None):
        self.made += 1
        if self.made == 3 and dist.get_rank() == 1:
            with torch.no_grad():
                spare = next(w for w in self.param_groups[0]["params"] if tuple(w.shape) == (4,))
                local(spare.data)[-1:] = float("nan")
        return super().step(closure)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
