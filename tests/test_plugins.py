"""A distribution with a schedule, a rule and an exporter of its own, installed by pip, and used by commands."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.zygote import Zygote

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "half-line"
version = "1.0"
[project.entry-points."lrfinder.schedules"]
half-line = "half_line:HalfLine"
[project.entry-points."lrfinder.rules"]
tenth = "half_line:tenth"
[project.entry-points."lrfinder.exporters"]
shout = "half_line:SHOUT"
[project.entry-points."lrfinder.hosts"]
ramp = "half_line:ramp"
[project.entry-points."lrfinder.sinks"]
lines = "half_line:Lines"
fails = "half_line:Fails"
[tool.setuptools]
py-modules = ["half_line"]
"""
MODULE = '''
import math
import os
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.engine.observer import Observer
from lrfinder.export.base import Export, Exporter
from lrfinder.records import Pick, Status
from lrfinder.schedules import Schedule


def decay(u: int, length: int, *, held: float) -> float:
    """Return 1 for the share `held` of the decay, then a quarter of a cosine wave to 0."""
    x = u / length if length else 0.0
    return 1.0 if x <= held else math.cos(math.pi / 2 * (x - held) / (1 - held))


class HalfLine(Schedule):
    """Held, then a quarter of a cosine wave."""

    advice: ClassVar[str] = "tests"
    formula = staticmethod(decay)
    name: Literal["half-line"] = "half-line"
    held: float = Field(default=0.5, ge=0, lt=1)


def tenth(curve):
    return Pick(rule="tenth", lr=0.0123, low=0.01, high=0.02, status=Status.UNCERTAIN, why="a plug-in says so")


SHOUT = Exporter(title="capitals", export=lambda config: Export(text=config.schedule.name.upper(), preset=None))


def ramp(argument):
    """A line of `argument` weights to fit."""
    import torch

    width = int(argument)
    x = torch.randn(256, width, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    return {
        "model": lambda: torch.nn.Linear(width, 1),
        "train_loader": lambda: torch.utils.data.DataLoader(data, 32),
        "loss_fn": torch.nn.MSELoss(),
    }


class Lines(Observer):
    """A file with a line an event."""

    def __init__(self, settings):
        self.file = open(os.environ["LINES"], "w", buffering=1)
        print("begun", settings.steps, file=self.file)

    def prepared(self, setup):
        print("prepared", file=self.file)

    def measured(self, point):
        print("measured", point.lr, point.loss, file=self.file)

    def run_ended(self, run):
        print("run", run.plan.lr, file=self.file)


class Fails(Observer):
    def __init__(self, settings):
        self.left = 3

    def measured(self, point):
        self.left -= 1
        if self.left == 0:
            raise OSError("the line is dead")
'''
BROKEN_PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "unlucky"
version = "1.0"
[project.entry-points."lrfinder.schedules"]
linear = "unlucky:math"
broken = "unlucky_missing:Shape"
wrong = "unlucky:math"
[tool.setuptools]
py-modules = ["unlucky"]
"""
CONFIG = """\
version: 1
optimizer: {name: AdamW, lr: 0.1}
schedule: {name: half-line, warmup: 4, steps: 40, held: %s}
"""


def rate(t: int) -> float:
    x = (t - 4) / 36
    return 0.1 * ((t + 1) / 4 if t < 4 else 1.0 if x <= 0.25 else math.cos(math.pi / 2 * (x - 0.25) / 0.75))


RATES = [rate(t) for t in range(40)]


def installed(tmp_path: Path, name: str, pyproject: str, module: str) -> Path:
    project, target = tmp_path / f"{name}-project", tmp_path / "site"
    project.mkdir()
    (project / "pyproject.toml").write_text(pyproject)
    (project / f"{name}.py").write_text(module)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", target, project], check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("plugin"), "half_line", PYPROJECT, MODULE)


def fresh(site: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `lrfinder ARGUMENTS` with the distributions of `site`, in a Python where no warning is an error."""
    return subprocess.run(
        [sys.executable, "-m", "lrfinder", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), "PYTHONPATH": os.fspath(site), **variables},
    )


