"""LightningModules, with the real package: the same losses as with Lightning's own Trainer, and nothing is left."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import lightning
import pytest
import torch

from lrfinder.engine.runtime.rng import is_generator, loader_parts
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError, UsageError, user_code_location
from lrfinder.records import Spacing, SweepSettings
from lrfinder.task.build import build_trial
from lrfinder.task.lightning import is_lightning_module, skipped_hooks
from lrfinder.task.load import load_problem
from lrfinder.task.optimizers.build import REFERENCE_LR
from lrfinder.task.problem import BuiltProblem

FILE = """
import lightning

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.seen = []

    def setup(self, stage):
        assert stage == "fit"
        self.x = torch.linspace(-1, 1, 60).view(20, 3)

    def train_dataloader(self):
        return DataLoader(TensorDataset(self.x), batch_size=4)

    def training_step(self, batch, batch_idx):
        loss = (self.layer(batch[0]) - batch[0].sum(1, keepdim=True)).pow(2).mean() + batch_idx
        self.seen.append(loss.item())
        self.log("loss", loss)
        self.log_dict({"a": 1.0})
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
"""
MODEL = "model = Net\n"
LOADER = "train_loader = [(torch.ones(4, 3),)]\n"


def with_optimizers(returned: str) -> str:
    before, _, _ = FILE.partition("        return torch.optim")
    return f"{before}        parts = list(self.parameters())\n        return {returned}\n"


def five_updates(trial: BuiltProblem, rate: float) -> list[float]:
    losses = []
    for _, batch in zip(range(5), trial.loader, strict=False):
        for group, ratio in zip(trial.optimizer.param_groups, trial.group_ratios, strict=True):
            group["lr"] = rate * ratio
        loss = trial.loss(trial.model, batch)
        trial.optimizer.zero_grad()
        loss.backward()
        trial.optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def trainer() -> Iterator[object]:
    with warnings.catch_warnings():
        # Lightning advises more workers, and uses what torch and the standard library have deprecated.
        warnings.simplefilter("ignore")
        yield lightning.Trainer(
            max_steps=5, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu",
        )  # fmt: skip


def test_losses_equal_those_of_lightnings_trainer(build: Callable[..., BuiltProblem], trainer: object) -> None:
    trial = build(FILE + MODEL)
    torch.manual_seed(0)
    reference = type(trial.model)()
    trainer.fit(reference)  # type: ignore[attr-defined]
    assert five_updates(trial, 0.1) == reference.seen == trial.model.seen
    assert len(reference.seen) == 5
    assert trial.loss_note() == "training_step of Net"
    assert trial.optimizer_note == "model file"


def test_a_closure_is_evaluated_as_lightnings_trainer_does(write: Callable[..., str], trainer: object) -> None:
    text = with_optimizers("torch.optim.LBFGS(parts, lr=0.1, max_iter=3, tolerance_change=0)")
    problem = load_problem(write(text + "made = []\ndef model():\n    made.append(Net())\n    return made[-1]\n"))
    settings = SweepSettings(steps=5, repeats=1, min_lr=0.1, max_lr=0.1000001, spacing=Spacing.LINEAR)
    (trace,) = run_sweep(problem, settings, device=torch.device("cpu"), observer=Silent())
    swept = problem.model.__globals__["made"][-1]  # type: ignore[union-attr]
    torch.manual_seed(trace.seed)
    reference = type(swept)()
    trainer.fit(reference)  # type: ignore[attr-defined]
    assert len(reference.seen) == 15  # three evaluations an update
    assert swept.seen[:15] == pytest.approx(reference.seen, rel=1e-4)
    assert trace.losses[:4] == pytest.approx(reference.seen[3::3], rel=1e-4)


class Silent:
    """An observer that takes everything in."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_logging_is_silent_and_left_as_it_was(
    build: Callable[..., BuiltProblem], capsys: pytest.CaptureFixture[str]
) -> None:
    trial = build(FILE.replace('self.log("loss", loss)', 'self.log("loss", loss); self.print("hello")') + MODEL)
    own = object()
    vars(trial.model)["log_dict"] = own
    before = dict(vars(trial.model))
    five_updates(trial, 0.1)
    assert dict(vars(trial.model)).keys() == before.keys()
    assert vars(trial.model)["log_dict"] is own
    assert "log" not in vars(trial.model)
    assert capsys.readouterr() == ("", "hello\n" * 5)


