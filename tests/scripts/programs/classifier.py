"""A training script as people write them: arguments, a loop in main(), a schedule of its own, checkpoints."""

import argparse
import atexit
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, StepLR
from torch.utils.data import DataLoader, TensorDataset


def parse(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--scaler", action="store_true")
    parser.add_argument("--init-scale", type=float, default=2.0**10)
    parser.add_argument("--lbfgs", action="store_true")
    parser.add_argument("--closure", action="store_true", help="accumulate as Lightning does: step(closure) at the end")
    parser.add_argument("--times", type=float, default=1.0)
    parser.add_argument("--ahead", action="store_true", help="draw each batch before the one before it is trained on")
    parser.add_argument("--evaluate", action="store_true", help="by losses on data of their own, after each epoch")
    parser.add_argument("--sam", choices=["add_", "data"], help="how the weights are moved")
    parser.add_argument("--attack", action="store_true", help="train on what the gradient of a first loss points at")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--resume", type=Path, help="a checkpoint with the state of network and optimizer")
    parser.add_argument("--fail-at", type=int)
    parser.add_argument("--guard", action="store_true", help="leave if the loss is not a number, as many scripts do")
    return parser.parse_args(argv)


def data():
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(640, 12, generator=generator)
    return TensorDataset(x, (x @ torch.randn(12, 4, generator=generator)).argmax(1))


def attacked(net, x, y):
    """Move x to where the loss is higher; leaves gradients of the weights behind, too."""
    x = x.clone().requires_grad_(True)
    nn.functional.cross_entropy(net(x), y).backward()
    return (x + 0.3 * x.grad.sign()).detach()


def moved(net, by, how):
    """Move the weights along their gradients; return them as they were."""
    before = [weight.detach().clone() for weight in net.parameters()]
    with torch.no_grad():
        for weight in net.parameters():
            (weight.data if how == "data" else weight).add_(by * weight.grad)
    return before


def one_ahead(batches):
    batches = iter(batches)
    ready = next(batches)
    for batch in batches:
        yield ready
        ready = batch
    yield ready


@torch.no_grad()
def evaluate(net):
    net.eval()
    losses = [nn.functional.cross_entropy(net(x), y).item() for x, y in DataLoader(data(), batch_size=64)]
    net.train()
    return sum(losses) / len(losses)


def network():
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))


def make_optimizer(net, args):
    if args.lbfgs:
        return torch.optim.LBFGS(net.parameters(), lr=args.lr, max_iter=3)
    head = {"params": net[2].parameters(), "lr": args.lr / 4}
    return torch.optim.SGD([{"params": net[0].parameters()}, head], lr=args.lr, momentum=0.9)


def main():
    args = parse()
    if args.seed is not None:
        torch.manual_seed(args.seed)
    loader = DataLoader(data(), batch_size=16, shuffle=True, num_workers=args.workers)
    net = network()
    optimizer = make_optimizer(net, args)
    scheduler = (
        LambdaLR(optimizer, lambda t: min(1.0, t / args.warmup)) if args.warmup else StepLR(optimizer, 25, gamma=0.5)
    )
    scaler = torch.amp.GradScaler("cpu", enabled=args.scaler, init_scale=args.init_scale)
    if args.save:
        atexit.register(lambda: (args.save.parent / "atexit").touch())
    done = 0
    if args.resume and args.resume.exists():
        state = torch.load(args.resume)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
    try:
        for epoch in range(args.epochs):
            for index, (x, y) in enumerate(one_ahead(loader) if args.ahead else loader, start=1):
                if args.lbfgs:

                    def closure(x=x, y=y):
                        optimizer.zero_grad()
                        loss = nn.functional.cross_entropy(net(x), y)
                        loss.backward()
                        return loss

                    optimizer.step(closure)
                    continue
                if args.closure:

                    def closure(x=x, y=y, index=index):
                        loss = nn.functional.cross_entropy(net(x), y)
                        if index % args.accumulate == 1:
                            optimizer.zero_grad()
                        loss.backward()
                        return loss

                    if index % args.accumulate:
                        closure()
                    else:
                        optimizer.step(closure)
                    continue
                if args.attack:
                    x = attacked(net, x, y)
                    optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                if args.guard and not torch.isfinite(loss):
                    raise SystemExit("Loss is nan, stopping training")
                scaler.scale(args.times * loss).backward()
                if args.sam:  # a second loss, elsewhere than at the weights
                    before = moved(net, 0.5, args.sam)
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(net(x), y).backward()
                    for weight, old in zip(net.parameters(), before, strict=True):
                        weight.data = old
                if index % args.accumulate:
                    continue
                scaler.step(optimizer)
                scaler.update()
                scheduler.step()
                assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
                optimizer.zero_grad()
                done += 1
                if done == args.fail_at:
                    raise RuntimeError("the script's own mistake")
            if args.evaluate:
                print("evaluation", evaluate(net))
            print(f"epoch {epoch} loss {loss.item() if not args.lbfgs and not args.closure else 0:.3f}", flush=True)
            if args.resume:
                torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, args.resume)
            if args.save:
                torch.save(net.state_dict(), args.save)
                net.load_state_dict(torch.load(args.save))
    finally:
        if args.save:
            (args.save.parent / "finally").touch()
    if args.save:
        (args.save.parent / "rates.txt").write_text(f"{done} {scheduler.get_last_lr()}\n")


if __name__ == "__main__":
    main()
