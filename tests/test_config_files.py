"""Writing and reading configs: exact round trips, other people's readers, numbers, and whole-or-nothing replacement."""

from __future__ import annotations

import errno
import json
import keyword
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from helpers.shapes import schedules
from lrfinder.config import (
    FORMATS,
    Evidence,
    OptimizerConfig,
    ScheduleConfig,
    document,
    dump,
    format_schedule,
    load_schedule,
    parse_schedule,
)
from lrfinder.config.toml_places import find_places
from lrfinder.errors import CONTROL, ConfigError, EnvironmentFailure, UsageError
from lrfinder.optimizers import is_setting
from lrfinder.records import Status
from lrfinder.schedules import Constant, Linear
from lrfinder.schedules.table import MOST_POINTS, Table

SUFFIXES = sorted(FORMATS)
EXAMPLES = sorted((Path(__file__).parents[1] / "configs" / "schedules").iterdir())

rate = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
ratio = st.floats(0, allow_infinity=False)
share = st.floats(0, 1)
whole = st.integers(-(2**63) + 1, 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda it: not CONTROL.search(it))
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(lambda it: not keyword.iskeyword(it))
setting = st.one_of(
    st.booleans(),
    whole,
    st.floats(allow_nan=False, allow_infinity=False),
    text,
    st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), whole), max_size=3).map(tuple),
)


configs = st.builds(
    ScheduleConfig,
    optimizer=st.builds(
        OptimizerConfig,
        name=st.lists(words, min_size=1, max_size=3).map(".".join),
        lr=rate,
        groups=st.none() | st.lists(ratio, min_size=1, max_size=4).filter(any).map(tuple),
        settings=st.dictionaries(words.filter(is_setting), setting, max_size=4),
    ),
    schedule=schedules(10**8),
    evidence=st.none()
    | st.builds(
        Evidence,
        rule=st.none() | text,
        band=st.none() | st.tuples(rate, rate).map(lambda ends: (min(ends), max(ends))),
        status=st.none() | st.sampled_from(Status),
        why=st.none() | text,
        run=st.none() | text,
        updates=st.none() | st.integers(0, 2**63 - 1),
        torch=st.none() | text,
    ),
)


