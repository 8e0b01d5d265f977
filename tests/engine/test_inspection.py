"""What the first batch shows: shapes, groups, and the first loss beside that of a constant prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import lrfinder
from lrfinder.api.sweeping.measure import measure
from lrfinder.engine.observer import Observer
from lrfinder.records import Inspection, Mode, SweepResult, SweepSettings
from lrfinder.task.problem import Problem

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
TARGETS = torch.tensor([3.0, 5.0, 7.0, 9.0, 3.0, 5.0, 7.0, 9.0])
ENTROPY = -(2 * 3 / 8 * math.log(3 / 8) + 2 / 8 * math.log(2 / 8))
INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Listener(Observer):
    def __init__(self) -> None:
        self.seen: list[Inspection] = []

    def inspected(self, inspection: Inspection) -> None:
        self.seen.append(inspection)


def inspected(model: nn.Module, target: torch.Tensor, **names: Any) -> tuple[Inspection, SweepResult]:
    mode = names.pop("mode", Mode.CONTINUOUS)
    problem = Problem(name="it", model=model, train_loader=[(INPUTS, target)] * 20, **names)
    listener, settings = Listener(), SweepSettings(steps=6, max_lr=1e-5, repeats=2, run_steps=10, mode=mode)
    result = measure(problem, settings, device="cpu", observers=[listener])
    (seen,) = listener.seen
    return seen, result


def classifier(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), *more)


class Derived(nn.CrossEntropyLoss):
    pass


RECOGNISED: dict[str, tuple[dict[str, Any], str]] = {
    "inferred": ({}, "cross-entropy"),
    "a module": ({"loss_fn": nn.CrossEntropyLoss()}, "cross-entropy"),
    "a class": ({"loss_fn": nn.CrossEntropyLoss}, "cross-entropy"),
    "a function": ({"loss_fn": cross_entropy}, "cross-entropy"),
    "weighted": ({"loss_fn": nn.CrossEntropyLoss(torch.ones(3))}, ""),
    "smoothed": ({"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.1)}, ""),
    "summed": ({"loss_fn": nn.CrossEntropyLoss(reduction="sum")}, ""),
    "derived": ({"loss_fn": Derived()}, "cross-entropy"),
    "one's own": ({"loss_fn": lambda output, target: 1.0 * cross_entropy(output, target)}, ""),
    "a training step": (
        {"training_step": lambda model, batch: cross_entropy(model(batch[0]), batch[1])},
        "cross-entropy",
    ),
}


@pytest.mark.parametrize("how", RECOGNISED)
def test_the_entropy_of_the_labels_stands_beside_a_recognised_cross_entropy(how: str) -> None:
    names, kind = RECOGNISED[how]
    model = classifier()
    first = cross_entropy(model(INPUTS), LABELS).item()
    seen, result = inspected(model, LABELS, **names)
    assert (seen.kind, seen.probabilities, seen.doubts) == (kind, False, ())
    assert seen.shapes == ("8 x 4 float32", "8 int64")
    assert seen.groups == ((15, 1.0),)
    assert seen.memory[0] >= seen.memory[1] > 0
    if kind:
        assert seen.loss == pytest.approx(first, rel=1e-6)
        assert seen.constant == pytest.approx(ENTROPY, rel=1e-6)
    else:
        assert (seen.loss, seen.constant) == (None, None)
    assert result.notes == ()


@pytest.mark.parametrize("names", [{}, {"loss_fn": nn.MSELoss()}, {"loss_fn": mse_loss}])
def test_the_variance_of_the_targets_stands_beside_a_squared_error(names: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    seen, _ = inspected(model, TARGETS, **names)
    assert (seen.kind, seen.constant) == ("mean squared error", pytest.approx(5.0))
    columns, _ = inspected(nn.Linear(4, 2), torch.stack([TARGETS, 10 * TARGETS], 1), **names)
    assert columns.constant == pytest.approx((5 + 500) / 2)


def test_a_softmax_in_front_of_cross_entropy_is_pointed_out() -> None:
    for last in (nn.Softmax(1), nn.Softmax(-1)):
        seen, result = inspected(classifier(last), LABELS, loss_fn=nn.CrossEntropyLoss())
        assert seen.probabilities is True
        (note,) = result.notes
        assert note.startswith("cross-entropy gets probabilities")
    for last in (nn.Sigmoid(), nn.LogSoftmax(1), nn.ReLU()):
        assert inspected(classifier(last), LABELS, loss_fn=nn.CrossEntropyLoss())[0].probabilities is False


def test_a_first_loss_far_above_a_constant_s_is_pointed_out_and_stored_with_the_first_repeat() -> None:
    far = classifier()
    with torch.no_grad():
        far[0].bias[1] = 40.0  # sure of one class, mostly wrong
    seen, result = inspected(far, LABELS)
    (note,) = result.notes
    assert note == seen.doubts[0]
    assert f"the first loss, {seen.loss:.4g}, is far above the {ENTROPY:.4g} of a constant prediction" in note
    assert [trace.note for trace in result.traces] == [note, ""]
    raw, _ = inspected(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), TARGETS + 100)
    assert "look at the scale of targets and inputs" in raw.doubts[0]


@pytest.mark.parametrize(
    "target", [torch.zeros(8, dtype=torch.long), torch.tensor([-100] * 7 + [1]), torch.full((8,), 2)]
)
def test_labels_that_are_all_the_same_raise_no_doubt(target: torch.Tensor) -> None:
    assert inspected(classifier(), target, loss_fn=nn.CrossEntropyLoss())[0].doubts == ()


def test_it_comes_once_also_from_short_runs_alone() -> None:
    seen, _ = inspected(classifier(), LABELS, mode=Mode.RESTART)
    assert (seen.kind, seen.constant) == ("cross-entropy", pytest.approx(ENTROPY))


def test_outputs_per_position_and_per_pixel() -> None:
    class PerPixel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x[:, None]).softmax(1)

    seen, _ = inspected(PerPixel(), LABELS[:, None].expand(8, 4).contiguous(), loss_fn=nn.CrossEntropyLoss())
    assert (seen.constant, seen.probabilities) == (pytest.approx(ENTROPY), True)


def test_the_run_is_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def swept() -> SweepResult:
        torch.manual_seed(3)
        return inspected(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)), LABELS)[1]

    watched = swept()
    monkeypatch.setattr("lrfinder.task.loss.Loss.watch", lambda *_: None)
    assert swept().losses == watched.losses


@pytest.fixture
def model_file(tmp_path) -> Any:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\nfrom torch import nn\n"
        "x, y = torch.randn(40, 4), torch.arange(40) % 4\n"
        "def model(): return nn.Sequential(nn.Linear(4, 4), nn.Softmax(1))\n"
        "def train_loader(): return [(x, y)] * 30\n"
        "loss_fn = nn.CrossEntropyLoss()\n"
        "def optimizer(p, lr): return torch.optim.SGD([{'params': p, 'lr': lr}])\n"
    )
    return path


def test_a_dry_run_counts_what_the_sweep_makes(model_file) -> None:
    run = lrfinder.dry_run(model_file, steps=30, repeats=3, run_steps=20)
    assert (run.sweep_updates, run.trials, run.trial_updates, run.updates) == (90, 3, 20, 150)
    assert 0 < run.seconds_per_update < 1
    assert run.seconds == 150 * run.seconds_per_update
    assert run.inspection.constant == pytest.approx(math.log(4))
    assert run.warnings[0].startswith("cross-entropy gets probabilities")
    assert lrfinder.dry_run(model_file, mode="continuous").trials == 0
    assert lrfinder.dry_run(model_file, mode="restart").sweep_updates == 0


@pytest.mark.parametrize("fault", ["optimizers", "stepz"])
def test_a_dry_run_refuses_what_a_sweep_does(model_file, fault: str) -> None:
    refused: Callable[..., Any] = lrfinder.dry_run
    with pytest.raises((lrfinder.UsageError, TypeError)):
        refused(model_file, **{fault: "Foo"})
