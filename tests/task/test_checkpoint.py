"""Checkpoints as people have them, read by torch and safetensors, and what is said of those that don't fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from lrfinder.errors import UsageError
from lrfinder.task.build import build_trial
from lrfinder.task.checkpoint.begin import describe_start
from lrfinder.task.checkpoint.read import read_checkpoint
from lrfinder.task.problem import Problem

X, Y = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def adam(params, lr: float = 0.02, **settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=lr, **settings)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()


@pytest.fixture
def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer after seven updates."""
    torch.manual_seed(3)
    model = net()
    optimizer = adam(model.parameters())
    for _ in range(7):
        step(model, optimizer)
    return model, optimizer


def begun(place: Path, model: Callable = net, optimizer: Callable = adam) -> tuple[nn.Module, torch.optim.Optimizer]:
    """What a repeat begins with."""
    problem = Problem(
        name="net", model=model, optimizer=optimizer, train_loader=[(X, Y)], start=read_checkpoint(str(place))
    )
    trial = build_trial(problem, place=lambda module: module)
    return trial.model, trial.optimizer


FORMS = {
    "as torch's tutorial": lambda m, o: {
        "epoch": 2,
        "model_state_dict": m.state_dict(),
        "optimizer_state_dict": o.state_dict(),
    },
    "short names": lambda m, o: {"model": m.state_dict(), "optimizer": o.state_dict(), "step": 7, "args": {"lr": 0.02}},
    "as Lightning": lambda m, o: {
        "state_dict": m.state_dict(),
        "optimizer_states": [o.state_dict()],
        "global_step": 7,
        "pytorch-lightning_version": "2.6.6",
        "lr_schedulers": [],
    },
    "of DistributedDataParallel": lambda m, o: {
        "model": {f"module.{name}": value for name, value in m.state_dict().items()},
        "optimizer": o.state_dict(),
    },
    "of torch.compile": lambda m, o: {
        "model": {f"_orig_mod.{name}": value for name, value in m.state_dict().items()},
        "optimizer": o.state_dict(),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_the_next_update_is_the_one_that_the_run_would_have_made(tmp_path: Path, trained, form: str) -> None:
    model, optimizer = trained
    torch.save(FORMS[form](model, optimizer), tmp_path / "ck.pt")
    for _ in range(2):  # a second repeat begins there, too: the first one must not have trained the checkpoint
        there, steps = begun(tmp_path / "ck.pt")
        assert all(map(torch.equal, there.parameters(), model.parameters()))
        step(there, steps)
        assert steps.state_dict()["state"][0]["step"] == 8
    read = read_checkpoint(str(tmp_path / "ck.pt"))
    start = describe_start(read, (2.0,))
    assert (start.step, start.lr, start.optimizer) == (7, 0.01, True)  # the group trains at twice the rate
    step(model, optimizer)
    for group, lr in zip(steps.param_groups, [0.02], strict=True):
        assert group["lr"] != lr, "the model file's, which the sweep sets"
    # At the rate of the run, the update is its own.
    there, steps = begun(tmp_path / "ck.pt")
    steps.param_groups[0]["lr"] = 0.02
    step(there, steps)
    assert all(map(torch.equal, there.parameters(), model.parameters()))


def in_part(wrapper: Callable[[nn.Module], nn.Module] = lambda layer: layer) -> nn.Module:
    return nn.Sequential(wrapper(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3))


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")


WRAPPED = {  # how the model was made for the run, and how the model file makes it
    "compiled only here": (net, lambda: compiled(net())),
    "compiled only there": (lambda: compiled(net()), net),
    "in part, here": (in_part, lambda: in_part(compiled)),
    "in part, there": (lambda: in_part(compiled), in_part),
    "in parallel and compiled there": (lambda: nn.DataParallel(compiled(net())), net),
    "in parallel here": (net, lambda: nn.DataParallel(net())),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_names_that_a_wrapper_changes_are_no_matter(tmp_path: Path, how: str) -> None:
    there, here = WRAPPED[how]
    model = there()
    torch.save(model.state_dict(), tmp_path / "ck.pt")
    begun_with, _ = begun(tmp_path / "ck.pt", here)
    assert all(map(torch.equal, begun_with.parameters(), model.parameters()))


def test_a_run_that_goes_on_and_saves_again_changes_nothing(tmp_path: Path, trained) -> None:
    model, optimizer = trained
    file = tmp_path / "ck.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    read = read_checkpoint(str(file))
    kept = [value.clone() for value in (*read.weights.values(), read.optimizers[0]["state"][0]["exp_avg"])]
    step(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    now = [*read.weights.values(), read.optimizers[0]["state"][0]["exp_avg"]]
    assert all(map(torch.equal, now, kept))


MOMENTA = {  # an optimizer whose momentum a schedule changes, and the schedule
    "betas, one cycle": (adam, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.02, total_steps=100)),
    "momentum, one cycle": (
        lambda p, lr=0.1: torch.optim.SGD(p, lr=lr, momentum=0.9),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=100),
    ),
    "momentum, cycles": (
        lambda p, lr=0.1: torch.optim.SGD(p, lr=lr, momentum=0.9),
        lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=20),
    ),
}


@pytest.mark.parametrize("how", MOMENTA)
def test_the_momentum_of_one_update_of_a_cycle_is_no_setting(tmp_path: Path, how: str) -> None:
    make, cycle = MOMENTA[how]
    model = net()
    optimizer = make(model.parameters())
    scheduler = cycle(optimizer)
    for _ in range(7):
        step(model, optimizer)
        scheduler.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "ck.pt")
    _, steps = begun(tmp_path / "ck.pt", optimizer=make)
    own = make(net().parameters()).param_groups[0]
    assert all(steps.param_groups[0][name] == own[name] for name in own if name in {"momentum", "betas"})
    if how.startswith("betas"):  # the second one is no schedule's
        with pytest.raises(UsageError, match=r"betas of param group 0 was .*and is \(0.9, 0.9\) here"):
            begun(tmp_path / "ck.pt", optimizer=lambda p, lr: adam(p, lr, betas=(0.9, 0.9)))


