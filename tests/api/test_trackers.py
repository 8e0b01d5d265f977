"""A sweep in trackers, read back by their own readers."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lrfinder
from lrfinder.api.sweeping import sinks as sinks_module
from lrfinder.api.sweeping.sweep_run import resume_run, sweep_run
from lrfinder.engine.observer import Observer
from lrfinder.records import Mode, Point, SweepSettings
from lrfinder.store import Source

KINDS = {1: "full", 2: "first", 3: "middle", 4: "last"}  # of the pieces of a record in W&B's log
BLOCK, HEADER, BEGIN = 32768, 7, 7  # bytes: of a block, of the head of a piece, and before the first one


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
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def values(events: Any, tag: str) -> list[float]:
    return [event.value for event in events.Scalars(tag)]


@pytest.mark.needs("tensorboard")
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


class Killed(Observer):
    """Ends a sweep in the middle of its third repeat, without a word to anybody else."""

    def measured(self, point: Point) -> None:
        if (point.repeat, point.step) == (2, 3):
            raise SystemError


@pytest.mark.needs("tensorboard")
def test_of_a_resumed_sweep_the_repeats_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(
        "import torch\nmodel = lambda: torch.nn.Linear(2, 1)\n"
        "train_loader = [(torch.ones(4, 2), torch.zeros(4, 1))] * 4\n"
    )
    settings = SweepSettings(steps=10, repeats=3, mode=Mode.CONTINUOUS)
    with pytest.raises(SystemError):
        sweep_run(
            Source(reference="model.py"),
            settings,
            out=Path("run"),
            watch=lambda _: contextlib.nullcontext(Killed()),
            sinks=["tensorboard"],
        )
    (killed,) = Path("run/tensorboard").iterdir()
    killed.rename(killed.with_name(killed.name.replace(".tfevents.", ".tfevents.0")))  # as if it was of an hour ago
    result = resume_run(Path("run"), sinks=["tensorboard"]).sweep
    events = read(Path("run/tensorboard"))
    losses = [loss for trace in result.traces for loss in trace.losses]
    assert values(events, "sweep/loss") == pytest.approx(losses, rel=1e-6)
    assert [event.step for event in events.Scalars("sweep/loss")] == list(range(len(losses)))
    (text,) = events.Tensors("pick/text_summary")
    assert "Run: run" in text.tensor_proto.string_val[0].decode()


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of the libraries below it
def test_mlflow_gives_back_curve_trials_pick_picture_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    result = swept(sinks=["mlflow"], out=tmp_path / "run")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("lrfinder").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert (run.data.params["optimizer"], run.data.params["steps"]) == ("SGD", "40")

    def history(name: str) -> list[float]:
        metrics = client.get_metric_history(run.info.run_id, name)
        return [metric.value for metric in sorted(metrics, key=lambda metric: metric.step)]

    losses = [min(loss, sys.float_info.max) for trace in result.traces for loss in trace.losses]  # MLflow has no inf
    assert history("sweep/loss") == pytest.approx(losses)
    assert history("sweep/lr") == pytest.approx([lr for trace in result.traces for lr in trace.lrs])
    assert history("trials/loss") == pytest.approx([run.loss for run in result.runs if run.loss is not None])
    said = Path(client.download_artifacts(run.info.run_id, "pick.txt")).read_text()
    if "pick/lr" in run.data.metrics:
        assert f"Suggested peak learning rate: {run.data.metrics['pick/lr']:.3g} " in said
    else:
        assert said.startswith("No learning rate can be suggested")
    assert Path(client.download_artifacts(run.info.run_id, "curve.png")).read_bytes().startswith(b"\x89PNG")


def records(log: bytes) -> Any:
    """Yield the records of a log of W&B: the pieces of LevelDB's log format joined, read by their own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert log[:4] == b":W&B"
    place, whole = BEGIN, b""
    while place + HEADER <= len(log):
        if BLOCK - place % BLOCK < HEADER:  # no room for another piece in this block
            place += BLOCK - place % BLOCK
            continue
        size, kind = int.from_bytes(log[place + 4 : place + 6], "little"), KINDS[log[place + 6]]
        whole += log[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in {"full", "last"}:
            yield Record.FromString(whole)
            whole = b""


@pytest.mark.needs("wandb")
@pytest.mark.filterwarnings("default")
def test_wandb_writes_curve_trials_pick_picture_and_settings_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    result = swept(sinks=["wandb"], out=tmp_path / "run")
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    kept = list(records(log.read_bytes()))
    (run,) = [one.run for one in kept if one.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("lrfinder", "run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["optimizer"], config["steps"]) == ("SGD", 40)
    rows = [
        {item.nested_key[-1] if item.nested_key else item.key: json.loads(item.value_json) for item in one.history.item}
        for one in kept
        if one.WhichOneof("record_type") == "history"
    ]

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows if name in row]

    assert column("sweep/loss") == pytest.approx([loss for trace in result.traces for loss in trace.losses])
    assert column("sweep/lr") == pytest.approx([lr for trace in result.traces for lr in trace.lrs])
    assert column("sweep/step") == list(range(len(column("sweep/loss"))))
    assert column("trials/loss") == pytest.approx([run.loss for run in result.runs if run.loss is not None])
    said = {item.key: json.loads(item.value_json) for one in kept for item in one.summary.update}
    if "pick/lr" in said:
        assert f"Suggested peak learning rate: {said['pick/lr']:.3g} " in said["pick"]
    else:
        assert said["pick"].startswith("No learning rate can be suggested")
    (picture,) = log.parent.glob("files/media/images/curve_*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_sweep_is_the_same_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    watched, plain = swept(sinks=["tensorboard"]), swept()
    assert (watched.losses, [run.loss for run in watched.runs]) == (plain.losses, [run.loss for run in plain.runs])
    (place,) = (tmp_path / "lrfinder-tensorboard").iterdir()
    events = read(place)
    assert len(values(events, "sweep/loss")) == sum(len(trace.lrs) for trace in watched.traces)
    (text,) = events.Tensors("pick/text_summary")
    assert "Run:" not in text.tensor_proto.string_val[0].decode()  # it has no folder


def test_a_missing_package_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks_module, "find_spec", lambda name: None)
    with pytest.raises(lrfinder.UsageError, match="the sink tensorboard needs the package tensorboard") as caught:
        swept(sinks=["tensorboard"])
    assert caught.value.hint == "pip install tensorboard"
    with pytest.raises(lrfinder.UsageError, match="unknown sink 'tensorbord'") as caught:
        swept(sinks=["tensorbord"])
    assert caught.value.hint.startswith("did you mean tensorboard?")
