"""What the README says holds: its links, its config, its commands, its rules and its make targets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment
from lrfinder.config import parse_schedule
from lrfinder.rules import RULE_NAMES
from lrfinder.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_configs_that_are_shown_are_valid(text: str) -> None:
    whole = text if "version:" in text else f"version: 1\noptimizer: {{name: SGD, lr: 0.1}}\n{text}"
    config = parse_schedule(whole, suffix=".yaml", where="README.md")
    assert config.lrs()[config.schedule.warmup - 1] == config.optimizer.lr


def test_every_rule_and_every_shape_is_named() -> None:
    for name in (*RULE_NAMES, *SCHEDULES):
        assert f"`{name}`" in README


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = "\n".join([*blocks("console"), *re.findall(r"`make [a-z-]+`", README)])
    targets = set(re.findall(r"^(?:\$ |`)make ([a-z-]+)", shown, flags=re.MULTILINE))
    assert {"demo", "test", "check", "smoke"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize(
    "line", re.findall(r"^\$ lrfinder (.*?)(?:  .*)?$", "\n".join(blocks("console")), flags=re.MULTILINE)
)
def test_the_options_that_are_shown_exist(line: str) -> None:
    words = line.split()
    command = words[:2] if words[0] == "schedule" else words[:1]
    done = subprocess.run(
        [sys.executable, "-m", "lrfinder", *command, "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    for option in re.findall(r"--[a-z-]+", line):
        assert option in done.stdout
