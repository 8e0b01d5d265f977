"""What trains is what the user trains: weights of the loss, rates, skipped batches, lazy layers, hooks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from helpers.problems import CPU, Recorder, regression
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import RunPlan, Status, Stop, SweepSettings, UpdateOptions
from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem

X = torch.randn(320, 3, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 320, 16)]
SETTINGS = SweepSettings(steps=5, repeats=1, min_lr=0.01, max_lr=0.1)


class Scaled(nn.Module):
    """A loss with a trainable weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[float] = []

    def forward(self, output, target):
        Scaled.last.append(self.scale.item())
        return ((output * self.scale - target) ** 2).mean()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Scaled.last = []


def swept(**names):
    recorder = Recorder()
    traces = run_sweep(regression(train_loader=BATCHES, **names), SETTINGS, device=CPU, observer=recorder)
    return traces[0], recorder


@pytest.mark.parametrize("optimizer", [None, lambda params, lr: torch.optim.SGD(params, lr=lr)])
@pytest.mark.parametrize("made", [Scaled, Scaled()], ids=["class", "object"])
def test_the_weights_of_a_loss_are_trained_beside_those_of_the_model(made, optimizer) -> None:
    swept(loss_fn=made, optimizer=optimizer)
    assert len(set(Scaled.last)) == len(Scaled.last) == 6
    if not isinstance(made, type):
        assert made.scale.item() == 1.0


def test_those_that_a_live_optimizer_holds_are_trained_themselves_and_come_back() -> None:
    model, loss = nn.Linear(3, 1), Scaled()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    swept(model=model, loss_fn=loss, optimizer=optimizer)
    assert len(set(Scaled.last)) == 6
    assert loss.scale.item() == 1.0
    Scaled.last.clear()
    swept(model=model, loss_fn=loss, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))  # nor does the user's run
    assert set(Scaled.last) == {1.0}


def test_weights_of_a_loss_that_nobody_would_train_are_refused() -> None:
    only_first = lambda params, lr: torch.optim.SGD(params[:2], lr=lr)  # noqa: E731
    by_name = lambda model, lr: {"all": torch.optim.SGD(model.parameters(), lr=lr)}  # noqa: E731
    for names in ({"optimizer": only_first}, {"optimizer": None, "optimizers": by_name}):
        with pytest.raises(ModelFileError, match="loss_fn has 1 trainable weights that the optimizer doesn't hold"):
            swept(loss_fn=Scaled, **names)


