"""Every bad config gives status 2 and a message that names the place, before torch is needed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bad.configs import GOOD, Bad, configs
from lrfinder.cli import main

BAD = configs()


@pytest.mark.parametrize("bad", BAD, ids=[bad.title for bad in BAD])
def test_it_is_refused_with_its_place(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / bad.file).write_bytes(bad.text if isinstance(bad.text, bytes) else bad.text.encode())
    monkeypatch.setattr(sys, "argv", ["lrfinder", "schedule", "show", bad.file])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2, told
    assert not told.out
    assert "Traceback" not in told.err
    assert bad.file in told.err
    assert re.search(bad.tells, told.err), told.err
    assert "\x1b" not in told.err
    assert len(told.err) < 5000
    assert [path.name for path in tmp_path.iterdir()] == [bad.file]


def test_there_are_many_and_the_good_one_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(BAD) >= 100
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.setattr(sys, "argv", ["lrfinder", "schedule", "show", str(tmp_path / "good.yaml"), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
