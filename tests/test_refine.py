"""Refining by gradient norms: the published numbers, SciPy's median filter, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter
from typer.testing import CliRunner

from lrfinder.cli.schedule import app
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump, load_schedule
from lrfinder.config.refine import NEAR, refine, refined_factors
from lrfinder.errors import RunError, UsageError
from lrfinder.gradient_norms.log import HEADER, NormLog, read_norms
from lrfinder.schedules import Cyclical, Linear, OneCycle, Step

norms = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=80)


def config(steps: int, name: str = "AdamW") -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=0.1), schedule=Linear(steps=steps))


def log_of(values: list[float]) -> NormLog:
    return NormLog(l1=tuple(values), l2=tuple(value / 2 for value in values))


class TestFactors:
    def test_constant_norms_make_a_line_to_zero(self) -> None:
        assert refined_factors([3.0] * 6, power=2, smoothing=0.1) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])

    @pytest.mark.parametrize(
        ("power", "published"),
        [
            (2, [0.2917, 0.3533, 0.4353, 0.5461, 0.6953, 0.8817, 1, 0]),
            (1, [0.9237, 0.9550, 0.9825, 1, 0.9934, 0.9285, 0.71, 0]),
        ],
    )
    def test_falling_norms_by_the_authors_code(self, power: int, published: list[float]) -> None:
        falling = np.linspace(4, 1, 8).tolist()
        assert refined_factors(falling, power=power, smoothing=0.1) == pytest.approx(published, abs=5e-5)

    @given(norms, st.sampled_from([1, 2]), st.floats(0.01, 0.99))
    def test_the_formula_with_scipys_filter(self, values: list[float], power: int, smoothing: float) -> None:
        width = 2 * int(smoothing * len(values) / 2) + 1
        padded = np.pad(values, (0, 2 * width), mode="reflect")
        smooth = median_filter(padded, width, mode="nearest")[: len(values)]
        weights = smooth**-power
        later = np.array([weights[t + 1 :].sum() for t in range(len(weights))])  # a difference of sums would cancel
        expected = weights * later
        assert refined_factors(values, power=power, smoothing=smoothing) == pytest.approx(
            (expected / expected.max()).tolist(), rel=1e-6, abs=1e-9
        )

    @given(norms, st.sampled_from([1, 2]), st.floats(1e-30, 1e30))
    def test_the_size_of_the_gradients_does_not_matter(self, values: list[float], power: int, scale: float) -> None:
        scaled = [value * scale for value in values]
        assert refined_factors(scaled, power=power, smoothing=0.1) == pytest.approx(
            refined_factors(values, power=power, smoothing=0.1), rel=1e-6, abs=1e-12
        )

    def test_a_run_of_one_update(self) -> None:
        assert refined_factors([2.0], power=1, smoothing=0.1) == (1.0,)


class TestRefine:
    @given(norms, st.sampled_from(["AdamW", "SGD"]))
    def test_the_table_is_the_factors_and_the_peak_stays(self, values: list[float], name: str) -> None:
        power, recorded = (2, [v / 2 for v in values]) if name == "SGD" else (1, values)
        refined = refine(config(len(values), name), log_of(values))
        assert refined.norm == ("l2" if name == "SGD" else "l1")
        assert refined.config.optimizer == config(len(values), name).optimizer
        exact = refined_factors(recorded, power=power, smoothing=0.1)
        assert [refined.config.schedule.factor(t) for t in range(len(values))] == pytest.approx(exact, abs=NEAR + 1e-6)

    def test_unknown_norms_are_filled_and_counted(self) -> None:
        values = [float("nan"), 1.0, float("inf"), 0.0, 1.0, 1.0, 1.0, 1.0]
        refined = refine(config(8), log_of(values))
        assert refined.missing == 3
        assert refined.config.schedule.factor(0) == 1.0

    @pytest.mark.parametrize(
        ("steps", "values", "keywords", "complaint"),
        [
            (9, [1.0] * 8, {}, "the log has 8 updates, but the config's run has 9"),
            (4, [0.0, 0.0, 0.0, 1.0], {}, "3 of 4 norms are zero, infinite or missing"),
            (4, [1.0] * 4, {"smoothing": 1.0}, "smoothing must be a share"),
            (4, [1.0] * 4, {"smoothing": float("nan")}, "smoothing must be a share"),
        ],
    )
    def test_logs_that_say_nothing(
        self, steps: int, values: list[float], keywords: dict[str, Any], complaint: str
    ) -> None:
        with pytest.raises(UsageError, match=complaint):
            refine(config(steps), log_of(values), **keywords)

    @pytest.mark.parametrize("schedule", [OneCycle, Cyclical])
    def test_a_momentum_that_moves_is_said_to_be_left_out(self, schedule: Any) -> None:
        keywords = {"up": 4} if schedule is Cyclical else {}
        for momentums, said in (((0.85, 0.95), 1), (None, 0)):
            it = schedule(steps=8, momentums=momentums, **keywords)
            before = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=it)
            refined = refine(before, log_of([1.0] * 8))
            assert len(refined.left_out) == said
            assert all("moves the momentum too: the table doesn't" in sentence for sentence in refined.left_out)
            assert refined.config.schedule.momentum(0) is None

    def test_a_growing_batch_is_refused(self) -> None:
        """The config would keep a plan that doesn't follow from the table, and couldn't be loaded."""
        growing = ScheduleConfig(
            optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=Step(steps=80, every=20, factor=0.5)
        ).with_batches(samples=1000, batch_size=50)
        with pytest.raises(UsageError, match="the batch of this config grows"):
            refine(growing, log_of([1.0] * growing.steps))


class TestLog:
    def test_a_run_carried_on_replaces_what_it_repeats(self, tmp_path: Path) -> None:
        file = tmp_path / "norms.csv"
        file.write_text(f"{HEADER}\n0,1.0,0.1\n1,2.0,0.2\n2,3.0,0.3\n1,4.0,0.4\n3,5.0,0.5\n4,6.0,0.6")
        log = read_norms(file)
        assert log.l1 == pytest.approx([1.0, 4.0, float("nan"), 5.0], nan_ok=True)
        assert log.l2 == pytest.approx([0.1, 0.4, float("nan"), 0.5], nan_ok=True)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("step,norm\n0,1\n", "it.csv:1: expected the header update,l1,l2"),
            (f"{HEADER}\n", "no update was recorded"),
            (f"{HEADER}\n0,1.0\n", "it.csv:2: expected three numbers"),
            (f"{HEADER}\n0,1.0,2.0\nx,1.0,2.0\n", "it.csv:3: expected three numbers"),
            (f"{HEADER}\n-1,1.0,2.0\n", "it.csv:2: expected numbers of at least 0"),
            (f"{HEADER}\n999999999,1.0,2.0\n", "it.csv:2: update 999999999 comes behind 0 updates"),
        ],
    )
    def test_damage_is_named_with_its_line(self, tmp_path: Path, text: str, complaint: str) -> None:
        file = tmp_path / "it.csv"
        file.write_text(text)
        with pytest.raises(RunError, match=complaint):
            read_norms(file)

    def test_no_file_and_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="No such file"):
            read_norms(tmp_path / "it.csv")
        (tmp_path / "it.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(RunError, match="not UTF-8"):
            read_norms(tmp_path / "it.csv")


class TestCommand:
    @pytest.fixture
    def paths(self, tmp_path: Path) -> tuple[Path, Path]:
        before, log = tmp_path / "before.yaml", tmp_path / "norms.csv"
        dump(config(8), before)
        falling = enumerate(np.linspace(4, 1, 8).tolist())
        log.write_text(HEADER + "\n" + "".join(f"{t},{norm!r},1.0\n" for t, norm in falling))
        return before, log

    def test_it_draws_both_and_writes(self, paths: tuple[Path, Path], tmp_path: Path) -> None:
        before, log = paths
        words = ["refine", str(before), "--log", str(log), "--write", str(tmp_path / "refined.toml")]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0
        assert "Refined by the l1 norms of 8 updates" in done.stdout
        assert load_schedule(tmp_path / "refined.toml").schedule.factor(3) == 1.0

    def test_json(self, paths: tuple[Path, Path]) -> None:
        before, log = paths
        words = ["refine", str(before), "--log", str(log), "--norm", "l2", "--json"]
        document = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
        assert (document["norm"], document["missing"], document["written"]) == ("l2", 0, None)
        assert document["config"]["schedule"]["points"] == [[0, 1.0], [7, 0.0]]

    def test_what_is_left_out_is_a_warning(self, paths: tuple[Path, Path]) -> None:
        before, log = paths
        moving = ScheduleConfig(
            optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=OneCycle(steps=8, momentums=(0.85, 0.95))
        )
        dump(moving, before)
        done = CliRunner().invoke(app, ["refine", str(before), "--log", str(log), "--json"], catch_exceptions=False)
        assert "warning: The config moves the momentum too" in done.stderr
        assert len(json.loads(done.stdout)["left_out"]) == 1

    def test_an_unknown_norm(self, paths: tuple[Path, Path]) -> None:
        before, log = paths
        with pytest.raises(UsageError, match="norm must be l1 or l2, got 'l3'"):
            CliRunner().invoke(app, ["refine", str(before), "--log", str(log), "--norm", "l3"], catch_exceptions=False)