class WarmsUpItself(torch.optim.SGD):
    """Sets its rate anew in each step, from the one that it was made with."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = 0.05 * self.defaults["lr"]
        return super().step(closure)


def test_an_optimizer_that_sets_its_rates_itself_is_refused() -> None:
    said = "sets its rates itself: param group 0 has 5e-05 after an update at rate 0.01"
    with pytest.raises(ModelFileError, match=said):
        swept(optimizer=lambda params, lr: WarmsUpItself(params, lr=lr))
    swept(optimizer=lambda params, lr: torch.optim.SGD(params, lr=torch.tensor(lr, dtype=torch.bfloat16)))


def rate_of(optimizer) -> float:
    problem = regression(train_loader=BATCHES, optimizer=optimizer)
    return build_trial(problem, place=lambda model: model).group_ratios[0]


def test_the_rate_of_an_earlier_run_is_not_that_of_the_sweep() -> None:
    model = nn.Linear(3, 1)
    earlier = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(earlier, 20)
    for _ in range(5):
        model(X).sum().backward()
        earlier.step()
        scheduler.step()
    state = earlier.state_dict()

    def loaded(params, lr, *, mended):
        optimizer = torch.optim.AdamW(params, lr=lr)
        optimizer.load_state_dict(state)
        for group in optimizer.param_groups if mended else []:
            group["lr"] = lr
        return optimizer

    assert rate_of(lambda params, lr: loaded(params, lr, mended=True)) == pytest.approx(1.0)
    with pytest.raises(ModelFileError, match="it doesn't follow lr") as raised:
        rate_of(lambda params, lr: loaded(params, lr, mended=False))
    assert "load_state_dict brings the rate of its checkpoint" in raised.value.hint


def test_a_warm_up_in_the_function_holds_the_rate_down_for_now_only() -> None:
    def warm(params, lr, start):
        optimizer = torch.optim.SGD(params, lr=lr)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: start if step == 0 else 1.0)
        return optimizer

    for start in (0.0, 0.1):
        assert rate_of(lambda params, lr, start=start: warm(params, lr, start)) == pytest.approx(1.0)


def some_none(model, batch):
    x, y = batch
    return None if x[0, 0] > 0.5 else ((model(x) - y) ** 2).mean()


def test_a_step_that_returns_none_skips_the_batch_and_it_is_counted() -> None:
    expected = [x for x, _ in BATCHES if x[0, 0] <= 0.5]
    assert 5 < len(expected) < 15
    trace, _ = swept(loss_fn=None, training_step=some_none)
    assert trace.stop is Stop.COMPLETED
    # The same six losses in plain torch.
    seen = [i for i, (x, _) in enumerate(BATCHES) if x[0, 0] <= 0.5][:6]
    assert trace.empty == seen[-1] + 1 - 6
    recorder = Recorder()
    with ShortRuns(
        regression(train_loader=BATCHES, loss_fn=None, training_step=some_none), seed=0, device=CPU, observer=recorder
    ) as runs:
        run = runs.run(RunPlan(lr=0.1, steps=30))
    assert run.stop is Stop.COMPLETED
    assert run.empty > 0
    assert run.loss < run.initial_loss
    result = lrfinder.sweep(lambda: nn.Linear(3, 1), train_loader=BATCHES, training_step=some_none, mode="continuous")
    assert result.notes == (f"{sum(t.empty for t in result.traces)} batches were skipped, since their loss is None",)


def test_a_collate_that_found_nothing_skips_the_batch_too_and_only_nones_are_an_error() -> None:
    holes = [batch if i % 3 else None for i, batch in enumerate(BATCHES)]
    recorder = Recorder()
    for loss in (nn.functional.mse_loss, None):
        problem = regression(train_loader=holes, loss_fn=loss)
        assert run_sweep(problem, SETTINGS, device=CPU, observer=recorder)[0].empty > 0
    with pytest.raises(ModelFileError, match="the loss is None for 20 batches in a row, up to batch 19"):
        swept(loss_fn=None, training_step=lambda model, batch: None)


def test_lazy_layers_take_their_shapes_from_the_first_batch() -> None:
    def model():
        return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1))

    trace, recorder = swept(model=model)
    assert trace.stop is Stop.COMPLETED
    assert recorder.setups[0].parameters == 3 * 4 + 4 + 4 + 1


def test_a_batch_of_three_is_explained() -> None:
    three = [(x, y, torch.ones_like(y)) for x, y in BATCHES]
    for loss in (nn.functional.mse_loss, None):
        with pytest.raises(TypeError) as raised:
            run_sweep(regression(train_loader=three, loss_fn=loss), SETTINGS, device=CPU, observer=Recorder())
        assert "all but the last of its 3 elements go into the model" in raised.value.__notes__[0]


def test_a_last_batch_of_one_sample_is_explained() -> None:
    loader = DataLoader(TensorDataset(X[:33], Y[:33]), batch_size=16)
    with pytest.raises(ValueError, match="more than 1 value") as raised:
        run_sweep(
            regression(train_loader=loader, model=lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))),
            SETTINGS,
            device=CPU,
            observer=Recorder(),
        )
    assert "drop_last=True" in raised.value.__notes__[0]


FILE = """
import argparse, sys
import torch
from torch import nn
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=3)
SEEN = sys.argv[1:], parser.parse_args().steps
model = lambda: nn.Linear(3, 1)
train_loader = [(torch.ones(4, 3), torch.ones(4, 1))] * 20
class Data(torch.utils.data.Dataset):
    pass