def test_weights_alone(tmp_path: Path, trained) -> None:
    model, _ = trained
    torch.save(model.state_dict(), tmp_path / "a.pt")
    torch.save(model.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(model.state_dict(), tmp_path / "b.safetensors")
    for name in ("a.pt", "old.pt", "b.safetensors"):
        there, steps = begun(tmp_path / name)
        assert all(map(torch.equal, there.parameters(), model.parameters()))
        assert not steps.state
        start = describe_start(read_checkpoint(str(tmp_path / name)), (1.0,))
        assert (start.step, start.lr, start.optimizer) == (None, None, False)


class Tied(nn.Module):
    """Weights under two names, of which safetensors keeps one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def test_a_folder_of_a_trainer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Tied()
    optimizer = adam(model.parameters())
    step(model, optimizer)
    save_model(model, str(tmp_path / "model.safetensors"))
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 40, "epoch": 1.0}))
    there, steps = begun(tmp_path, Tied)
    assert torch.equal(there.second.weight, model.first.weight)
    assert steps.state_dict()["state"][0]["step"] == 1
    assert read_checkpoint(str(tmp_path)).step == 40


def test_weights_that_are_spread_over_files(tmp_path: Path, trained) -> None:
    model, _ = trained
    names = list(model.state_dict())
    places = {name: f"model-{1 + index % 2}.safetensors" for index, name in enumerate(names)}
    for file in set(places.values()):
        save_file({n: v for n, v in model.state_dict().items() if places[n] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    there, _ = begun(tmp_path)
    assert all(map(torch.equal, there.parameters(), model.parameters()))
    digest = read_checkpoint(str(tmp_path)).sha256
    save_file({n: v + 1 for n, v in model.state_dict().items() if places[n] == file}, tmp_path / file)
    assert read_checkpoint(str(tmp_path)).sha256 != digest
    index.write_text(json.dumps({"weight_map": {"0.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(UsageError, match=r"elsewhere\.safetensors is missing"):
        read_checkpoint(str(tmp_path))


def wider() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def deeper() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Linear(3, 3))


def in_groups(params, lr):
    params = list(params)
    return torch.optim.AdamW([{"params": params[:1]}, {"params": params[1:]}], lr=lr)


class Lion(torch.optim.Optimizer):
    """Keeps what Adam does, but for the squares."""

    def __init__(self, params, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self) -> None:
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["exp_avg"] = weight.grad.clone()


UNFIT = {
    "other shapes": (wider, adam, r"other shapes: 0.weight \((5, 4)?.*\(5, 4\) there, \(6, 4\) here\)"),
    "missing": (deeper, adam, r"it lacks 3.weight, 3.bias"),
    "unexpected": (
        lambda: nn.Linear(4, 3),
        adam,
        r"it lacks weight, bias; the model has no 0.weight, 0.bias, 2.weight",
    ),
    "another optimizer": (
        net,
        lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.01),
        "its optimizer kept exp_avg, exp_avg_sq, step, and SGD keeps momentum_buffer",
    ),
    "an optimizer that keeps nothing": (
        net,
        lambda p, lr: torch.optim.SGD(p, lr=lr, weight_decay=0.01),
        "its optimizer kept exp_avg, exp_avg_sq, step, and SGD keeps nothing",
    ),
    "an optimizer that keeps less": (
        net,
        lambda p, lr: Lion(p, lr=lr),
        "its optimizer kept exp_avg, exp_avg_sq, step, and Lion keeps exp_avg",
    ),
    "another setting": (
        net,
        lambda p, lr: adam(p, lr, weight_decay=0.5),
        "weight_decay of param group 0 was 0.01, and is 0.5",
    ),
    "other groups": (net, in_groups, "its param groups have 4 weights, and those of the model file 1, 3"),
    "another order": (
        net,
        lambda p, lr: adam(reversed(list(p)), lr),
        r"exp_avg of weight 0 .*they come in another order",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_doesn_t_fit_is_named(tmp_path: Path, trained, name: str) -> None:
    model, optimizer = trained
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "ck.pt")
    made, steps, said = UNFIT[name]
    with pytest.raises(UsageError, match=said):
        begun(tmp_path / "ck.pt", made, steps)


class Payload:
    """What a malicious file would run."""

    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


BROKEN = {
    "code": (
        {"model": net().state_dict(), "x": Payload()},
        r"it holds more than tensors and plain values \(.*\), and isn't unpickled",
    ),
    "a whole model": (net(), r"plain values \(torch.nn.modules.container.Sequential\), and isn't unpickled"),
    "no weights": ({"epoch": 3, "loss": 0.5}, "no weights are in it; it has epoch, loss"),
    "a list": ([1, 2], "expected a dict with names, got list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    content, said = BROKEN[name]
    torch.save(content, "ck.pt")
    with pytest.raises(UsageError, match=said):
        read_checkpoint("ck.pt")
    assert not Path("touched").exists()


def test_damaged_and_missing_files(tmp_path: Path, trained) -> None:
    file = tmp_path / "ck.pt"
    torch.save(trained[0].state_dict(), file)
    whole = file.read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"ck.pt: torch can't read it"):
            read_checkpoint(str(file))
    (tmp_path / "ck.safetensors").write_bytes(whole)
    for name, said in (
        ("ck.safetensors", "not a safetensors file"),
        ("gone.pt", "no such checkpoint"),
        (".", "no checkpoint"),
    ):
        with pytest.raises(UsageError, match=said):
            read_checkpoint(str(tmp_path / name))
