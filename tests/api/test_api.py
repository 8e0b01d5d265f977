"""The Python interface: what it returns, what it raises, and that it touches nothing it wasn't asked to."""

from __future__ import annotations

import copy
import importlib
import io
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from helpers.models import GOOD_WITH_VAL
from helpers.zygote import Zygote
from lrfinder.records import Precision, Stop, UpdateOptions
from lrfinder.store import load_source


def data() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(640, 8, generator=generator)
    return TensorDataset(x, (x @ torch.randn(8, 3, generator=generator)).argmax(1))


def loader() -> DataLoader:
    return DataLoader(data(), batch_size=32, shuffle=True)


def sgd(params: object, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=lr, momentum=0.9)  # type: ignore[arg-type]


def make_net() -> nn.Module:
    return nn.Linear(8, 3)


QUICK = {"steps": 60, "repeats": 2, "device": "cpu"}


def sweep(**keywords: object) -> lrfinder.Sweep:
    given = {"model": make_net, "train_loader": loader, "loss_fn": nn.CrossEntropyLoss(), "optimizer": sgd, **QUICK}
    return lrfinder.sweep(**{**given, **keywords})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def result() -> lrfinder.Sweep:
    return sweep()


def test_the_example_of_the_contract(tmp_path: Path) -> None:
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    result = lrfinder.sweep(
        model=net, train_loader=loader(), loss_fn=nn.CrossEntropyLoss(), optimizer=optimizer, steps=100, device="cpu"
    )
    advice = lrfinder.recommend(result, steps=10_000)
    assert advice.lr
    assert advice.picks
    advice.save(tmp_path / "schedule.yaml")
    scheduler = lrfinder.load_schedule(tmp_path / "schedule.yaml").scheduler(optimizer)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    assert optimizer.param_groups[0]["lr"] == advice.schedule.rate(0)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[0][key])
    assert optimizer.state_dict()["state"] == before[1]["state"]


