"""Trainings that can't be swept as they are, or only in part: `others.py KIND`."""

import sys
from pathlib import Path

import torch
from torch import nn

kind = sys.argv[1]
net, other = nn.Linear(4, 1), nn.Linear(4, 1)
x = torch.randn(16, 4)
if kind == "import":
    raise ModuleNotFoundError("No module named 'nowhere'")
if kind == "new folder":  # as Hugging Face's examples
    Path("out/log").mkdir(parents=True, exist_ok=True)
    if list(Path("out/log").iterdir()):
        raise ValueError("Output directory (out) already exists and is not empty")
    Path("out/log/events").write_text("begun")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
if kind == "exit":
    print("usage: others.py KIND", file=sys.stderr)
    raise SystemExit(7)
if kind in {"by hand", "by hand, shortly"}:
    for _ in range(1000 if kind == "by hand" else 20):
        net(x).pow(2).mean().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.01 * parameter.grad
                parameter.grad = None
        torch.save(net, "checkpoint.pt")
if kind in {"functions", "functions, for ever"}:  # as torch.func's own tutorials
    import time
    from itertools import count

    clock = count()
    if kind == "functions, for ever":
        time.monotonic = lambda: float(next(clock))  # each look at the clock is a second later
    weights = {name: weight.detach() for name, weight in net.named_parameters()}

    def loss_at(weights):
        return torch.func.functional_call(net, weights, (x,)).pow(2).mean()

    for _ in range(50) if kind == "functions" else count():
        gradients = torch.func.grad(loss_at)(weights)
        weights = {name: weight - 0.01 * gradients[name] for name, weight in weights.items()}
if kind == "no rate":

    class Unrated(torch.optim.Optimizer):
        def __init__(self, weights):
            super().__init__(weights, {"size": 0.1})

        def step(self):
            with torch.no_grad():
                for weight in self.param_groups[0]["params"]:
                    weight -= self.param_groups[0]["size"] * weight.grad

    optimizer = Unrated(net.parameters())
    net(x).pow(2).mean().backward()
    optimizer.step()
if kind == "climbs":  # torch takes a rate below 0 of a group
    optimizer = torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": -0.1}], lr=0.1)
    net(x).pow(2).mean().backward()
    optimizer.step()
if kind == "no loss":
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while True:
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
if kind == "two":
    critic = torch.optim.SGD(net.parameters(), lr=0.1)
    actor = torch.optim.Adam(other.parameters(), lr=0.001)
    for _ in range(100):
        critic.zero_grad()
        (net(x) - 1).pow(2).mean().backward()
        critic.step()
        actor.zero_grad()
        (other(x) + 2).pow(2).mean().mul(5).backward()
        actor.step()
if kind == "two, one after the other":  # both are made before
    first, second = torch.optim.Adam(net.parameters(), lr=0.01), torch.optim.SGD(other.parameters(), lr=0.1)
    while True:
        first.zero_grad()
        (net(x) - 1).pow(2).mean().backward()
        first.step()
if kind == "pretrained":
    for made, steps in (
        (torch.optim.Adam(net.parameters(), lr=0.01), 300),
        (torch.optim.SGD(net.parameters(), lr=0.1), 100),
    ):
        for _ in range(steps):
            made.zero_grad()
            (net(x) - 1).pow(2).mean().backward()
            made.step()
if kind == "again":  # the other one trains before, and once more after so many updates
    before = torch.optim.Adam(other.parameters(), lr=0.01)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for chosen, steps in ((before, 5), (optimizer, int(sys.argv[2])), (before, 1), (optimizer, 40)):
        for _ in range(steps):
            chosen.zero_grad()
            ((net(x) - 1).pow(2).mean() + (other(x) - 1).pow(2).mean()).backward()
            chosen.step()
if kind == "slow others":  # each look at the clock is a second later
    import itertools
    import time

    clock = itertools.count()
    time.monotonic = lambda: float(next(clock))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while True:
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
if kind == "range":  # as a binary cross-entropy or a solver, which take numbers of a range alone
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while True:
        optimizer.zero_grad()
        y = net(x)
        if y.detach().abs().max() > 5:
            raise RuntimeError("all elements should be between -5 and 5")
        (y - 1).pow(2).mean().backward()
        optimizer.step()
if kind == "episodes":  # a backward() for each move, and episodes get longer
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for moves in (20, *[400] * 60):
        for _ in range(moves):
            ((net(x) - 1).pow(2).mean() / moves).backward()
        optimizer.step()
        optimizer.zero_grad()
if kind == "leaves":
    import os

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
    os._exit(0)
if kind == "folds":

    def fold():
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            optimizer.step()

    for _ in range(5):
        fold()
if kind == "no names":
    optimizers = [torch.optim.SGD([parameter], lr=0.1) for parameter in net.parameters()]
    while True:
        net(x).pow(2).mean().backward()
        for each in optimizers:
            each.step()
            each.zero_grad()
if kind == "stops":  # at a loss that isn't finite
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while torch.isfinite(loss := net(x).pow(4).mean()):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
if kind == "skips":  # the batches whose loss isn't finite, for ever
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while True:
        optimizer.zero_grad()
        loss = net(x).pow(4).mean()
        if torch.isfinite(loss):
            loss.backward()
            optimizer.step()
if kind in {"compiled", "compiled the old way"}:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    compiler = torch.compile if kind == "compiled" else torch._dynamo.optimize

    @compiler(backend="eager")
    def update():
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()

    while True:
        update()
if kind in {"no rate of its own", "a rate of its own", "hands its rate on"}:

    class Wrapper(torch.optim.Optimizer):  # as a Lookahead
        def __init__(self, weights):
            weights = list(weights)
            super().__init__(weights, {"k": 5} if kind == "no rate of its own" else {"lr": 0.1})
            self.optimizer = torch.optim.Adam(weights, lr=0.1)

        def step(self):
            if kind == "hands its rate on":
                self.optimizer.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            self.optimizer.step()

    optimizer = Wrapper(net.parameters())
    while True:
        optimizer.zero_grad()
        (net(x) - 1).pow(2).mean().backward()
        optimizer.step()
        assert optimizer.optimizer.param_groups[0]["lr"] == 0.1
if kind in {"anew", "anew, reset"}:  # an optimizer for each epoch
    for epoch in range(20):
        if kind == "anew, reset":
            net.reset_parameters()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1 * 0.9**epoch)
        for _ in range(12):
            optimizer.zero_grad()
            (net(x) - 1).pow(2).mean().backward()
            optimizer.step()
if kind == "fails late":
    from pathlib import Path

    Path("data/raw").mkdir(parents=True)
    Path("data/raw/train.txt").write_text("1 2 3")
    Path("data/raw/test.txt").write_text("4")
    Path("data/raw/train.txt").read_text()
    Path("runs/1").mkdir(parents=True)
    Path("runs/1/settings.json").write_text("{}")
    raise RuntimeError("too late")
if kind == "killed":
    import os
    import signal

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(100):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
if kind == "hangs":
    import time

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(100):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
        print("step", step, flush=True)
        time.sleep(0.15 if step < 3 else 1000)
