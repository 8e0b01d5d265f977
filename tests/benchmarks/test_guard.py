"""A small part of the benchmark, with generous bounds, so that a change that spoils the picks is noticed at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import lrfinder
from benchmarks.scoring import Oracle

TASKS = Path(__file__).parent / "tasks"


@pytest.mark.parametrize("name", ["digits_mlp_sgd", "digits_logistic_sgd", "friedman_mlp_adam"])
def test_the_recommended_rate_is_near_the_best_of_real_training(name: str) -> None:
    swept = lrfinder.sweep(TASKS / f"{name}.py", seed=21, device="cpu")
    advice = lrfinder.recommend(swept, steps=400)
    regret = Oracle.read(TASKS.parent / "oracle" / f"{name}.json").regret(advice.lr)
    assert regret <= 0.1, (advice.lr, advice.why)  # the worst of 65 measured cases was 0.061
    # Two repeats and three short runs are some 390 updates. Where the best run is clearly the last on its side there
    # are up to five, as on digits_logistic_sgd: 467.
    assert swept.updates <= (550 if name == "digits_logistic_sgd" else 450)