@pytest.fixture
def run(zygote: Zygote, tmp_path: Path) -> Run:
    """Run `lrfinder ARGUMENTS` with the distributions of `site`."""

    def command(site: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        found = {"PYTHONPATH": os.fspath(site), **variables}
        status, child = zygote.run(*arguments, cwd=tmp_path, env=found, timeout=120)
        return subprocess.CompletedProcess(arguments, status, child.stdout, child.stderr)

    return command


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "schedule.yaml"
    path.write_text(CONFIG % 0.25)
    return path


def test_its_schedule_is_listed_and_shown(run: Run, site: Path, config: Path) -> None:
    listed = run(site, "schedule", "list", "--quiet")
    assert listed.stdout.split()[-1] == "half-line"
    assert listed.stderr == ""
    shown = run(site, "schedule", "show", config, "--json")
    assert json.loads(shown.stdout)["lrs"] == pytest.approx(RATES, rel=1e-15)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # keras with numpy 2
@pytest.mark.parametrize("target", ["torch", "keras", "optax"])
def test_its_schedule_is_exported(run: Run, site: Path, config: Path, target: str) -> None:
    text = run(site, "schedule", "export", config, "--to", target).stdout
    assert "half_line" not in text  # the file stands alone
    assert "lrfinder." not in text
    sys.path.insert(0, str(Path(__file__).parent / "export"))
    try:
        import frameworks
    finally:
        sys.path.pop(0)
    lead = [rates[0] for rates in getattr(frameworks, f"run_{target}")(text, 40)]
    assert lead == pytest.approx(RATES, rel=1e-12 if target == "torch" else 2e-6, abs=1e-7 if target != "torch" else 0)


def test_its_schedule_is_refused_with_line_and_column(run: Run, site: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(CONFIG % 1.5)
    refused = run(site, "schedule", "show", path)
    assert refused.returncode == 2
    column = (CONFIG % 1.5).splitlines()[2].index("1.5") + 1
    assert f"3:{column}: schedule.held: expected a number below 1, got 1.5" in refused.stderr
    path.write_text((CONFIG % 0.5).replace("half-line", "half-lime"))
    assert "did you mean half-line?" in run(site, "schedule", "show", path).stderr
    path.write_text((CONFIG % 0.5).replace("held", "hold"))
    assert "unknown key (did you mean held?)" in run(site, "schedule", "show", path).stderr


def test_its_exporter_is_a_target(run: Run, site: Path, config: Path) -> None:
    assert run(site, "schedule", "export", config, "--to", "shout").stdout.strip() == "HALF-LINE"
    assert "shout        capitals" in run(site, "schedule", "export", "--list").stdout
    config.write_text((CONFIG % 0.25).replace("lr: 0.1", "lr: 0.1, groups: [1.0, 0.1]"))
    refused = run(site, "schedule", "export", config, "--to", "shout")  # which says nothing of param groups
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "the ratios [1.0, 0.1], which shout can't say" in refused.stderr


def test_its_rule_picks(run: Run, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    model = tmp_path / "model.py"
    assert run(site, "init", model).returncode == 0
    assert run(site, "sweep", model, "--out", folder, "--steps", 40, "--repeats", 1, "--quiet").returncode == 0
    picks = json.loads(run(site, "recommend", folder, "--steps", 100, "--json").stdout)["picks"]
    assert [pick["lr"] for pick in picks if pick["rule"] == "tenth"] == [0.0123]
    assert json.loads(run(site, "recommend", folder, "--steps", 100, "--rule", "tenth", "--json").stdout)["config"][
        "optimizer"
    ]["lr"] == pytest.approx(0.0123)


def test_its_host_gives_the_model_to_sweep_verify_and_check(run: Run, site: Path, tmp_path: Path) -> None:
    folder, config = tmp_path / "run", tmp_path / "schedule.yaml"
    swept = run(site, "sweep", "ramp://7", "--out", folder, "--steps", 40, "--repeats", 1, "--quiet", "--json")
    assert swept.returncode == 0, swept.stderr
    document = json.loads((folder / "run.json").read_text())
    assert document["source"]["reference"] == "ramp://7"
    assert document["setup"]["parameters"] == 8
    assert run(site, "recommend", folder, "--steps", 60, "--write", config).returncode == 0
    verified = run(site, "verify", folder, "--budget", 400, "--jobs", 2, "--json", "--quiet")
    assert verified.returncode in {0, 1}, verified.stderr
    assert json.loads(verified.stdout)["trials"]
    checked = run(site, "check", "ramp://7", "--config", config, "--json")
    assert checked.returncode == 0, checked.stderr
    missing = run(site, "check", "rump://7", "--config", config)
    assert missing.returncode == 2
    assert "no host named 'rump' is installed" in missing.stderr
    assert "ramp://..." in missing.stderr


def test_its_sink_hears_every_event_and_one_that_fails_is_left_out(site: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    options = ("--steps", 40, "--repeats", 1, "--quiet", "--sink", "fails", "--sink", "lines")
    swept = fresh(site, "sweep", "ramp://7", "--out", tmp_path / "run", *options, LINES=os.fspath(lines))
    assert swept.returncode == 0, swept.stderr
    assert swept.stderr.splitlines() == [
        "lrfinder: warning: half-line: its sink fails is left out from here on: OSError: the line is dead"
    ]
    begun, prepared, *events = lines.read_text().splitlines()
    assert (begun, prepared) == ("begun 40", "prepared")
    curve = (tmp_path / "run" / "curve.csv").read_text().splitlines()[1:]
    assert [event.split()[1:] for event in events if event.startswith("measured")] == [
        line.split(",")[2:] for line in curve
    ]
    made = (tmp_path / "run" / "runs.jsonl").read_text().splitlines()
    assert [float(event.split()[1]) for event in events if event.startswith("run")] == [
        json.loads(line)["plan"]["lr"] for line in made
    ]
    assert made
    unknown = fresh(site, "sweep", "ramp://7", "--out", tmp_path / "other", "--sink", "lanes")
    assert unknown.returncode == 2
    assert "unknown sink 'lanes'" in unknown.stderr
    assert not (tmp_path / "other").exists()


def test_what_is_broken_or_takes_over_is_one_warning_each(tmp_path: Path) -> None:
    site = installed(tmp_path, "unlucky", BROKEN_PYPROJECT, "import math\n")
    listed = fresh(site, "schedule", "list", "--quiet")
    assert listed.returncode == 0
    assert "half-line" not in listed.stdout
    warnings = listed.stderr.strip().splitlines()
    assert len(warnings) == 3
    assert all(line.startswith("lrfinder: warning: unlucky: its plug-in ") for line in warnings)
    assert "takes the name 'linear', which is lrfinder's own" in listed.stderr
    assert "unlucky_missing:Shape can't be loaded: ModuleNotFoundError" in listed.stderr
    assert "isn't a class of lrfinder.schedules.Schedule" in listed.stderr
    path = tmp_path / "schedule.yaml"
    path.write_text("version: 1\noptimizer: {name: AdamW, lr: 0.1}\nschedule: {name: linear, steps: 2}\n")
    shown = fresh(site, "schedule", "show", path, "--json")
    assert (json.loads(shown.stdout)["lrs"], shown.stderr) == ([0.1, 0.05], "")  # nobody asked the plug-ins