def test_nothing_is_printed_or_written_unless_asked(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep(steps=20, repeats=1)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_progress_and_a_run_folder_where_asked(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = sweep(out=tmp_path / "run", progress=True)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "repeat 2 of 2" in printed.err
    assert result.run == str(tmp_path / "run")
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"run.json", "curve.csv", "runs.jsonl", "curve.png", "cost.json"}
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert cost["updates"] == result.updates == result.cost.updates
    assert 0 < cost["seconds"] == result.cost.seconds < 60
    assert cost["memory"] > 50e6, "torch alone takes more"
    again = lrfinder.recommend(tmp_path / "run", steps=100)
    assert again.picks == lrfinder.recommend(result, steps=100).picks


def test_the_result_as_frame_picture_and_html(result: lrfinder.Sweep, tmp_path: Path) -> None:
    frame = result.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["repeat", "step", "lr", "loss"]
    assert len(frame) == sum(map(len, result.losses))
    assert tuple(frame.loc[frame["repeat"] == 1, "lr"]) == result.lrs[1]
    figure = result.plot()
    assert figure.axes
    assert "<svg" in result._repr_html_()
    advice = lrfinder.recommend(result, steps=10)
    assert "<svg" in advice._repr_html_()
    for shown in (result, advice):
        assert len(repr(shown)) < 120
        assert "\n" not in repr(shown)
        assert len(str(shown)) < 1500
    assert f"lr {advice.lr:.3g}" in repr(advice)
    for number, one in enumerate((result, advice)):
        one.plot(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_results_draw_into_axes_of_the_callers_and_change_no_others(result: lrfinder.Sweep, tmp_path: Path) -> None:
    advice = lrfinder.recommend(result, steps=100)
    assert advice.schedule is not None
    figure = Figure()
    left, middle, right = figure.subplots(1, 3)
    assert result.plot(ax=left) is figure
    assert advice.schedule.plot(tmp_path / "three.png", ax=right) is figure
    assert (tmp_path / "three.png").read_bytes().startswith(b"\x89PNG")
    assert (len(figure.axes), middle.has_data()) == (3, False)
    assert left.get_xscale() == "log"
    drawn = {line.get_gid(): line for line in left.lines}
    assert drawn["pick"].get_xdata()[0] == pytest.approx(advice.lr, rel=0.005)  # of three digits
    updates, rates = right.lines[0].get_data()
    assert list(updates) == list(range(100))
    assert list(rates) == list(advice.schedule.lrs())
    alone = advice.schedule.plot(tmp_path / "alone.png")
    assert alone is not figure
    assert (tmp_path / "alone.png").exists()


def test_all_results_are_a_line_as_repr_and_a_paragraph_as_str(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "net_of_mine.py"
    model.write_text(GOOD_WITH_VAL)
    monkeypatch.syspath_prepend(tmp_path)
    own, path = importlib.import_module("net_of_mine"), list(sys.path)
    results = [
        lrfinder.find(model, steps=400, budget=0, out=tmp_path / "one", device="cpu"),
        lrfinder.verify(tmp_path / "one", steps=400, budget=200),
        lrfinder.check(model, tmp_path / "one" / "schedule.yaml", device="cpu"),
        lrfinder.compare([tmp_path / "one", tmp_path / "one"]),
        lrfinder.dry_run(model, device="cpu"),
    ]
    assert (sys.modules["net_of_mine"], sys.path) == (own, path), "what the program has imported stays its own"
    for shown, name in zip(results, ("Found", "Verification", "CheckResult", "Comparison", "DryRun"), strict=True):
        assert repr(shown).startswith(f"{name}(")
        assert len(repr(shown)) < 120
        assert "\n" not in repr(shown) + str(shown)
        assert len(str(shown)) < 1500
    schedule = results[0].schedule
    assert str(schedule) == (
        f"Schedule linear over 400 updates, the first {schedule.schedule.warmup} of them warm-up, at the peak rate "
        f"{schedule.optimizer.lr:.3g} for SGD."
    )


def test_rates_are_exactly_the_sweeps(result: lrfinder.Sweep) -> None:
    expected = np.geomspace(1e-6, 100.0, 60)
    assert result.lrs[0] == pytest.approx(expected[: len(result.lrs[0])], rel=1e-12)


def test_callables_are_made_anew_for_each_repeat() -> None:
    made: list[nn.Module] = []

    def model() -> nn.Module:
        made.append(make_net())
        return made[-1]

    result = sweep(model=model, steps=10, repeats=3, mode="continuous")
    assert len(made) == 3
    assert len({trace.initial_loss for trace in result.traces}) == 3


def test_a_model_file_and_its_keywords(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\nfrom torch import nn\n"
        "def model():\n    return nn.Linear(2, 1)\n"
        "def train_loader():\n    return [(torch.ones(4, 2), torch.ones(4, 1))]\n"
    )
    result = lrfinder.sweep(path, steps=20, repeats=1, device="cpu", optimizer="SGD", momentum=0.5)
    assert result.setup.model == "net"
    assert result.setup.optimizer.name == "SGD"
    assert result.setup.optimizer.settings["momentum"] == 0.5
    with pytest.raises(lrfinder.UsageError, match="loss_fn can't be given beside a model file"):
        lrfinder.sweep(path, loss_fn=nn.MSELoss())


def test_how_updates_are_made_is_passed_on_and_kept(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizers = {"body": sgd(net[0].parameters(), 0.1), "head": sgd(net[2].parameters(), 0.2)}
    result = sweep(
        model=net, optimizer=None, optimizers=optimizers, swept_optimizer="head", scale_others=True, precision="bf16",
        accumulate=2, clip_norm=1.0, mode="continuous", out=tmp_path / "run",
    )  # fmt: skip
    assert result.setup.optimizer.group_ratios == (1.0, 0.5)
    assert result.setup.batch_size == 64
    assert load_source(tmp_path / "run").training == UpdateOptions(
        precision=Precision.BF16, accumulate=2, clip_norm=1.0, swept_optimizer="head", scale_others=True
    )


def test_the_old_name_of_swept_optimizer_is_one_warning() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizers = {"body": sgd(net[0].parameters(), 0.1), "head": sgd(net[2].parameters(), 0.2)}
    given = {"model": net, "optimizer": None, "optimizers": optimizers, "mode": "continuous", "sweep": "head"}
    with pytest.warns(DeprecationWarning, match="the keyword sweep is called swept_optimizer now") as warned:
        old = sweep(**given)
    assert [Path(it.filename).name for it in warned] == ["test_api.py"]
    assert [trace.losses for trace in old.traces] == [
        trace.losses for trace in sweep(**{**given, "sweep": None, "swept_optimizer": "head"}).traces
    ]
    with pytest.raises(lrfinder.UsageError, match="the old name of swept_optimizer, and both were given"):
        sweep(**given, swept_optimizer="body")


def test_a_useless_curve_is_a_value() -> None:
    result = sweep(loss_fn=lambda output, target: output.sum() * float("nan"))
    assert result.status is Stop.NON_FINITE
    advice = lrfinder.recommend(result, steps=100)
    assert advice.lr is None
    assert advice.status == "refused"
    assert "not finite" in advice.why
    assert "<svg" in result._repr_html_()
    assert result.plot()
    with pytest.raises(lrfinder.UsageError, match="no schedule to save"):
        advice.save("nowhere.yaml")


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"steps": 1}, lrfinder.UsageError, "steps must be at least 2"),
        ({"spacing": "cubic"}, lrfinder.UsageError, "spacing must be one of exp, linear, got 'cubic'"),
        ({"mode": "restarts"}, lrfinder.UsageError, "mode must be one of continuous"),
        ({"min_lr": 1.0, "max_lr": 0.5}, lrfinder.UsageError, "max_lr must be"),
        ({"device": "warp"}, lrfinder.UsageError, "warp"),
        ({"optimizer": "SGDD"}, lrfinder.UsageError, "SGD"),
        ({"momentum": 0.9}, lrfinder.UsageError, "momentum"),
        ({"precision": "fp8"}, lrfinder.UsageError, "precision must be one of auto, fp32, bf16, fp16, got 'fp8'"),
        ({"accumulate": 0}, lrfinder.UsageError, "accumulate must be at least 1, got 0"),
        ({"clip_norm": -1.0}, lrfinder.UsageError, "clip_norm must be a finite number above 0"),
        (
            {"swept_optimizer": "head"},
            lrfinder.UsageError,
            "no `optimizers` by name, and swept_optimizer 'head' was asked for",
        ),
        ({"optimizers": {}, "optimizer": None}, lrfinder.ModelFileError, "optimizers is a dict"),
        ({"batch_size": 8}, lrfinder.UsageError, "batch size 8"),
        ({"model": "net.py"}, lrfinder.UsageError, "train_loader can't be given beside a model file"),
        ({"model": 3}, lrfinder.ModelFileError, "model"),
        ({"train_loader": None}, lrfinder.ModelFileError, "train_loader"),
    ],
)
def test_a_mistake_in_the_call_is_a_typed_error(keywords: dict[str, object], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        sweep(**keywords)
    assert isinstance(caught.value, lrfinder.LrfinderError)


RUN = Path(__file__).parents[1] / "data" / "run-v10-tiny"


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda net, _: lrfinder.find(net, epochs=10), "model file is needed here, got .* Linear", "lrfinder.sweep"),
        (lambda net, _: lrfinder.check(net, "s.yaml"), "model file is needed here, got .* Linear", "lrfinder.sweep"),
        (lambda net, _: lrfinder.dry_run(net), "model file is needed here, got .* Linear", "lrfinder.sweep"),
        (lambda net, _: lrfinder.dry_run("m.py", out="q"), "unknown keyword of a dry run, 'out'", "accumulate"),
        (lambda _, swept: lrfinder.verify(swept, steps=10), "run folder is needed here, got .* Sweep", "out=FOLDER"),
        (lambda _, swept: lrfinder.resume(swept), "run folder is needed here, got .* Sweep", "out=FOLDER"),
        (lambda _, swept: lrfinder.write_report(swept), "run folder is needed here, got .* Sweep", "out=FOLDER"),
        (lambda _, swept: lrfinder.compare([swept, swept]), "run folder is needed here, got .* Sweep", "out=FOLDER"),
        (lambda _, swept: lrfinder.check("m.py", "s", baseline=swept), "run folder is needed here", "out=FOLDER"),
        (lambda net, _: lrfinder.recommend(net, steps=10), "run folder is needed here, got .* Linear", "name the"),
        (lambda net, _: lrfinder.export_study(net), "run folder is needed here, got .* Linear", "name the"),
        (lambda *_: lrfinder.write_report(lrfinder.recommend(RUN).result), "run folder is needed here", "run-v10-tiny"),
        (lambda *_: lrfinder.verify(RUN, steps=10, schedules="cosin"), "unknown schedule 'cosin'", "cosine"),
        (lambda *_: sweep(sinks="mlfloww"), "unknown sink 'mlfloww'", "mlflow"),
        (
            lambda *_: lrfinder.sweep_script("t.py", "--epochs 3"),
            "arguments is a list, and one text",
            "'--epochs', '3'",
        ),
    ],
)
def test_an_object_of_another_kind_is_told_with_the_way_on(
    result: lrfinder.Sweep, call: Callable[[nn.Module, lrfinder.Sweep], object], message: str, hint: str
) -> None:
    with pytest.raises(lrfinder.UsageError, match=message) as caught:
        call(make_net(), result)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "given",
    [{"steps": 1e4}, {"steps": np.int64(10_000)}, {"steps": 10_000, "warmup": 1000.0}, {"steps": 1e4, "seed": 0.0}],
)
def test_whole_numbers_of_any_kind_are_taken(given: dict[str, Any]) -> None:
    usual, made = lrfinder.recommend(RUN, steps=10_000), lrfinder.recommend(RUN, **given)
    assert made.schedule == usual.schedule
    assert type(made.schedule.steps) is int


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "10k"}, "steps must be a whole number, got '10k'"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"steps": math.nan}, "steps must be a whole number, got nan"),
        ({"epochs": "3"}, "epochs must be a number, got '3'"),
        ({"steps": 100, "warmup": 1.5}, "warmup must be a whole number, got 1.5"),
        ({"steps": 100, "seed": -1}, "seed must be .* 0.*, got -1"),
    ],
)
@pytest.mark.parametrize("job", [lrfinder.recommend, lrfinder.verify, lrfinder.find])
def test_others_are_a_typed_error_before_anything_is_measured(
    tmp_path: Path, job: Callable[..., object], given: dict[str, Any], message: str
) -> None:
    target = tmp_path / "model.py" if job is lrfinder.find else RUN
    with pytest.raises(lrfinder.UsageError, match=message):
        job(target, **given)