def typed(value: Any) -> Any:
    """Make 1, 1.0 and True differ, and -0.0 and 0.0: equality alone would let a change of type pass."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return type(value).__name__, repr(value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(config=configs)
@settings(max_examples=150, deadline=None)
def test_round_trip_is_exact(suffix: str, config: ScheduleConfig) -> None:
    written = format_schedule(config, suffix=suffix)
    again = parse_schedule(written, suffix=suffix, where="it")
    assert again == config
    assert typed(again.as_data()) == typed(config.as_data())
    assert format_schedule(again, suffix=suffix) == written


# Of YAML one for 1.2 and one for 1.1.
INDEPENDENT_READERS = {
    ".yaml": YAML(typ="safe", pure=True).load,
    ".yml": pyyaml.safe_load,
    ".json": json.loads,
    ".toml": tomllib.loads,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(config=configs)
@settings(max_examples=150, deadline=None)
def test_other_readers_get_the_same_values(suffix: str, config: ScheduleConfig) -> None:
    assert typed(INDEPENDENT_READERS[suffix](format_schedule(config, suffix=suffix))) == typed(config.as_data())


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} | {found for key, item in items for found in paths_of(item, (*path, key))}


@given(config=configs)
@settings(max_examples=150, deadline=None)
def test_every_toml_value_has_a_place_and_nothing_else_has(config: ScheduleConfig) -> None:
    written = format_schedule(config, suffix=".toml")
    places = find_places(written)
    assert places.values.keys() | {()} == paths_of(tomllib.loads(written))
    assert not places.problems


WEIRD_TOML = '''
a."b c".'d' = [1, [2.5, "x]"], {k = "}", l.m = 1979-05-27T07:32:00Z}] # [not]
"q\\u0041\\"" = """
[no] x = 1
"""
l = \'\'\'
y = "2"\'\'\'
[t.u]   # comment = 1
v = { } # {
[[list]]
n = 1
[[list.inner]]
[list.sub]
[[list]]
n = -inf
empty = [ # c
]
'''


def test_toml_places_in_an_odd_file() -> None:
    places = find_places(WEIRD_TOML)
    assert not places.problems
    # Tables that only names of other tables imply have no value of their own to point at, but a key.
    found = places.values.keys() | places.keys.keys() | {()}
    assert found == paths_of(tomllib.loads(WEIRD_TOML))
    lines = WEIRD_TOML.split("\n")
    for path, (line, column) in places.keys.items():
        assert lines[line - 1][column - 1 :].lstrip("\"'").startswith(str(path[-1])[0])


@given(st.text(alphabet="[]{}=.,\"'# \nab1\\", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_ends_in_a_config_error(noise: str) -> None:
    for suffix in (".toml", ".json", ".yaml"):
        with pytest.raises(ConfigError):
            parse_schedule(noise, suffix=suffix, where="it")


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e-3", 1e-3), ("1E-3", 1e-3), ("1.e-3", 1e-3), (".5", 0.5), ("+0.1", 0.1), ("1", 1.0), ("3.1e-05", 3.1e-5)],
)
def test_numbers_as_people_write_them_in_yaml(written: str, number: float) -> None:
    text = f"version: 1\noptimizer: {{name: yes, lr: {written}}}\nschedule: {{name: constant, steps: 5}}\n"
    config = parse_schedule(text, suffix=".yaml", where="it")
    assert config.optimizer.lr == number
    assert config.optimizer.name == "yes"  # YAML 1.2: a word, not a boolean


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_load_and_survive_every_format(example: Path, tmp_path: Path) -> None:
    config = load_schedule(example)
    assert len(config.lrs()) == config.schedule.steps
    assert max(config.lrs()) == config.optimizer.lr
    for suffix in SUFFIXES:
        dump(config, tmp_path / f"it{suffix}")
        assert load_schedule(tmp_path / f"it{suffix}") == config


def test_the_layout_is_the_contracts(tmp_path: Path) -> None:
    config = ScheduleConfig(
        optimizer=OptimizerConfig(name="AdamW", lr=0.0031),
        schedule=Linear(warmup=50, steps=1000),
        evidence=Evidence(rule="steepest", band=(1.1e-5, 0.0084), run="lrfinder-runs/model-1", torch="2.13.0"),
    )
    dump(config, tmp_path / "my schedule.yaml")
    lines = (tmp_path / "my schedule.yaml").read_text().splitlines()
    assert lines[1:] == [
        "#     from lrfinder import load_schedule",
        '#     scheduler = load_schedule("my schedule.yaml").scheduler(optimizer)',
        "version: 1",
        "optimizer: {name: AdamW, lr: 0.0031}",
        "schedule: {name: linear, warmup: 50, steps: 1000, final: 0.0}",
        "evidence: {rule: steepest, band: [1.1e-05, 0.0084], run: lrfinder-runs/model-1, torch: 2.13.0}",
    ]


def test_one_line_per_section_however_long(tmp_path: Path) -> None:
    config = ScheduleConfig(
        optimizer=OptimizerConfig(name="SGD", lr=1e-5),
        schedule=Constant(steps=5),
        evidence=Evidence(why="a long reason: " * 40),
    )
    written = format_schedule(config, suffix=".yaml")
    assert [line.split(":")[0] for line in written.splitlines() if line[0] != "#"] == [
        "version",
        "optimizer",
        "schedule",
        "evidence",
    ]


@pytest.mark.parametrize("name", ["a\nversion: 2\n#.yaml", 'a".yaml', "\u2028é.yaml"])
def test_no_file_name_can_break_the_comment(tmp_path: Path, name: str) -> None:
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=Constant(steps=5))
    dump(config, tmp_path / name)
    assert load_schedule(tmp_path / name) == config


CONFIG = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=Constant(steps=5))


def _break(monkeypatch: pytest.MonkeyPatch, what: str, by: Callable[..., None]) -> None:
    """Let the last but one or the last act of replacing a file fail, by whichever function it is done."""
    if what == "fsync":
        monkeypatch.setattr(os, "fsync", by)
        return
    for owner, name in ((os, "replace"), (os, "rename"), (Path, "replace"), (Path, "rename")):
        monkeypatch.setattr(owner, name, by)


class TestReplacingAFile:
    @pytest.mark.parametrize("failing", ["rename", "fsync"])
    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        file = tmp_path / "it.yaml"
        file.write_text("old")

        def fail(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        _break(monkeypatch, failing, fail)
        with pytest.raises(EnvironmentFailure, match=r"it\.yaml: No space left"):
            dump(CONFIG, file)
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]

    def test_ctrl_c_leaves_the_old_file_and_nothing_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "it.yaml"
        file.write_text("old")

        def interrupt(*args: object) -> None:
            raise KeyboardInterrupt

        _break(monkeypatch, "rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            dump(CONFIG, file)
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]

    def test_a_fresh_file_has_ordinary_permissions(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("")
        dump(CONFIG, tmp_path / "it.yaml")
        assert (tmp_path / "it.yaml").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        target = tmp_path / "target.yaml"
        target.write_text("old")
        link = tmp_path / "link.yaml"
        link.symlink_to(target)
        dump(CONFIG, link)
        assert link.is_symlink()
        assert load_schedule(target) == CONFIG

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="its folder is not there") as caught:
            dump(CONFIG, tmp_path / "nowhere" / "it.yaml")
        assert "folder that exists" in (caught.value.hint or "")

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "it.yaml").mkdir()
        with pytest.raises(UsageError, match=r"it\.yaml: is a folder"):
            dump(CONFIG, tmp_path / "it.yaml")

    def test_another_suffix(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"not in '\.ini'"):
            dump(CONFIG, tmp_path / "it.ini")
        assert list(tmp_path.iterdir()) == []


def test_settings_keep_their_types() -> None:
    given_settings = {"betas": (0.9, 0.999), "nesterov": True, "rho": 1, "momentum": 0.9, "note": "no"}
    optimizer = OptimizerConfig(name="SGD", lr=0.1, settings=given_settings)
    assert typed(optimizer.settings) == typed(given_settings)


def test_each_item_of_a_setting_is_told_at_its_own_place() -> None:
    text = "version: 1\nschedule: {name: linear, steps: 9}\noptimizer:\n  name: Adam\n  lr: 0.1\n  settings:\n"
    text += "    betas:\n    - 0.9\n    - high\n    - .nan\n"
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, suffix=".yaml", where="it")
    assert str(caught.value).split("\n") == [
        'it:9:7: optimizer.settings.betas[1]: expected a finite number, got "high"',
        "it:10:7: optimizer.settings.betas[2]: expected a finite number, got NaN",
    ]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 2**63, {"a": 1}, ["x"], "\ud800", object()])
def test_settings_that_no_format_can_hold_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected (true, false, )?a finite number"):
        OptimizerConfig(name="SGD", lr=0.1, settings={"it": value})


def test_reading_and_writing_need_no_torch() -> None:
    script = (
        "import sys, lrfinder.config as c; from lrfinder.schedules import Linear;"
        "k = c.ScheduleConfig(optimizer=c.OptimizerConfig(name='SGD', lr=0.1), schedule=Linear(steps=5));"
        "[c.parse_schedule(c.format_schedule(k, suffix=s), suffix=s, where='') for s in c.FORMATS];"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_no_reader_takes_back_is_not_written(suffix: str) -> None:
    optimizer = OptimizerConfig(name="SGD", lr=0.1, settings={"note": "name\x1b[2J"})
    config = ScheduleConfig(optimizer=optimizer, schedule=Constant(steps=5))
    with pytest.raises(ConfigError, match="a control character can't stand in a config"):
        format_schedule(config, suffix=suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_with_far_too_many_values_is_refused_before_it_is_read_whole(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MOST_VALUES", 100)
    many = "[" + ",".join("1" for _ in range(101)) + "]"
    text = f"x = {many}" if suffix == ".toml" else f'{{"x": {many}}}'
    before = 99 if suffix == ".toml" else 98  # of these; the list is a value, too, and in YAML and JSON the whole
    with pytest.raises(ConfigError, match="more than 100 values") as caught:
        parse_schedule(text, suffix=suffix, where="c")
    line, column = (int(part) for part in str(caught.value).split(":")[1:3])
    assert (line, column) == (1, text.index("1") + 2 * before + 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_longest_table_that_a_config_may_hold_takes_no_longer_for_each_point(suffix: str) -> None:
    """A table of 10,000 points takes 1.6 s as TOML, as YAML and JSON less than one."""
    spent = []
    for count in (MOST_POINTS // 8, MOST_POINTS):
        points = tuple((update, 0.5 + update / 2**20) for update in range(count))
        table = Table(steps=20_000, points=points)
        config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=table)
        began = time.process_time()
        assert parse_schedule(format_schedule(config, suffix=suffix), suffix=suffix, where="c").schedule == table
        spent.append(time.process_time() - began)
    assert spent[1] / spent[0] < 24  # 8 if each point takes the same, 64 if it takes time for each of the others
