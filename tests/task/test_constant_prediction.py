"""What the best constant prediction costs, and that a sweep which learns no more is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.task.first_loss import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR, Targets, show, sizes_of

DRAW = torch.Generator().manual_seed(0)


def constant_of(kind: str, *targets: torch.Tensor) -> float | None:
    seen = Targets()
    for target in targets:
        seen.see(kind, None, target, None)
    return seen.constant


def test_for_labels_it_is_the_entropy_of_their_frequencies() -> None:
    labels = torch.randint(0, 5, (300,), generator=DRAW) ** 2
    expected = scipy.stats.entropy(np.bincount(labels))
    assert constant_of(CROSS_ENTROPY, *labels.split(64)) == pytest.approx(expected)
    ignored = torch.full((4, 7), -100)  # as in language models
    assert constant_of(CROSS_ENTROPY, labels.reshape(10, 30), ignored) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(300,), (300, 3), (300, 2, 4)])
def test_for_numbers_it_is_their_variance(shape: tuple[int, ...]) -> None:
    targets = 1e4 + torch.randn(*shape, generator=DRAW)
    assert constant_of(SQUARED_ERROR, *targets.split(64)) == pytest.approx(
        np.var(targets.numpy(), axis=0).mean(), rel=1e-3
    )
    assert constant_of(SQUARED_ERROR, torch.full(shape, 1e4 / 3)) == 0.0


@pytest.mark.parametrize("shape", [(300,), (300, 1), (300, 3)])
def test_for_shares_it_is_the_entropy_of_their_mean(shape: tuple[int, ...]) -> None:
    loss = nn.BCEWithLogitsLoss()
    assert kind_of(lambda: loss(OUTPUT, TARGET)) == BINARY_CROSS_ENTROPY
    for targets in (torch.randint(0, 2, shape, generator=DRAW).float(), torch.rand(*shape, generator=DRAW)):
        best = torch.logit(targets.double().mean(0)).expand(shape)  # of all constant predictions
        expected = float(loss(best, targets.double()))
        assert constant_of(BINARY_CROSS_ENTROPY, *targets.split(64)) == pytest.approx(expected, rel=1e-6)
    assert constant_of(BINARY_CROSS_ENTROPY, torch.ones(shape)) == 0.0


OUTPUT, TARGET, LABELS = torch.rand(6, 3, generator=DRAW), torch.rand(6, 3, generator=DRAW), torch.arange(6) % 3


@pytest.mark.parametrize(
    "compute",
    [
        lambda: nn.BCEWithLogitsLoss(pos_weight=torch.ones(1))(OUTPUT, TARGET),
        lambda: nn.BCELoss(weight=torch.ones(1))(OUTPUT, TARGET),
        lambda: nn.BCELoss(reduction="sum")(OUTPUT, TARGET),
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1)(OUTPUT, LABELS),
        lambda: nn.CrossEntropyLoss(weight=torch.ones(3))(OUTPUT, LABELS),
        lambda: nn.CrossEntropyLoss(ignore_index=0)(OUTPUT, LABELS),
        lambda: nn.L1Loss()(OUTPUT, TARGET),
        lambda: F.cross_entropy(OUTPUT, LABELS, reduction="none").mean(),
        lambda: F.mse_loss(OUTPUT, TARGET, reduction="none"),
        lambda: F.mse_loss(OUTPUT, TARGET) + OUTPUT.square().mean(),  # a penalty
        lambda: F.mse_loss(OUTPUT, TARGET) + F.cross_entropy(OUTPUT, LABELS),
        lambda: {"loss": 2 * F.mse_loss(OUTPUT, TARGET)},
        lambda: None,
    ],
)
def test_other_settings_and_sums_are_another_loss(compute: Callable[[], Any]) -> None:
    assert kind_of(compute) == ""


@pytest.mark.parametrize(
    ("compute", "kind"),
    [
        (lambda: F.cross_entropy(OUTPUT, LABELS), CROSS_ENTROPY),
        (lambda: {"loss": nn.CrossEntropyLoss()(input=OUTPUT, target=LABELS)}, CROSS_ENTROPY),
        (lambda: nn.MSELoss()(OUTPUT, TARGET), SQUARED_ERROR),
        (lambda: F.binary_cross_entropy(OUTPUT, TARGET), BINARY_CROSS_ENTROPY),
    ],
)
def test_a_loss_is_known_wherever_it_is_computed(compute: Callable[[], Any], kind: str) -> None:
    assert kind_of(compute) == kind


def one_hot() -> torch.Tensor:
    made = torch.zeros(6, 3)
    made[torch.arange(6), LABELS] = 1.0
    return made


@pytest.mark.parametrize(
    "target",
    [
        lambda: torch.zeros_like(OUTPUT),
        lambda: torch.ones(6, 3),
        lambda: 0.9 * OUTPUT.new_ones(6, 3),
        lambda: torch.empty(6, 3).fill_(1.0),
        lambda: OUTPUT.clone().zero_(),
        lambda: torch.full((1, 3), 2.0).expand(6, 3).contiguous(),
        lambda: torch.cat([torch.zeros(2, 3), torch.zeros(4, 3)]),
    ],
)
def test_a_target_of_one_number_that_the_step_makes_itself_is_no_data(target: Callable[[], torch.Tensor]) -> None:
    assert kind_of(lambda: F.mse_loss(OUTPUT, target())) == ""
    assert kind_of(lambda: F.cross_entropy(OUTPUT, target()[:, 0].long())) == ""
    assert kind_of(lambda: F.binary_cross_entropy(OUTPUT, target().clamp(0, 1))) == ""


@pytest.mark.parametrize(
    "target",
    [
        one_hot,
        lambda: torch.zeros(6, 3).scatter_(1, LABELS[:, None], 1.0),
        lambda: torch.zeros(6, 3) + TARGET,
        lambda: torch.randn_like(OUTPUT),  # noise to be told from a picture
        lambda: torch.cat([torch.ones(3, 3), torch.zeros(3, 3)]),  # real and false pictures
        lambda: torch.where(OUTPUT > 0.5, 1.0, 0.0),
        lambda: torch.tensor([[0.5] * 3] * 6),
    ],
)
def test_but_targets_that_hold_data_or_several_numbers_are(target: Callable[[], torch.Tensor]) -> None:
    assert kind_of(lambda: F.mse_loss(OUTPUT, target())) == SQUARED_ERROR


def kind_of(compute: Callable[[], Any]) -> str:
    """Return the kind of a loss; what is computed must be the same as if nobody looked."""
    told = []

    class Seen:
        enough = False

        def see(self, kind: str, output: Any, target: Any, loss: Any) -> None:
            told.append(kind)

    with torch.random.fork_rng():
        made = show(Seen(), compute)
    unseen = compute()
    assert torch.equal(made, unseen) if isinstance(made, torch.Tensor) else made == unseen
    assert len(told) == 1
    return str(told[0])


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (CROSS_ENTROPY, torch.zeros(63, dtype=torch.long)),  # too few
        (CROSS_ENTROPY, torch.rand(100, 10)),  # probabilities
        (SQUARED_ERROR, torch.tensor(1.0)),
        (BINARY_CROSS_ENTROPY, torch.full((100,), 1.5)),
        (SQUARED_ERROR, torch.full((100,), float("nan"))),
        ("", torch.zeros(100)),
        (SQUARED_ERROR, "no tensor"),
    ],
)
def test_else_it_is_not_told(kind: str, target: object) -> None:
    assert constant_of(kind, target) is None


def test_it_is_not_told_of_two_kinds() -> None:
    seen = Targets()
    seen.see(CROSS_ENTROPY, None, torch.zeros(100, dtype=torch.long), None)
    seen.see(SQUARED_ERROR, None, torch.zeros(100), None)
    assert seen.constant is None


@pytest.mark.parametrize("what", ["noise", "all the same", "rare"])
def test_a_sweep_over_targets_that_tell_nothing_is_refused(what: str) -> None:
    inputs = torch.randn(600, 8, generator=DRAW)
    labels = {
        "noise": torch.randint(2, (600,), generator=DRAW),
        "all the same": torch.zeros(600, dtype=torch.long),
        "rare": (inputs[:, 0] > 1.3).long(),  # a tenth: that can be learned
    }[what]
    result = lrfinder.sweep(
        model=lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)),
        train_loader=lambda: DataLoader(TensorDataset(inputs[:400], labels[:400]), batch_size=20, shuffle=True),
        val_loader=lambda: DataLoader(TensorDataset(inputs[400:], labels[400:]), batch_size=200),
        loss_fn=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW,
        device="cpu",
    )
    advice = lrfinder.recommend(result, steps=200)
    assert (advice.lr is None) is (what != "rare")
    assert {"noise": "nothing was learned", "all the same": "are the same", "rare": ""}[what] in advice.why
    if what != "rare":
        assert all(run.constant == pytest.approx(scipy.stats.entropy(np.bincount(labels[400:]))) for run in result.runs)


def decay_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return how far u(t) = 1 + t model(t) is from solving u' = -u: no data at all."""
    del batch
    t = torch.rand(64, 1, requires_grad=True)
    u = 1 + t * model(t)
    (slope,) = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)
    return F.mse_loss(slope + u, torch.zeros_like(u))


