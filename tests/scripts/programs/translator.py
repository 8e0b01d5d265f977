"""An encoder and a decoder with an optimizer each: `translator.py [--own-loss] [--unrated] [--save FILE]`."""

import argparse

import torch
from torch import nn

UPDATES = 60


def parse(argv=None):
    given = argparse.ArgumentParser()
    given.add_argument("--own-loss", action="store_true", help="the decoder has a loss of its own")
    given.add_argument("--unrated", action="store_true", help="the decoder's optimizer has no rate")
    given.add_argument("--save")
    return given.parse_args(argv)


class Unrated(torch.optim.SGD):
    def __init__(self, params):
        super().__init__(params, lr=0.1)
        for group in self.param_groups:
            del group["lr"]


def train(args, set_rates=lambda update, encoder, decoder: None):
    """Return the losses before the updates, and all weights; `set_rates` is called before each update."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(4, 4), nn.Linear(4, 1)
    x = torch.randn(32, 4)
    y = x.sum(1, keepdim=True)
    encoder_optimizer = torch.optim.SGD(encoder.parameters(), lr=0.02, momentum=0.5)
    groups = [{"params": decoder.weight}, {"params": decoder.bias, "lr": 0.01}]
    decoder_optimizer = Unrated(decoder.parameters()) if args.unrated else torch.optim.SGD(groups, lr=0.04)
    schedulers = [] if args.unrated else [torch.optim.lr_scheduler.StepLR(decoder_optimizer, 10, 0.5)]
    losses = []
    for update in range(UPDATES):
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        loss = nn.functional.mse_loss(decoder(torch.tanh(encoder(x))), y)
        loss.backward()
        losses.append(loss.item())
        set_rates(update, encoder_optimizer, decoder_optimizer)
        encoder_optimizer.step()
        if args.own_loss:
            decoder_optimizer.zero_grad()
            nn.functional.mse_loss(decoder(torch.tanh(encoder(x).detach())), y).backward()
        decoder_optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    rates = torch.tensor([group.get("lr", 0.0) for group in decoder_optimizer.param_groups])
    return losses, [*encoder.parameters(), *decoder.parameters(), rates]


if __name__ == "__main__":
    args = parse()
    _, made = train(args)
    if args.save:
        torch.save(made, args.save)
