"""In which mode held-out data are judged, what judging leaves behind, and what is said of it."""

from __future__ import annotations

import collections
import contextlib

import pytest
import torch
from torch import nn

import lrfinder
from helpers.problems import CPU, Recorder, regression
from lrfinder.engine.losses.evaluation import evaluate
from lrfinder.engine.losses.judging import Judging
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.errors import ModelFileError
from lrfinder.records import RunPlan, Stop
from lrfinder.store import load_run

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(640, 3, generator=DRAW)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])
BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 640, 16)]
PLAN = RunPlan(lr=0.1, steps=30)


def run(plan: RunPlan = PLAN, **names):
    recorder = Recorder()
    how = []
    recorder.judged = how.append
    given = {"train_loader": BATCHES} | names
    with ShortRuns(regression(**given), seed=0, device=CPU, observer=recorder) as runs:
        made = runs.run(plan)
    return made, how, recorder


def fell(made) -> bool:
    return made.stop is Stop.COMPLETED and made.loss < 0.2 * made.initial_loss


def test_an_ordinary_model_is_judged_in_evaluation_mode_and_computed_no_more_often() -> None:
    calls = collections.Counter()

    class Net(nn.Linear):
        def forward(self, x):
            calls[self.training] += 1
            return super().forward(x)

    made, how, recorder = run(model=lambda: Net(3, 1))
    assert fell(made)
    assert how == ["evaluation mode"]
    assert recorder.setups[0].judged == "evaluation mode"
    assert made.note == ""
    assert calls == {True: PLAN.steps, False: 2 * 4}


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm1d(3), lambda: nn.Dropout(0.8)])
@pytest.mark.parametrize("scaled", [lambda x: x, lambda x: 1000 * x + 5000])  # fresh statistics are those of other data
def test_layers_that_differ_between_the_modes_are_no_reason(layer, scaled) -> None:
    made, how, _ = run(
        model=lambda: nn.Sequential(layer(), nn.Linear(3, 1)), train_loader=[(scaled(x), y) for x, y in BATCHES]
    )
    assert how == ["evaluation mode"]
    assert made.note == ""


def test_a_step_that_needs_gradients_is_judged_with_them() -> None:
    def step(model, batch):
        x, y = batch
        x = x.clone().requires_grad_()
        out = model(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return ((out - y) ** 2).mean() + 0.01 * slope.square().mean()

    made, how, recorder = run(loss_fn=None, training_step=step)
    assert fell(made)
    assert how[0].startswith("evaluation mode with gradients: in evaluation mode it fails (RuntimeError: element 0")
    assert recorder.setups[0].judged == how[0]
    assert made.note == f"held-out data are judged in {how[0]}"


class LossesOnlyInTraining(nn.Linear):
    def forward(self, x, y):
        out = super().forward(x)
        return {"loss": ((out - y) ** 2).mean()} if self.training else [{"boxes": out}]


class Decoded(nn.Linear):
    def forward(self, x):
        out = super().forward(x)
        return out if self.training else 1e5 * out + 3e5


def detect(model, batch):
    return model(*batch)["loss"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (
            {"model": lambda: LossesOnlyInTraining(3, 1), "training_step": detect},
            "in evaluation mode it fails",
        ),
        ({"model": lambda: Decoded(3, 1)}, "in evaluation mode the loss of the same data is"),
    ],
)
def test_where_evaluation_mode_gives_another_thing_training_mode_judges(names, why) -> None:
    made, how, _ = run(**({"loss_fn": None} if "training_step" in names else {}), **names)
    assert fell(made)
    assert made.initial_loss < 100
    assert how[0].startswith(f"training mode: {why}")