def pairs_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the contrastive loss of two views of each sample: the right answer has the number 0 every time."""
    one, two = (F.normalize(model(batch + 0.3 * torch.randn_like(batch)), dim=1) for _ in range(2))
    others = (one @ two.T)[~torch.eye(len(batch), dtype=torch.bool)].view(len(batch), -1)
    right = (one * two).sum(1, keepdim=True)
    return F.cross_entropy(torch.cat([right, others], 1) / 0.2, torch.zeros(len(batch), dtype=torch.long))


@pytest.mark.parametrize(("step", "width"), [(decay_step, 1), (pairs_step, 16)])
def test_a_loss_without_data_as_targets_is_swept(step: Callable[[nn.Module, Any], torch.Tensor], width: int) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, width))

    def train(rate: float) -> float:
        torch.manual_seed(0)
        net = model()
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
        for update, batch in enumerate(5 * batches):
            optimizer.param_groups[0]["lr"] = rate * min(1, (update + 1) / 10) * (1 - update / 100)
            optimizer.zero_grad()
            step(net, batch).backward()
            optimizer.step()
        return float(sum(step(net, batch).detach() for batch in batches)) / len(batches)

    batches = torch.randn(640, width, generator=DRAW).split(32)
    result = lrfinder.sweep(
        model=model, train_loader=batches, training_step=step, optimizer=torch.optim.AdamW, device="cpu"
    )
    assert all(run.constant is None for run in result.runs)
    advice = lrfinder.recommend(result, steps=100)
    assert advice.lr is not None, advice.why
    assert train(advice.lr) < 0.8 * train(1e-8)


def a_step(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


class WithLoss(nn.Module):
    """A model that returns its loss, as those of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.CrossEntropyLoss()(self.body(inputs), labels)}


