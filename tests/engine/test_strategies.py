"""What each strategy of two processes promises, for each kind of model: the table in the engine's README."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from helpers.processes import seen_by_two_ranks
from lrfinder.engine.distributed.sharding import blocks_of
from lrfinder.errors import ModelFileError, UsageError

from .two_strategies import KINDS, STRATEGIES, Net, answer_of, divided, noise, swept

SCRIPT = Path(__file__).parent / "two_strategies.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, fsdp_on_cpu):
    """What each of two real processes of torchrun saw."""
    return seen_by_two_ranks(SCRIPT, tmp_path_factory)[1]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_measure_what_one_does_by_either_strategy(ranks, kind):
    alone = answer_of(swept(kind, ranks=1))
    for strategy in STRATEGIES:
        first, second = (seen[strategy][kind] for seen in ranks)
        assert first == second
        assert len(first["losses"]) == len(alone["losses"]) > 10
        assert first["losses"] == pytest.approx(alone["losses"], rel=0, abs=1e-6)
        assert first["runs"] == pytest.approx(alone["runs"], rel=0, abs=1e-6)
        assert first["lr"] == alone["lr"]
    assert bool(alone["runs"]) == (kind == "plain")


def test_two_processes_see_the_gradients_that_one_does_by_either_strategy(ranks):
    alone = noise(ranks=1)
    for strategy in STRATEGIES:
        first, second = (seen["noise"][strategy] for seen in ranks)
        assert first == second
        for name in ("squares", "means"):
            assert first[name] == pytest.approx(alone[name], rel=1e-6)


def test_the_strategy_is_recorded(ranks):
    first = ranks[0]
    assert "DistributedDataParallel" in first["ddp"]["plain"]["strategy"]
    assert first["fsdp2"]["plain"]["strategy"].endswith("(FSDP2: the root and 3 blocks)")
    assert "itself" in first["own"]["plain"]["strategy"]


def test_a_model_file_may_divide_its_model_itself(ranks):
    for seen in ranks:
        for kind, own in seen["own"].items():
            assert own["losses"] == seen["fsdp2"][kind]["losses"]


def test_each_rank_gets_its_part_of_a_live_model_back(ranks):
    for seen in ranks:
        assert all(seen["live"].values()), seen["live"]


@pytest.mark.parametrize("metric", ["train", "val"])
def test_a_nan_in_the_part_of_another_rank_ends_all_together(ranks, metric):
    """No loss shows it: it is found by the check of the weights, every eighth update."""
    for seen in ranks:
        spoiled = seen[f"spoiled, {metric}"]
        assert (spoiled["status"], spoiled["losses"]) == ("non_finite", 8)
        assert "each process has its part" in spoiled["why"]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("adafactor", "Adafactor can't update weights that are divided"),
        ("scalar", "Change temperature to a 1D tensor"),
        ("live", "couldn't be put back"),
        ("by tensor", "would train on different data"),
    ],
)
def test_what_cannot_be_divided_is_refused_by_all(ranks, what, why):
    for seen in ranks:
        assert seen["failures"][what].startswith("UsageError: ")
        assert why in seen["failures"][what]


def test_one_process_divides_nothing():
    with pytest.raises(UsageError, match="this is one"):
        swept("plain", ranks=1, strategy="fsdp2")
    with pytest.raises(ModelFileError, match="this is one by itself"):
        swept("plain", ranks=1, model=divided)
    with pytest.raises(UsageError, match="strategy must be one of ddp, fsdp2"):
        swept("plain", ranks=1, strategy="fsdp")


def test_blocks_are_the_members_of_the_outermost_lists():
    model = Net()
    assert list(blocks_of(model)) == list(model.blocks)
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.ReLU(), nn.Linear(2, 2))
    assert list(blocks_of(nested)) == [nested[0], nested[2]]
    listed = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.Linear(2, 2)])
    assert list(blocks_of(listed)) == [listed[0][0], listed[1]]
    nested[2].weight = nested[0][0].weight  # shared: both stay with the root
    assert list(blocks_of(nested)) == []
    assert list(blocks_of(nn.Linear(2, 2))) == []