def test_logging_comes_back_where_the_step_fails(build: Callable[..., BuiltProblem]) -> None:
    trial = build(FILE.replace('self.log_dict({"a": 1.0})', "1 / 0") + MODEL)
    with pytest.raises(ZeroDivisionError) as caught:
        five_updates(trial, 0.1)
    assert user_code_location(caught.value) == "calling training_step of Net"
    assert "log" not in vars(trial.model)


@pytest.mark.parametrize(
    ("returned", "ratios"),
    [
        ("torch.optim.SGD(parts, lr=0.1)", (1.0,)),
        ("[torch.optim.SGD(parts, lr=0.1)]", (1.0,)),
        ("(torch.optim.SGD(parts, lr=0.1),)", (1.0,)),
        ("{'optimizer': torch.optim.SGD(parts, lr=0.1)}", (1.0,)),
        ("[{'optimizer': torch.optim.SGD(parts, lr=0.1)}]", (1.0,)),
        ("([torch.optim.SGD(parts, lr=0.1)], [])", (1.0,)),
        ("torch.optim.SGD([{'params': parts[:1]}, {'params': parts[1:], 'lr': 0.01}], lr=0.1)", (1.0, 0.1)),
    ],
)
def test_forms_of_configure_optimizers(
    build: Callable[..., BuiltProblem], returned: str, ratios: tuple[float, ...]
) -> None:
    trial = build(with_optimizers(returned) + MODEL)
    assert isinstance(trial.optimizer, torch.optim.SGD)
    assert trial.group_ratios == pytest.approx(ratios)


def test_a_scheduler_in_configure_optimizers_does_not_touch_the_ratio(build: Callable[..., BuiltProblem]) -> None:
    text = with_optimizers(
        "(lambda opt: {'optimizer': opt, 'lr_scheduler': {'scheduler': torch.optim.lr_scheduler.LambdaLR("
        "opt, lambda step: step / 10), 'interval': 'step'}})(torch.optim.SGD(parts, lr=0.1))"
    )
    assert build(text + MODEL).group_ratios == (1.0,)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (with_optimizers("None") + MODEL, "configure_optimizers() returned a NoneType"),
        (with_optimizers("[]") + MODEL, "configure_optimizers() returned a list"),
        (with_optimizers("'sgd'") + MODEL, "configure_optimizers() returned a str ('sgd')"),
        (
            with_optimizers("[torch.optim.SGD(parts[:1]), torch.optim.SGD(parts[1:])]") + MODEL,
            "returned 2 optimizers, and a sweep has one rate",
        ),
        (FILE.replace("self.seen = []", "self.automatic_optimization = False") + MODEL, "makes its own updates"),
        (FILE.replace("return loss\n", "return {'a': loss}\n") + MODEL, "the loss is a dict"),
        (FILE.replace("train_dataloader", "other") + MODEL, "has no train_loader"),
    ],
)  # fmt: skip
def test_what_cant_be_driven(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor], text: str, phrase: str
) -> None:
    with pytest.raises(ModelFileError) as caught:
        first_loss(build(text))
    assert phrase in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (FILE.replace("return torch.optim", "self.trainer.max_epochs; return torch.optim"), "configure_optimizers()"),
        (FILE.replace("return loss\n", "return loss * self.trainer.max_epochs\n"), "training_step of Net"),
        (FILE.replace("return DataLoader", "self.trainer.max_epochs; return DataLoader"), "train_dataloader()"),
    ],
)
def test_code_that_needs_a_trainer_is_told_what_to_do(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor], text: str, place: str
) -> None:
    with pytest.raises(RuntimeError, match="not attached to a `Trainer`") as caught:
        first_loss(build(text + MODEL))
    assert user_code_location(caught.value) == f"calling {place}"
    assert "without a Trainer" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "model", ["model = Net", "model = Net()", "def model():\n    return Net()", "def model():\n    return Sub()"]
)
def test_forms_of_the_model(build: Callable[..., BuiltProblem], model: str) -> None:
    trial = build(f"{FILE}class Sub(Net):\n    pass\n{model}\ncriterion = nn.MSELoss()\n")
    assert is_lightning_module(trial.model)
    assert len(five_updates(trial, 0.1)) == 5


