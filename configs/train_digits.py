"""Train the model of configs/digits.py, at its optimizer's default rate or by a schedule that lrfinder wrote.

    python configs/train_digits.py                          # AdamW's own default rate, kept constant
    python configs/train_digits.py --config schedule.yaml   # the peak rate and the decay of the config

Two lines make the difference: `from lrfinder import load_schedule`, and the one that makes the scheduler.
"""

import argparse
import json

import torch
from digits import loss_fn, model, train_loader, val_loader
from torch import nn

from lrfinder import load_schedule


def evaluate(net: nn.Module) -> tuple[float, float]:
    """Return the mean loss and the accuracy on the validation images."""
    net.eval()
    with torch.no_grad():
        images, labels = next(iter(val_loader()))  # all of them are one batch
        output = net(images)
    return loss_fn(output, labels).item(), (output.argmax(dim=1) == labels).float().mean().item()


def train(config: str | None, epochs: int, seed: int) -> nn.Module:
    """Train a new model for `epochs` passes over the data and return it."""
    torch.manual_seed(seed)
    net = model()
    loader = train_loader()
    optimizer = torch.optim.AdamW(net.parameters())
    scheduler = load_schedule(config).scheduler(optimizer) if config else None
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss_fn(net(images), labels).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a schedule config written by `lrfinder recommend`")
    parser.add_argument("--default-too", action="store_true", help="train at the default rate first, then by --config")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data (21 updates each)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object a training")
    args = parser.parse_args()
    for config in [None, args.config] if args.default_too else [args.config]:
        loss, accuracy = evaluate(train(config, args.epochs, args.seed))
        if args.json:
            print(json.dumps({"config": config, "validation_loss": loss, "accuracy": accuracy}), flush=True)
        else:
            by = config or "the default rate of AdamW"
            print(f"validation loss {loss:.4f}, accuracy {accuracy:.1%} ({by})", flush=True)


if __name__ == "__main__":
    main()
