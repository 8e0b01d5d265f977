"""A sweep in trackers, read back by their own readers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lrfinder
from lrfinder.api.sweeping import sinks as sinks_module

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def swept(**options: Any) -> lrfinder.Sweep:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    target = inputs.sum(1, keepdim=True)
    return lrfinder.sweep(
        model=lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1)),
        train_loader=[(inputs[i : i + 8], target[i : i + 8]) for i in range(0, 64, 8)],
        loss_fn=nn.MSELoss(), optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr), steps=40, repeats=2,
        run_steps=10, **options,
    )  # fmt: skip


def read(folder: Path) -> Any:
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def values(events: Any, tag: str) -> list[float]:
    return [event.value for event in events.Scalars(tag)]


def test_curve_trials_pick_and_picture_are_read_back(tmp_path: Path) -> None:
    result = swept(sinks=["tensorboard"], out=tmp_path / "run")
    events = read(tmp_path / "run" / "tensorboard")
    losses = [loss for trace in result.traces for loss in trace.losses]
    assert values(events, "sweep/loss") == pytest.approx(losses, rel=1e-6)
    assert values(events, "sweep/lr") == pytest.approx([lr for trace in result.traces for lr in trace.lrs], rel=1e-6)
    assert [event.step for event in events.Scalars("sweep/loss")] == list(range(len(losses)))
    ended = [run for run in result.runs if run.loss is not None]
    assert values(events, "trials/loss") == pytest.approx([run.loss for run in ended], rel=1e-6)
    assert values(events, "trials/lr") == pytest.approx([run.plan.lr for run in ended], rel=1e-6)
    (text,) = events.Tensors("pick/text_summary")
    said = text.tensor_proto.string_val[0].decode()
    if "pick/lr" in events.Tags()["scalars"]:
        assert f"Suggested peak learning rate: {values(events, 'pick/lr')[0]:.3g} " in said
    else:
        assert said.startswith("No learning rate can be suggested")
    (picture,) = events.Images("curve")
    from matplotlib.image import imread

    drawn = imread(tmp_path / "run" / "curve.png")
    assert imread(io.BytesIO(picture.encoded_image_string)).shape[:2] == drawn.shape[:2]


def test_the_sweep_is_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    watched, plain = swept(sinks=["tensorboard"]), swept()
    assert (watched.losses, [run.loss for run in watched.runs]) == (plain.losses, [run.loss for run in plain.runs])
    (place,) = (tmp_path / "lrfinder-tensorboard").iterdir()
    assert len(values(read(place), "sweep/loss")) == sum(len(trace.lrs) for trace in watched.traces)


def test_a_missing_package_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks_module, "find_spec", lambda name: None)
    with pytest.raises(lrfinder.UsageError, match="the sink tensorboard needs the package tensorboard") as caught:
        swept(sinks=["tensorboard"])
    assert caught.value.hint == "pip install tensorboard"
    with pytest.raises(lrfinder.UsageError, match="unknown sink 'tensorbord'") as caught:
        swept(sinks=["tensorbord"])
    assert caught.value.hint.startswith("did you mean tensorboard?")
