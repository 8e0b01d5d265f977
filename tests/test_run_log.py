"""The log of short runs: read back exactly, cut at any byte, continued after a torn line, damaged."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import inject
from helpers.processes import environment
from helpers.runs import parabola, runs_at
from lrfinder.errors import EnvironmentFailure, RunError
from lrfinder.records import RunPlan, ShortRun, Stop
from lrfinder.store import RunLog, read_log

RUNS = runs_at([-3, -2, -1], parabola(-2))
floats = st.floats(allow_nan=False, allow_infinity=False)


def write(path: Path, runs: tuple[ShortRun, ...]) -> Path:
    with RunLog(path) as log:
        for run in runs:
            log.add(run)
    return path


@given(
    lr=st.floats(1e-30, 1e30),
    loss=st.none() | floats,
    initial=st.none() | floats,
    steps=st.integers(1, 10**9),
    why=st.text(st.characters(exclude_categories=["Cc", "Cs"])),  # words_of takes what a terminal would obey out
    stop=st.sampled_from(Stop),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_every_run_reads_back_exactly(tmp_path: Path, lr, loss, initial, steps, why, stop) -> None:
    run = ShortRun(
        plan=RunPlan(lr=lr, steps=steps, repeat=1, schedule="cosine"),
        seed=7,
        metric="probe",
        initial_loss=initial,
        loss=loss,
        stop=stop,
        updates=0,
        why=why,
    )
    path = tmp_path / "runs.jsonl"
    path.unlink(missing_ok=True)
    assert read_log(write(path, (run, run))) == (run, run)


def test_cut_at_every_byte_whole_lines_are_kept_and_the_log_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)
    data = path.read_bytes()
    ends = [index for index, byte in enumerate(data, start=1) if byte == ord("\n")]
    for cut in range(0, len(data) + 1, 7):
        path.write_bytes(data[:cut])
        whole = RUNS[: sum(end <= cut for end in ends)]
        assert read_log(path) == whole
        assert read_log(write(path, RUNS[:1])) == (*whole, RUNS[0])


def test_each_line_is_a_json_document(tmp_path: Path) -> None:
    lines = write(tmp_path / "runs.jsonl", RUNS).read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["plan"]["steps"] for line in lines] == [50, 50, 50]


def test_no_file_is_no_run(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none.jsonl") == ()


NEEDED = "plan: a rate, a length and batches above 0 are needed"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"steps": 50', '"steps": 0', NEEDED),
        ('"batches": null', '"batches": 0', NEEDED),
        ('"lr": 0.001', '"lr": -0.001', NEEDED),
        ('"lr": 0.001', '"lr": 0.0', NEEDED),
        ('"updates": 50', '"updates": -1', NEEDED),
        ('"steps": 50', '"steps": "50"', "plan.steps: Input should be a valid integer"),
        ('"steps"', '"stepz"', "plan.steps: Field required"),
        ('"lr": 0.001', '"lr": 1e999', "plan.lr: expected a finite number, got inf"),
        ('"loss": ', '"loss": -1e999, "was": ', "was: Unexpected keyword argument"),
        ('"loss": ', '"loss": -1e999, "loss": ', None),
        ('"completed"', '"finished"', "stop: Input should be 'completed', "),
        ("{", "", "Invalid JSON: "),
    ],
)
def test_damage_is_named(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if message is None and pydantic.VERSION.startswith("2.10."):
        pytest.skip("of a key that is there twice this pydantic takes the first")
    if message is None:  # of a key that is there twice the last one counts
        assert read_log(path) == RUNS
        return
    with pytest.raises(RunError) as raised:
        read_log(path)
    assert str(raised.value).startswith(f"{path}:1: {message}")
    assert raised.value.hint == "the file is damaged or was edited; remove that line"


@pytest.mark.parametrize("part", ["loss", "initial_loss"])
def test_a_loss_is_a_finite_number(tmp_path: Path, part: str) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1][part] = math.inf
    path.write_text("".join(json.dumps(line).replace("Infinity", "1e999") + "\n" for line in lines))
    with pytest.raises(RunError) as raised:
        read_log(path)
    assert str(raised.value) == f"{path}:2: {part}: expected a finite number, got inf"
    assert raised.value.hint == "the file is damaged or was edited; remove that line"


def test_what_json_does_not_know_is_never_written(tmp_path: Path) -> None:
    with RunLog(tmp_path / "runs.jsonl") as log, pytest.raises(ValueError, match="not JSON compliant"):
        log.add(dataclasses.replace(RUNS[0], loss=math.inf))


def test_a_file_too_large_for_a_log_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)
    with path.open("r+b") as file:
        file.truncate(256 * 2**20 + 1)  # a hole: it takes no room on the disk
    with pytest.raises(RunError) as raised:
        read_log(path)
    assert str(raised.value) == f"{path}: larger than 256 MiB"
    assert raised.value.hint == "this is no file of lrfinder's"


def test_a_log_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)

    def denied(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(RunError) as raised:
        read_log(path)
    assert str(raised.value) == f"{path}: Permission denied"
    assert raised.value.hint == "check the path and its permissions"


def test_what_is_kept_of_a_log_are_its_first_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "runs.jsonl", RUNS)
    with RunLog(tmp_path / "none.jsonl") as log:
        log.keep(0)
    assert not (tmp_path / "none.jsonl").exists()
    for count in (2, 0):
        with RunLog(path) as log:
            log.keep(count)
        assert read_log(path) == RUNS[:count]


def test_a_disk_that_fills_up_in_mid_line_is_an_environment_failure_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.jsonl"
    with RunLog(path) as log:
        log.add(RUNS[0])
        with monkeypatch.context() as failing:
            inject.install(f"short:1:{tmp_path}", failing.setattr)
            with pytest.raises(EnvironmentFailure, match="No space left"):
                log.add(RUNS[1])
        assert not path.read_bytes().endswith(b"\n")
        assert read_log(path) == RUNS[:1]
        log.add(RUNS[2])
    assert read_log(path) == (RUNS[0], RUNS[2])


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "runs.jsonl").symlink_to("mine")
    with pytest.raises(EnvironmentFailure, match="a symbolic link"):
        write(tmp_path / "runs.jsonl", RUNS)
    assert (tmp_path / "mine").read_text() == "mine"


HOLDER = """
import sys
from pathlib import Path
from lrfinder.store import RunLog
with RunLog(Path(sys.argv[1])) as log:
    print(len(log.hold()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_a_log_that_is_held_is_read_and_added_to_by_one_process(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", RUNS[:2])
    with path.open("ab") as file:
        file.write(b'{"plan": torn')
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as holder:
        assert holder.stdout.readline() == b"2\n"
        with RunLog(path) as log, pytest.raises(RunError, match="another process is making trials") as caught:
            log.hold()
        assert "only what is missing" in caught.value.hint
        assert read_log(path) == RUNS[:2], "reading needs no lock"
        holder.communicate()
    with RunLog(path) as log:
        assert log.hold() == RUNS[:2]
        log.add(RUNS[2])
    assert read_log(path) == RUNS