class Heads(nn.Module):
    """Deep supervision: three outputs in training mode, the first alone in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3, 1) for _ in range(3))

    def forward(self, x):
        outputs = tuple(head(x) for head in self.heads)
        return outputs if self.training else outputs[0]


def test_another_structure_is_seen_though_the_losses_are_alike() -> None:
    """Over one tensor `zip` goes by its rows, so that each of three samples is compared with the targets of all."""

    def step(model, batch):
        x, y = batch
        return sum(w * ((out - y) ** 2).mean() for w, out in zip((1, 0.4, 0.2), model(x), strict=False))

    made, how, recorder = run(model=Heads, loss_fn=None, training_step=step)
    assert how == [
        "training mode: in evaluation mode the model returns a tensor of 2 dimensions, in training mode a tuple of 3"
    ]
    assert recorder.setups[0].judged == how[0]
    assert fell(made)


@pytest.mark.parametrize("more", [{}, {"cache": 0}])  # as transformers return in evaluation mode
def test_a_mapping_that_holds_more_is_no_other_structure(more) -> None:
    class Named(nn.Linear):
        def forward(self, x):
            return {"out": super().forward(x)} | ({} if self.training else more)

    _, how, _ = run(model=lambda: Named(3, 1), loss_fn=lambda output, y: ((output["out"] - y) ** 2).mean())
    assert how == ["evaluation mode"]


@pytest.mark.filterwarnings("ignore:`torch.jit.script. is:DeprecationWarning")
def test_a_scripted_model_which_takes_no_hooks_is_judged_as_the_same_one_in_python() -> None:
    losses = []
    for dress in (nn.Identity(), torch.jit.script):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        made, how, _ = run(model=dress(net))
        assert how == ["evaluation mode"]
        assert fell(made)
        losses.append(made.loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_step_that_fails_in_every_mode_says_when() -> None:
    def step(model, batch):
        if len(batch[0]) == 8:
            raise ValueError("eight")
        return ((model(batch[0]) - batch[1]) ** 2).mean()

    held_out = lambda: [(X[:8], Y[:8])]  # noqa: E731
    with pytest.raises(ValueError, match="eight") as raised:
        run(loss_fn=None, training_step=step, val_loader=held_out)
    assert "judging of held-out data" in raised.value.__notes__[0]


class Calls:
    def __init__(self):
        self.made, self.last = 0, torch.zeros(1)


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = Calls()
        self.line = nn.Linear(3, 1)
        self.register_buffer("seen", torch.zeros(2))
        self.hidden, self.log, self.count = None, [], 0

    def forward(self, x):
        if self.hidden is not None and len(self.hidden) != len(x):
            raise RuntimeError(f"expected {len(x)}, got {len(self.hidden)}")
        self.hidden = x.detach()
        self.seen += 1
        self.log.append(len(x))
        self.count += 1
        self.calls.made += 1
        self.calls.last += 1
        return self.line(x)


def test_judging_leaves_nothing_behind_and_a_hidden_state_of_another_size_is_put_aside() -> None:
    shared = nn.BatchNorm1d(3)

    def step(model, batch):
        return ((model(shared(batch[0])) - batch[1]) ** 2).mean()

    problem = regression(
        model=Stateful, loss_fn=None, training_step=step, train_loader=BATCHES, val_loader=lambda: [(X[:8], Y[:8])]
    )
    with contextlib.ExitStack() as cleanup:
        trial, _ = Preparation(problem, CPU, MicroBatching()).ready(0, first_epoch=0, cleanup=cleanup)
        model = trial.model
        model.log.append(0)
        before = (model.seen.clone(), model.hidden, list(model.log), model.count, shared.num_batches_tracked.clone())
        before += (model.calls.made, model.calls.last.item())
        Judging().loss(trial, BATCHES[:3], device=CPU, seed=0)
        assert torch.equal(model.seen, before[0])
        assert model.hidden is None
        assert (model.log, model.count) == (before[2], before[3])
        assert (model.calls.made, model.calls.last.item()) == before[5:]
        assert torch.equal(shared.num_batches_tracked, before[4])
        assert all(p.grad is None for p in model.parameters())
        assert evaluate(trial, BATCHES[:1], device=CPU, seed=0) > 0
    with ShortRuns(problem, seed=0, device=CPU, observer=Recorder()) as runs:
        assert fell(runs.run(PLAN))


def test_an_empty_first_tensor_gives_no_weight_of_zero() -> None:
    def step(model, batch):
        _, x, y = batch
        return ((model(x) - y) ** 2).mean()

    batches = [(torch.empty(0, 3), x, y) for x, y in BATCHES]
    made, _, _ = run(loss_fn=None, training_step=step, train_loader=batches)
    assert fell(made)


def test_state_that_the_script_keeps_is_named_and_nothing_is_confident() -> None:
    kept = {"scale": 1.0}

    def step(model, batch):
        x, y = batch
        kept["scale"] *= 1.05  # as a hidden state that explodes does, over all repeats
        return kept["scale"] * ((model(x) - y) ** 2).mean()

    result = lrfinder.sweep(lambda: nn.Linear(3, 1), train_loader=BATCHES, training_step=step, min_lr=1e-5, max_lr=1.0)
    advice = lrfinder.recommend(result, steps=400)
    assert advice.status != "confident"
    assert "goes on from one to the next" in advice.why or advice.lr is None


def test_validation_data_that_give_another_kind_of_loss_are_named() -> None:
    units = [(x, 1000 * y) for x, y in BATCHES[:4]]
    made, how, _ = run(val_loader=units)
    assert how == ["evaluation mode"]
    assert made.note.startswith("the held-out loss is of another kind than that of training: before any update it is")
    assert run(val_loader=[(x, 1.5 * y) for x, y in BATCHES[:4]])[0].note == ""
    right = [(torch.zeros(1, 3), torch.zeros(1, 1))] * 4  # as with a hinge, in batches of one sample
    assert run(model=lambda: nn.Linear(3, 1, bias=False), val_loader=right)[0].note == ""
    slow = lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))  # noqa: E731
    far = [(100 * x + 50, y) for x, y in BATCHES]
    assert run(model=slow, train_loader=far, val_loader=far[:4])[0].note == ""  # statistics that have not followed yet


def test_the_mode_is_in_the_run_folder(tmp_path) -> None:
    result = lrfinder.sweep(
        lambda: Decoded(3, 1),
        train_loader=BATCHES,
        loss_fn=nn.functional.mse_loss,
        out=tmp_path / "run",
        min_lr=1e-4,
        max_lr=10.0,
        steps=50,
    )
    assert result.setup.judged.startswith("training mode: in evaluation mode")
    assert load_run(tmp_path / "run").setup == result.setup
    assert any("training mode" in note for note in result.notes)
    advice = lrfinder.recommend(result, steps=400)
    assert advice.lr is not None
    assert advice.lr < 1.0
    assert "It was judged in training mode: in evaluation mode the loss of the same data is" in advice.why


def test_a_batch_of_the_wrong_kind_is_still_an_error_of_the_file() -> None:
    with pytest.raises(ModelFileError):
        run(train_loader=[{"x": X[:8]}] * 40)
