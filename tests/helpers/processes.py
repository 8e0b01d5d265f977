"""Running lrfinder as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def environment() -> dict[str, str]:
    """Return the environment with one thread, and without what decides about colors."""
    drop = {"FORCE_COLOR", "NO_COLOR", "COLUMNS", "PYTHONWARNINGS"}
    return {**{key: value for key, value in os.environ.items() if key not in drop}, "OMP_NUM_THREADS": "1"}


def seen_by_two_ranks(script: Path, folder: Path) -> list[Any]:
    """Run `script FOLDER` under torchrun in two processes; return what each wrote to rank_R.json there."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, script, folder], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(2)]
