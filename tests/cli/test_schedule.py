"""`lrfinder schedule show` and `list`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lrfinder.cli.schedule import app
from lrfinder.config import load_schedule
from lrfinder.errors import ConfigError, UsageError
from lrfinder.schedules import SCHEDULES

CONFIGS = Path(__file__).parents[2] / "configs" / "schedules"
LINEAR = """version: 1
optimizer: {name: AdamW, lr: 1e-2}
schedule: {name: linear, warmup: 2, steps: 6}
"""


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    file = tmp_path / "linear [half].yaml"  # brackets are rich's markup: they must come through
    file.write_text(LINEAR)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_json_of_one_config_is_its_rates_and_nothing_else(linear: Path) -> None:
    done = run("show", linear, "--json")
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert list(document) == ["lrs"]
    assert document["lrs"] == pytest.approx([0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025])
    assert tuple(document["lrs"]) == load_schedule(linear).lrs()  # digit for digit


def test_json_of_several_configs_names_them_in_order(linear: Path) -> None:
    other = CONFIGS / "step-half.yaml"
    document = json.loads(run("show", other, linear, other, "--json").stdout)
    assert [entry["path"] for entry in document["configs"]] == [str(other), str(linear), str(other)]
    assert [len(entry["lrs"]) for entry in document["configs"]] == [1200, 6, 1200]


def test_show_draws_and_tabulates(linear: Path) -> None:
    done = run("show", linear)
    assert done.stderr == ""
    assert "┤" in done.stdout
    assert "\x1b" not in done.stdout  # no terminal, no colors
    assert "[half].yaml: AdamW, peak 0.01, linear (final 0.0), warm-up 2 of 6 updates" in done.stdout.replace("\n", " ")
    assert "warm-up ends" in done.stdout
    assert "last update" in done.stdout


def test_quiet_leaves_the_table(linear: Path) -> None:
    done = run("show", linear, "--quiet")
    assert "┤" not in done.stdout
    assert "last update" in done.stdout


def test_a_bad_config_is_the_library_error(tmp_path: Path, linear: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(LINEAR.replace("1e-2", "-1"))
    with pytest.raises(ConfigError, match=r"bad\.yaml:2:30: optimizer\.lr: expected a number above 0, got -1"):
        run("show", linear, bad)


def test_show_without_a_config_is_bad_usage() -> None:
    assert run("show").exit_code == 2


def test_list_has_every_schedule_with_its_advice() -> None:
    done = run("list")
    told = " ".join(done.stdout.split())
    for name, shape in SCHEDULES.items():
        assert name in told
        assert shape.advice.split(",")[0].split(";")[0][:20] in told


def test_list_json_and_quiet() -> None:
    document = json.loads(run("list", "--json").stdout)
    assert [entry["name"] for entry in document["schedules"]] == list(SCHEDULES)
    by_name = {entry["name"]: entry for entry in document["schedules"]}
    assert by_name["linear"]["parameters"] == {"final": 0.0}
    assert by_name["step"]["parameters"] == {"every": None, "factor": None}  # null: must be given
    assert by_name["constant"]["parameters"] == {}
    assert run("list", "--quiet").stdout.split() == list(SCHEDULES)


HEAVY = ("torch", "pandas", "matplotlib", "numpy", "scipy", "lightning")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", str(CONFIGS / "linear.yaml")],
        ["show", str(CONFIGS / "linear.yaml"), str(CONFIGS / "step.toml"), str(CONFIGS / "constant.json"), "--json"],
        ["list"],
        ["show", "--help"],
    ],
    ids=" ".join,
)
def test_no_heavy_library_is_loaded(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from lrfinder.cli.schedule import app\n"
        "try:\n    app(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == "[]\n"


def test_a_terminal_that_knows_only_ascii(linear: Path) -> None:
    script = "import sys; from lrfinder.cli.schedule import app; app(sys.argv[1:])"
    command = [sys.executable, "-X", "utf8=0", "-c", script, "show", str(linear)]
    done = subprocess.run(command, capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.decode("ascii").count("*") > 10


class TestLint:
    def test_its_statuses(self, linear: Path, tmp_path: Path) -> None:
        bad, broken = tmp_path / "bad.yaml", tmp_path / "broken.yaml"
        bad.write_text(LINEAR.replace("1e-2", "3.0"))
        broken.write_text("version: 2")
        well = run("lint", linear, linear)
        assert (well.exit_code, well.stdout) == (0, "2 configs, nothing suspicious.\n")
        found = run("lint", linear, bad)
        assert found.exit_code == 1
        assert (
            found.stdout
            == f"{bad}: optimizer.lr: 3: AdamW moves each weight by about that much in every update; " + ("sweep it\n")
        )
        both = run("lint", bad, broken, "--json")
        document = json.loads(both.stdout)
        assert both.exit_code == 2
        assert [one["where"] for one in document["suspicions"]] == ["optimizer.lr"]
        assert "broken.yaml:1:" in document["invalid"][0]
        with pytest.raises(ConfigError):
            run("lint", broken)

    def test_the_hook_for_pre_commit_runs_it(self) -> None:
        from ruamel.yaml import YAML

        (hook,) = YAML(typ="safe").load(Path(__file__).parents[2] / ".pre-commit-hooks.yaml")
        assert hook["entry"] == "lrfinder schedule lint"
        named = {path for path in CONFIGS.parent.rglob("*") if re.search(hook["files"], str(path))}
        assert named == set(CONFIGS.iterdir())
        assert re.search(hook["files"], "lrfinder-runs/demo/schedule.yaml")


def test_schema_is_printed_or_written(tmp_path: Path) -> None:
    printed = run("schema")
    assert json.loads(printed.stdout)["title"] == "lrfinder schedule config"
    assert run("schema", "--write", tmp_path / "s.json").exit_code == 0
    assert (tmp_path / "s.json").read_text() == printed.stdout


def test_a_picture_of_several(linear: Path, tmp_path: Path) -> None:
    import matplotlib.image

    done = run("show", linear, CONFIGS / "step-half.yaml", "--png", tmp_path / "s.png", "--quiet")
    assert done.stdout.endswith(f"Picture: {tmp_path / 's.png'}\n")
    with pytest.raises(UsageError, match=r"s.svg: expected a name that ends in .png"):
        run("show", linear, "--png", tmp_path / "s.svg")
    assert matplotlib.image.imread(tmp_path / "s.png").shape == (420, 800, 4)
    first = (tmp_path / "s.png").read_bytes()
    run("show", linear, CONFIGS / "step-half.yaml", "--png", tmp_path / "s.png", "--json")
    assert (tmp_path / "s.png").read_bytes() == first
