"""The starters of scripts that `lrfinder init --from` writes: each runs as it is, finds a rate, and trains with it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

import lrfinder
from lrfinder.task.starter import MODEL, STARTERS, starter_text


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.parametrize("name", [name for name in STARTERS if name != MODEL])
def test_it_runs_finds_a_rate_and_learns(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(starter_text(name), encoding="utf-8")
    torch.manual_seed(0)
    names = runpy.run_path(str(script))
    said = capsys.readouterr().out
    advice = names["finder"].advice if name == "lightning" else names["advice"]
    assert str(advice) in said
    assert advice.lr is not None
    (loss,) = re.findall(r"^validation loss: (.*)$", said, flags=re.MULTILINE)
    assert float(loss) < 0.45  # two classes: log(2) = 0.69
    assert {path.name for path in tmp_path.iterdir()} <= {"train.py", "trained"}


def test_another_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(lrfinder.UsageError, match="unknown starter 'trainr'") as caught:
        starter_text("trainr")
    assert caught.value.hint == "did you mean trainer? choose one of: model, loop, trainer, lightning, peft"
