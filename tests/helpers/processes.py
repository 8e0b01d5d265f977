"""Running lrfinder as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


def environment() -> dict[str, str]:
    """Return the environment with one thread, and without what decides about colors."""
    drop = {"FORCE_COLOR", "NO_COLOR", "COLUMNS", "PYTHONWARNINGS"}
    return {**{key: value for key, value in os.environ.items() if key not in drop}, "OMP_NUM_THREADS": "1"}


def seen_by_two_ranks(script: Path, temporary: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Run `script FOLDER` under torchrun in two processes; return the folder, and what each wrote to rank_R.json there.

    Of several processes that test at once the first one runs it.
    """
    base = temporary.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / script.stem
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            _run_two_ranks(script, folder)
        return folder, [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(2)]


def _run_two_ranks(script: Path, folder: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    torchrun += ["--log-dir", str(folder / "logs")]  # else it leaves a folder among the temporary ones
    done = subprocess.run([*torchrun, script, folder], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
