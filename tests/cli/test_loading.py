"""Torch is loaded whole before a signal acts: out of a handler nothing is raised under compiled code."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

import pytest

from lrfinder.cli.process import torch_import
from lrfinder.engine.runtime.signals import Terminated, signals_as_exceptions


@pytest.mark.parametrize(("sent", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_waits_for_the_module_that_is_loaded_and_for_no_other(
    monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, kind: type[BaseException]
) -> None:
    loaded: list[str] = []

    def load(name: str) -> None:
        signal.raise_signal(sent)
        signal.raise_signal(sent)  # whoever is impatient
        loaded.append(name)

    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(kind), signals_as_exceptions():
        torch_import.load_torch()
    assert loaded == ["torch"]


def test_it_loads_what_the_first_optimizer_does() -> None:
    code = (
        "import sys; from lrfinder.cli.process.torch_import import load_torch\n"
        "assert 'torch' not in sys.modules; load_torch()\n"
        "before = set(sys.modules); import torch\n"
        "torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)\n"
        "print(len({name for name in set(sys.modules) - before if name.startswith('torch._dynamo')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0
