"""Trains on a device; `--rates FILE` sets the rate of every update by itself, as no finder would."""

import argparse
from pathlib import Path

import torch
from torch import nn

given = argparse.ArgumentParser()
given.add_argument("--device", default="cuda")
given.add_argument("--amp", action="store_true", help="fp16 and a GradScaler")
given.add_argument("--compile", action="store_true")
given.add_argument("--workers", type=int, default=0)
given.add_argument("--rates", type=Path)
given.add_argument("--losses", type=Path)
given.add_argument("--save", type=Path)
args = given.parse_args()


def main() -> None:
    device = torch.device(args.device)
    torch.manual_seed(0)
    x = torch.randn(1600, 16)
    y = x[:, :4].argmax(1)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=40, num_workers=args.workers, pin_memory=device.type == "cuda"
    )
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4)).to(device)
    train = torch.compile(net) if args.compile else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler(device.type, enabled=args.amp)
    rates = iter(map(float, args.rates.read_text().split())) if args.rates else None
    losses = []
    for _ in range(5):
        for inputs, targets in loader:
            if rates is not None:
                optimizer.param_groups[0]["lr"] = next(rates)
            with torch.autocast(device.type, torch.float16, enabled=args.amp):
                outputs = train(inputs.to(device, non_blocking=True))
                loss = nn.functional.cross_entropy(outputs, targets.to(device, non_blocking=True))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.detach())
    if args.losses:
        args.losses.write_text("\n".join(map(str, torch.stack(losses).tolist())))
    if args.save:
        torch.save(net.state_dict(), args.save)


if __name__ == "__main__":
    main()
