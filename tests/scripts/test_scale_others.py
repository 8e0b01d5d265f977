"""Several optimizers of a script that are scaled together: the reference is its own training, at rates set by hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers.zygote import Zygote
from lrfinder import load_schedule
from lrfinder.cli.answers.output import print_use
from lrfinder.errors import UsageError
from lrfinder.records import Status, SweepSettings
from lrfinder.store import load_source

ENV = {"OMP_NUM_THREADS": "1"}
RATES = SweepSettings(min_lr=1e-3, max_lr=1.0, steps=40).lrs()
RATIO = 0.04 / 0.02  # of the decoder's own rate to the encoder's
SCHEDULE = """
version: 1
optimizer: {name: SGD, lr: 0.08}
schedule: {name: cosine, warmup: 5, steps: 60}
"""


@pytest.fixture
def translator() -> ModuleType:
    path = Path(__file__).parent / "programs" / "translator.py"
    spec = importlib.util.spec_from_file_location("translator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_hand(rates: tuple[float, ...]) -> Callable[..., None]:
    """Set both rates, and the decoder's second group, which has a quarter of its first one's, for each update."""

    def set_rates(update: int, encoder: torch.optim.Optimizer, decoder: torch.optim.Optimizer) -> None:
        rate = rates[min(update, len(rates) - 1)]
        encoder.param_groups[0]["lr"] = rate
        for group, share in zip(decoder.param_groups, (1.0, 0.25), strict=True):
            group["lr"] = rate * RATIO * share

    return set_rates


def test_all_optimizers_follow_the_rate_of_the_first(
    sweep: Callable[..., Any], translator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = sweep("translator.py", scale_others=True)
    [trace] = done.sweep.traces
    expected, _ = translator.train(translator.parse([]), by_hand(RATES))
    assert [trace.initial_loss, *trace.losses] == expected[: len(trace.losses) + 1]
    assert len(trace.losses) > 25
    assert trace.doubt == ""  # one loss, one update
    assert load_source(done.folder).script.scale_others
    assert any(
        "swept were SGD (encoder_optimizer) and SGD (decoder_optimizer) at 2 times its rate" in said
        for said in done.remarks
    )
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    print_use(Path("schedule.yaml"), load_schedule(tmp_path / "schedule.yaml"), done.folder)
    command = "lrfinder run --config schedule.yaml --script translator.py --scale-others --\n"
    assert command in capsys.readouterr().out


def test_a_loss_of_its_own_is_a_doubt(sweep: Callable[..., Any]) -> None:
    done = sweep("translator.py", "--own-loss", scale_others=True)
    assert done.advice.status is not Status.CONFIDENT
    assert "the script's optimizers have a loss each" in done.sweep.traces[0].doubt


def test_what_cannot_be_scaled_is_refused(sweep: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"Unrated \(decoder_optimizer\) has no rate"):
        sweep("translator.py", "--unrated", scale_others=True)
    with pytest.raises(UsageError, match="all optimizers are to be scaled, and 'encoder_optimizer' is named too"):
        sweep("translator.py", which="encoder_optimizer", scale_others=True)


def test_a_run_scales_them_too_and_their_own_schedulers_find_what_they_left(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str], translator: ModuleType
) -> None:
    program("translator.py")
    (tmp_path / "schedule.yaml").write_text(SCHEDULE)
    run = ("run", "--config", "schedule.yaml", "--script", "translator.py")
    status, done = zygote.run(*run, cwd=tmp_path, env=ENV)
    assert status == 2
    assert "name one by --which, or scale all by --scale-others" in done.stderr
    (tmp_path / "schedule-rates.csv").unlink()
    status, done = zygote.run(*run, "--scale-others", "--", "--save", "weights.pt", cwd=tmp_path, env=ENV)
    assert status == 0, done.stderr
    *ours, rates = torch.load(tmp_path / "weights.pt")
    _, (*expected, _) = translator.train(translator.parse([]), by_hand(load_schedule(tmp_path / "schedule.yaml").lrs()))
    assert all(map(torch.equal, ours, expected))
    assert rates.tolist() == pytest.approx([0.04 * 0.5**6, 0.01 * 0.5**6])


@pytest.mark.parametrize("command", [("run", "--config", "schedule.yaml"), ("verify",)])
def test_it_is_for_scripts_where_no_model_file_is_swept(
    zygote: Zygote, tmp_path: Path, command: tuple[str, ...]
) -> None:
    status, done = zygote.run(*command, "--scale-others", cwd=tmp_path)
    assert status == 2
    assert "--scale-others is for a --script here" in done.stderr