def test_one_rate_to_compare_with_needs_no_list(result: lrfinder.Sweep) -> None:
    one = lrfinder.recommend(result, steps=100, against=0.01)
    assert one.against == lrfinder.recommend(result, steps=100, against=[0.01]).against
    assert 0.01 in {each.lr for each in one.against}


def test_an_exception_from_user_code_passes_through_unchanged() -> None:
    class MyError(Exception):
        pass

    raised = MyError("mine")

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        raise raised

    with pytest.raises(MyError) as caught:
        sweep(loss_fn=loss)
    assert caught.value is raised


def test_what_is_exported_exists_and_loads_late() -> None:
    for name in lrfinder.__all__:
        assert getattr(lrfinder, name)
    with pytest.raises(AttributeError, match="no attribute 'sweeep'"):
        lrfinder.sweeep  # noqa: B018
    assert re.fullmatch(r"\d+\.\d+\.\d+", lrfinder.__version__)
    assert set(lrfinder.__all__) <= set(dir(lrfinder))


def test_a_config_is_checked_from_python_as_from_the_command_line(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL)
    verdicts = {}
    for lr in (0.1, 1e-6):
        config = tmp_path / f"{lr}.json"
        schedule = {"name": "linear", "steps": 100, "warmup": 10, "final": 0.0}
        text = {"version": 1, "optimizer": {"name": "SGD", "lr": lr}, "schedule": schedule}
        config.write_text(json.dumps(text))
        verdicts[lr] = lrfinder.check(tmp_path / "model.py", config)
    assert isinstance(verdicts[0.1], lrfinder.CheckResult)
    assert (verdicts[0.1].sane, verdicts[1e-6].sane) == (True, False)
    assert "is below the trainable band" in verdicts[1e-6].why
    assert verdicts[1e-6].band.low > 1e-6
    words = ["check", "model.py", "--config", str(tmp_path / "1e-06.json"), "--json"]
    status, done = zygote.run(*words, cwd=tmp_path)
    assert status == 1
    said = json.loads(done.stdout)
    assert (said["lr"], said["suggested"], said["why"]) == (1e-6, verdicts[1e-6].suggested, verdicts[1e-6].why)