"""


@pytest.mark.parametrize("name", ["train-v2.py", "01_cnn.py", "my model.py", "v1.2.py"])
def test_a_file_of_any_name_sees_no_arguments_and_can_be_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["lrfinder", "sweep", name, "--steps", "60", "--seed", "5"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / name).write_text(FILE)
    problem = load_problem(str(tmp_path / name))
    scope = problem.model.__globals__
    assert scope["SEEN"] == ([], 3)
    assert sys.argv[1] == "sweep"
    module = scope["__name__"]
    if name.count(".") == 1:
        assert __import__(module).Data is scope["Data"]
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "argv", ["lrfinder"])  # a worker gets it from the command line, without its options
        assert __import__(module).__file__ == str(tmp_path / name)  # as a spawned worker does
    monkeypatch.delitem(sys.modules, module, raising=False)


def test_workers_that_can_t_import_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v1.2.py"
    loader = "DataLoader([0], num_workers=1, multiprocessing_context='spawn', collate_fn=list_of)"
    path.write_text(
        f"import torch\nfrom torch import nn\nfrom torch.utils.data import DataLoader\ndef list_of(b): return b\n"
        f"model = lambda: nn.Linear(3, 1)\ndef train_loader(): return {loader}\n"
    )
    with pytest.raises(ModelFileError, match="started by spawn can't import a file of this name"):
        build_trial(load_problem(str(path)), place=lambda model: model)


def test_validation_batches_are_read_once_and_training_draws_the_same() -> None:
    read = []

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, i):
            read.append(i)
            return X[i] + torch.rand(3), Y[i]

    def model():
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    names = {"train_loader": BATCHES, "model": model, "val_loader": lambda: DataLoader(Rows(), 16, shuffle=True)}
    plans = [RunPlan(lr=lr, steps=12) for lr in (0.01, 0.03)]
    with ShortRuns(regression(**names), seed=0, device=CPU, observer=Recorder()) as runs:
        together = [runs.run(plan) for plan in plans]
    assert len(read) == 64
    alone = []
    for plan in plans:
        with ShortRuns(regression(**names), seed=0, device=CPU, observer=Recorder()) as runs:
            alone.append(runs.run(plan))
    assert together == alone


def test_the_starter_says_what_validation_batches_are_for() -> None:
    from lrfinder.task.starter import starter_text

    assert "Short runs are judged by their loss" in starter_text()


LIGHTNING = """
import lightning, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
X = torch.randint(0, 255, (320, 3)).float()
class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.order = nn.Linear(3, 1), []
    def on_before_batch_transfer(self, batch, dataloader_idx):
        self.order.append("before")
        return (batch[0] / 255,)
    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.order.append("after")
        return (batch[0] - 0.5,)
    def training_step(self, batch, batch_idx):
        assert batch[0].abs().max() <= 0.5
        EXTRA
        return (self.layer(batch[0]) - batch[0].sum(1, keepdim=True)).pow(2).mean()
    HOOK
    def train_dataloader(self):
        return DataLoader(TensorDataset(X), batch_size=16)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
model = Net
"""


def lightning_file(tmp_path: Path, *, hook: str = "", extra: str = "pass") -> str:
    path = tmp_path / "net.py"
    path.write_text(LIGHTNING.replace("HOOK", hook).replace("EXTRA", extra))
    return str(path)


@pytest.mark.needs("lightning")
def test_lightning_s_batch_hooks_are_called_and_others_keep_a_pick_from_being_confident(tmp_path: Path) -> None:
    result = lrfinder.sweep(lightning_file(tmp_path), max_lr=100.0)
    assert result.setup.skipped_hooks == ()
    assert lrfinder.recommend(result, steps=400).status is Status.CONFIDENT
    hooked = lightning_file(tmp_path, hook="def on_after_backward(self): pass")
    result = lrfinder.sweep(hooked, max_lr=100.0)
    assert result.setup.skipped_hooks == ("on_after_backward",)
    advice = lrfinder.recommend(result, steps=400)
    assert advice.status is Status.UNCERTAIN
    assert "has on_after_backward, which a Trainer calls and lrfinder doesn't" in advice.why


@pytest.mark.needs("lightning")
def test_a_missing_logger_is_explained(tmp_path: Path) -> None:
    with pytest.raises(AttributeError) as raised:
        lrfinder.sweep(lightning_file(tmp_path, extra="self.logger.experiment.add_scalar('a', 1)"))
    assert "without a logger" in raised.value.__notes__[0]


def test_weights_without_numbers_are_refused_before_anything_is_moved() -> None:
    with pytest.raises(ModelFileError, match="weights on the meta device") as caught:
        swept(model=lambda: nn.Linear(3, 1, device="meta"))
    assert "to_empty" in str(caught.value.hint)


def test_of_accumulated_batches_one_without_a_loss_is_replaced_by_the_next() -> None:
    def problem(loader):
        accumulated = UpdateOptions(accumulate=3)
        return regression(train_loader=loader, loss_fn=None, training_step=some_none, training=accumulated)

    full = [(x, y) for x, y in BATCHES if x[0, 0] <= 0.5]
    recorder = Recorder()
    with_holes = run_sweep(problem(BATCHES), SETTINGS, device=CPU, observer=recorder)[0]
    without = run_sweep(problem(full), SETTINGS, device=CPU, observer=recorder)[0]
    assert with_holes.stop is Stop.COMPLETED
    assert with_holes.empty > 0
    # Two are taken in another order within an update, whose gradient is the mean of theirs.
    assert with_holes.losses == pytest.approx(without.losses, rel=1e-5)
    with pytest.raises(ModelFileError, match="the loss is None for"):
        run_sweep(
            regression(
                train_loader=BATCHES, loss_fn=None, training_step=lambda *_: None, training=UpdateOptions(accumulate=2)
            ),
            SETTINGS,
            device=CPU,
            observer=recorder,
        )
