"""A training script of several processes, as people write them for torchrun: DDP, a DistributedSampler, rank 0 saves."""

import os
import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def data():
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(600, 12, generator=generator)
    return TensorDataset(x, (x @ torch.randn(12, 4, generator=generator)).argmax(1))


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))


def main(kind="", at=3):
    if kind != "apart":
        dist.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    if kind in ("writes", "slow"):
        print(rank, *(os.environ[name] for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK")))
        with open("notes.txt", "a") as notes:
            notes.write(f"rank {rank} begins\n")
        os.makedirs(f"results-{rank}")
    net = network() if kind == "apart" else DistributedDataParallel(network())
    sampler = DistributedSampler(data(), seed=1, drop_last=True) if kind != "apart" else None
    loader = DataLoader(data(), batch_size=16, sampler=sampler)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    made = 0
    for epoch in range(4):
        if sampler:
            sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            made += 1
            if kind in ("writes", "slow"):
                with open(f"results-{rank}/log.txt", "a") as log:
                    log.write(f"{made}\n")
            if kind == "slow":
                time.sleep(0.1)
            if made == at and rank == 1:
                if kind == "raises":
                    raise RuntimeError("the script's own mistake")
                if kind == "killed":
                    os.kill(os.getpid(), 9)
                if kind == "leaves":
                    return
        if rank == 0:
            torch.save(net.state_dict(), "net.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