def test_how_numpy_treats_odd_numbers_is_the_users_and_changes_no_answer(result: lrfinder.Sweep) -> None:
    usual = lrfinder.recommend(result, steps=400)
    with np.errstate(all="raise"):
        asked = np.geterr()
        again = lrfinder.recommend(sweep(), steps=400)
        assert again.lr is not None
        strict = lrfinder.recommend(result, steps=400)
        result.plot(io.BytesIO())
        assert np.geterr() == asked
    assert (strict.lr, strict.why) == (usual.lr, usual.why)


def test_the_unit_of_the_loss_changes_nothing_however_small_it_is() -> None:
    """With SGD a loss c times as large is the same training at a rate 1/c times as large; c is a power of two."""
    unit = 2.0**-60
    tuned = []
    for scale in (1.0, unit):

        def loss(output: torch.Tensor, target: torch.Tensor, scale: float = scale) -> torch.Tensor:
            return scale * nn.functional.cross_entropy(output, target, reduction="sum") / 32

        made = sweep(loss_fn=loss, min_lr=1e-4 / scale, max_lr=1e2 / scale)
        tuned.append(lrfinder.recommend(made, steps=400))
    assert tuned[0].lr is not None
    assert tuned[1].status == tuned[0].status
    assert tuned[1].lr == pytest.approx(tuned[0].lr / unit, rel=0.02)  # rounded to three digits
