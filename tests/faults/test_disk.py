"""A disk that fails at one of the calls that write a run folder, in a real process: status, message, what is left."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from helpers.run_folders import MODEL, SWEEP, contents, intact
from helpers.zygote import Zygote

EVERY = bool(os.environ.get("LRFINDER_EVERY_FAULT"))
MODES = ("continuous", "restart", "auto") if EVERY else ("auto",)


@pytest.fixture(scope="module")
def calls(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, bytes]]]:
    """How many calls write a run folder in each mode, and what an undisturbed run holds."""
    counted = {}
    for mode in MODES:
        folder = tmp_path_factory.mktemp(mode)
        (folder / "model.py").write_text(MODEL)
        status, child = zygote.run(*SWEEP, "--mode", mode, "--out", "run", cwd=folder, fault=f"count:0:{folder}/run")
        assert status in {0, 5}, child.stderr
        counted[mode] = (int((folder / "calls").read_text()), contents(folder / "run"))
    return counted


def moments(kind: str, mode: str, count: int) -> list[int]:
    """A few calls for each kind of fault and mode; with `make every-fault` every one, which takes half an hour."""
    every = list(range(1, count + 1))
    return every if EVERY else random.Random(kind + mode).sample(every, 1)  # noqa: S311


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["ENOSPC", "EIO", "full", "short", "KILL"])
def test_whatever_call_fails_the_run_is_readable_and_carries_on(
    zygote: Zygote, folder: Path, calls, kind: str, mode: str
) -> None:
    count, whole = calls[mode]
    run = folder / "run"
    for at in moments(kind, mode, count):
        status, child = zygote.run(*SWEEP, "--mode", mode, "--out", "run", cwd=folder, fault=f"{kind}:{at}:{run}")
        if kind == "KILL":
            assert status == -9
        else:
            assert status == 4, (at, child.stderr)
            told = "Input/output error" if kind == "EIO" else "No space left on device"
            assert f"run{'' if at == 1 else '/'}" in child.stderr
            assert told in child.stderr
            assert "Traceback" not in child.stderr
        if intact(run, killed=kind == "KILL") is not None:
            status, child = zygote.run("sweep", "--resume", "run", "--quiet", cwd=folder)
            assert status in {0, 5}, (at, child.stderr)
            assert contents(run) == whole, at
            intact(run)
        shutil.rmtree(run, ignore_errors=True)
