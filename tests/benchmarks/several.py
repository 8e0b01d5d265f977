"""A sweep's update on several processes beside that of a bare DDP loop on the same ones; rank 0 prints the table.

    torchrun --standalone --nproc-per-node 2 tests/benchmarks/several.py [--device cuda] [--rounds 7]

Each round trains with both, a short and a long time; the difference is the time of the updates between, without what
a sweep does once. Large models make fewer updates on a CPU: all takes two to four minutes on two cores. The ratio is
that of a round, the table has their median and range. The bare loop reads each loss, as loops do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lrfinder

GPU_UPDATES = (50, 350)  # of a short and a long training
# The width and the depth of a perceptron, and the same numbers on a CPU.
SIZES = {
    "2 thousand weights": ((32, 1), (50, 350)),
    "0.8 million weights": ((512, 3), (20, 120)),
    "3 million weights": ((1024, 3), (10, 50)),
}


def model(width: int, depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def batches(width: int, device: torch.device) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(dist.get_rank())
    made = [(torch.randn(64, width, generator=generator), torch.arange(64) % 10) for _ in range(16)]
    return [(inputs.to(device), target.to(device)) for inputs, target in made]


def bare(width: int, depth: int, updates: int, device: torch.device) -> None:
    """Train as a script does: DDP, and each loss is read."""
    net = DistributedDataParallel(model(width, depth).to(device))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5)
    data, losses = batches(width, device), []
    for number in range(updates):
        inputs, target = data[number % len(data)]
        optimizer.param_groups[0]["lr"] = 1e-6 * (1 + number)
        loss = nn.functional.cross_entropy(net(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


def swept(width: int, depth: int, updates: int, device: torch.device) -> None:
    """Sweep; each process has batches of its own, as in the bare loop."""
    given = [batch for batch in batches(width, device) for _ in range(dist.get_world_size())]
    lrfinder.sweep(
        lambda: model(width, depth),
        train_loader=given,
        loss_fn=nn.functional.cross_entropy,
        optimizer=lambda params, lr: torch.optim.AdamW(params, lr=lr),
        device=device.type,
        mode="continuous",
        repeats=1,
        min_lr=1e-6,
        max_lr=1e-4,
        steps=updates,
    )


def seconds(clock: Callable[[], float], train: Callable[..., None], *given: object) -> float:
    dist.barrier()
    began = clock()
    train(*given)
    dist.barrier()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true", help="that of rank 0's process: on a machine that is busy")
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    device = torch.device(chosen.device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_rank() % torch.cuda.device_count())
        torch.cuda.set_device(device)
    for name, (size, updates_on_cpu) in SIZES.items():
        few, many = GPU_UPDATES if device.type == "cuda" else updates_on_cpu
        ratios, ours, theirs = [], [], []
        for number in range(chosen.rounds + 1):
            each = {}
            for way in (bare, swept) if number % 2 else (swept, bare):
                long, short = (seconds(clock, way, *size, updates, device) for updates in (many, few))
                each[way] = (long - short) / (many - few)
            if number:  # the first round starts kernels and connections
                ratios.append(each[swept] / each[bare])
                ours.append(each[swept])
                theirs.append(each[bare])
        if dist.get_rank() == 0:
            where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            print(
                f"| {name} | {where}, {dist.get_world_size()} processes | {1e3 * statistics.median(theirs):.2f} ms "
                f"| {1e3 * statistics.median(ours):.2f} ms | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}) |",
                flush=True,
            )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