class Compiled(WithLoss):
    """A model that says how often it was traced for a compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.body.compile(backend=self.traced)
        self.times: list[int] = []

    def traced(self, graph: Any, inputs: Any) -> Any:
        del inputs
        self.times.append(1)
        return graph.forward


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (lambda: nn.Linear(8, 2), {"training_step": a_step}),
        (
            lambda: nn.Linear(8, 2),
            {"loss_fn": lambda output, target: F.cross_entropy(output, target, label_smoothing=0.0)},
        ),
        (lambda: nn.Linear(8, 2), {}),
        (WithLoss, {}),
        (Compiled, {}),
    ],
    ids=["a step", "a function of one's own", "inferred", "the model's", "compiled"],
)
def test_a_loss_in_the_users_own_code_is_seen(model: Callable[[], nn.Module], parts: dict[str, Any]) -> None:
    inputs, labels = torch.randn(300, 8, generator=DRAW), torch.randint(2, (300,), generator=DRAW)
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(model())
        return made[-1]

    result = lrfinder.sweep(
        model=build,
        train_loader=lambda: DataLoader(TensorDataset(inputs[:200], labels[:200]), batch_size=20),
        val_loader=lambda: DataLoader(TensorDataset(inputs[200:], labels[200:]), batch_size=100),
        optimizer=torch.optim.SGD,
        device="cpu",
        run_steps=10,
        **parts,
    )
    expected = scipy.stats.entropy(np.bincount(labels[200:]))
    told = {run.constant for run in result.runs}
    if model is not Compiled:
        assert list(told) == [pytest.approx(expected)]
        return
    assert told == {None}  # rather than compile once more
    assert max(len(one.times) for one in made if isinstance(one, Compiled)) <= 2  # for training, and for judging


def test_the_size_of_numbers_is_their_median_where_there_are_enough() -> None:
    numbers = torch.randn(50, 5, generator=DRAW)
    sparse = torch.where(numbers > 1, numbers, 0.0)
    batch = {"x": [255 * numbers, sparse.bfloat16()], "y": torch.arange(50), "few": torch.ones(3)}
    expected = 255 * np.median(numbers.abs())
    assert sizes_of(batch) == (pytest.approx(expected, rel=0.02), None, None, None)  # 40 of 250 aren't 0
    assert sizes_of([numbers.masked_fill(numbers > 2, math.inf), "text"]) == (pytest.approx(expected / 255, rel=0.1),)