@pytest.mark.parametrize(
    ("arguments", "returned"),
    [
        ("batch", "loss"),
        ("batch, batch_idx", "{'loss': loss}"),
        ("batch, batch_idx=None", "loss + batch_idx"),
        ("batch, *rest", "loss + rest[0]"),
    ],
)
def test_forms_of_training_step(
    build: Callable[..., BuiltProblem],
    first_loss: Callable[[BuiltProblem], torch.Tensor],
    arguments: str,
    returned: str,
) -> None:
    text = f"""
import lightning
class model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def training_step(self, {arguments}):
        loss = self.layer(batch[0]).sum()
        return {returned}
"""
    trial = build(text + LOADER)
    assert trial.optimizer_note == "default"
    assert first_loss(trial).item() == pytest.approx(trial.model.layer(torch.ones(4, 3)).sum().item())


def test_the_files_own_names_win(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor]
) -> None:
    trial = build(
        FILE + MODEL + LOADER + "optimizer = torch.optim.Adam\ndef loss_fn(o, t):\n    raise AssertionError\n"
        "def training_step(model, batch):\n    return model.layer(batch[0]).sum() * 0 + 42\n"
    )
    assert first_loss(trial).item() == 42
    assert type(trial.optimizer) is torch.optim.Adam
    assert trial.optimizer.param_groups[0]["lr"] == REFERENCE_LR
    assert trial.loader == [(pytest.approx(torch.ones(4, 3)),)]


def test_options_dont_replace_what_the_module_defines(build: Callable[..., BuiltProblem]) -> None:
    with pytest.raises(UsageError, match="has an optimizer of its own"):
        build(FILE + MODEL, optimizer_name="Adam")
    with pytest.raises(UsageError, match="the LightningModule makes its own"):
        build(FILE + MODEL, batch_size=8)


def test_hooks_that_would_change_the_update_are_named(build: Callable[..., BuiltProblem]) -> None:
    hooks = "    def optimizer_step(self, *args):\n        pass\n    def on_after_backward(self):\n        pass\n"
    trial = build(FILE + hooks + MODEL)
    assert skipped_hooks(trial.model) == ("on_after_backward", "optimizer_step")
    assert trial.loss_note() == "training_step of Net (on_after_backward, optimizer_step not called)"


@pytest.mark.needs("pytorch_lightning")
def test_the_old_package_name_is_the_same(write: Callable[..., str]) -> None:
    text = FILE.replace("lightning.", "pl.").replace("import lightning", "import pytorch_lightning as pl")
    problem = load_problem(write(text + MODEL))
    torch.manual_seed(0)
    assert len(five_updates(build_trial(problem, place=lambda model: model), 0.1)) == 5


COMBINED = """
class Net(Net):
    def training_step(self, batch, batch_idx):
        (a,), (b,) = batch["a"], batch["b"]
        loss = self.layer(a).pow(2).mean() + (self.layer(b) - 1).pow(2).mean()
        self.seen.append(loss.item())
        return loss

    def train_dataloader(self):
        # Of other lengths: the shorter one begins again.
        loaders = {
            "a": DataLoader(TensorDataset(self.x), batch_size=4, shuffle=True, generator=torch.Generator()),
            "b": DataLoader(TensorDataset(self.x), batch_size=5),
        }
        return LOADERS
"""
_COMBINED_LOADER = "lightning.pytorch.utilities.combined_loader.CombinedLoader(loaders, 'max_size_cycle')"


@pytest.mark.parametrize("loaders", ["loaders", _COMBINED_LOADER])
def test_several_loaders_are_combined_as_lightnings_trainer_does_it(
    build: Callable[..., BuiltProblem], trainer: object, loaders: str
) -> None:
    text = FILE + COMBINED.replace("LOADERS", loaders) + MODEL
    theirs, ours = build(text).model, build(text)
    ours.model.load_state_dict(theirs.state_dict())
    trainer.fit(theirs)  # type: ignore[attr-defined]
    assert five_updates(ours, 0.1) == theirs.seen
    assert seeded_generators(ours.loader) == 1


def seeded_generators(loader: object) -> int:
    parts = [value for part in loader_parts(loader) for value in vars(part).values()]
    return len({id(value) for value in parts if is_generator(value)})
