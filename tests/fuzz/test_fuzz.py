"""Files from a stranger: whatever their bytes, they are read or refused with an LrfinderError, in little time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lrfinder
from helpers.fuzz_targets import NAMES, RUN, TARGETS, read_run
from lrfinder.errors import RunError
from lrfinder.store import load_run, read_log

SECONDS = 5.0  # for one file; the slowest here takes a tenth of a second
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Return `data` with a few bytes cut out, put in, doubled or changed."""
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 1, 2, 8, 100]))
        new = draw(
            st.sampled_from([b"", b"\0", b"\xff", b"9" * 400, b'"', b"[", b"{" * 50, b"-", b"NaN", b"1e999", b"\n"])
        )
        data = data[:at] + draw(st.sampled_from([new, data[at : at + size] * 2])) + data[at + size :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    read, _ = TARGETS[name]
    timed(st.binary(max_size=400), read)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_files_that_were_changed(name: str) -> None:
    read, good = TARGETS[name]
    assert read(good)
    timed(mutated(good), read)


def timed(data: st.SearchStrategy[bytes], read) -> None:
    @QUICK
    @given(data)
    def holds(data: bytes) -> None:
        began = time.monotonic()
        read(data)
        assert time.monotonic() - began < SECONDS

    holds()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -1, 10**12, 10**400, 2**63, 0, 1e308, -1e308, 1e-320, "", [], [0, 0]])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the path of everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@QUICK
@given(st.data())
def test_a_run_whose_values_are_others(data: st.DataObject) -> None:
    document = json.loads((RUN / "run.json").read_text())
    *parents, last = data.draw(st.sampled_from([place for place in places(document) if place]))
    part = document
    for key in parents:
        part = part[key]
    part[last] = data.draw(JSON)
    began = time.monotonic()
    read_run("run.json", json.dumps(document).encode())
    assert time.monotonic() - began < SECONDS


ESCAPE = "\x1b]0;pwned\x07"


@pytest.mark.parametrize("place", ["setup.model", "setup.optimizer.name", "source.reference", "repeats.0.why"])
def test_what_a_terminal_would_obey_is_refused(tmp_path: Path, place: str) -> None:
    document = part = json.loads((RUN / "run.json").read_text())
    *parents, last = place.split(".")
    for key in parents:
        part = part[int(key) if key.isdecimal() else key]
    part[last] = ESCAPE
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="control character") as caught:
        load_run(tmp_path)
    assert ESCAPE not in str(caught.value)


def test_what_a_terminal_would_obey_is_refused_in_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text((RUN / "runs.jsonl").read_text().replace('"why": ""', '"why": "\\u001b[2J"', 1))
    with pytest.raises(RunError, match="log:1: a control character"):
        read_log(tmp_path / "log")


def test_html_in_names_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    document = json.loads((RUN / "run.json").read_text())
    for key in ("model", "loss", "device", "torch"):
        document["setup"][key] = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    (tmp_path / "run.json").write_text(json.dumps(document))
    for name in NAMES[1:]:
        (tmp_path / name).write_bytes((RUN / name).read_bytes())
    html = lrfinder.recommend(tmp_path)._repr_html_()
    assert "&lt;" in html
    for tag in ("<script", "<img", "<b>"):
        assert tag not in html


def test_a_recommendation_is_not_written_through_a_link(zygote, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes((RUN / name).read_bytes())
    mine = tmp_path.parent / "mine.yaml"
    mine.write_text("mine")
    for name in ("schedule.yaml", "recommendation.json", "curve.png"):
        (tmp_path / name).symlink_to(mine)
    status, child = zygote.run("recommend", str(tmp_path), "--steps", "100", cwd=tmp_path)
    assert status == 2
    assert "schedule.yaml: a symbolic link" in child.stderr
    (tmp_path / "schedule.yaml").unlink()
    assert zygote.run("recommend", str(tmp_path), "--steps", "100", cwd=tmp_path)[0] == 0
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    for other in NAMES:
        if other != name:
            (tmp_path / other).write_bytes((RUN / other).read_bytes())
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunError, match="not a regular file"):
        load_run(tmp_path)
