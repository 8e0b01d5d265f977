"""Everything that can be wrong with a config file, each with the exact place and the message."""

# ruff: noqa: E501, ISC004 - a table of cases: one a line, however long

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lrfinder.config import load_schedule, parse_schedule
from lrfinder.errors import ConfigError
from lrfinder.schedules import SCHEDULES

SHAPES = ", ".join(SCHEDULES)
SECTIONS = "version, optimizer, schedule, batch, evidence"

# A sound config of four lines; a case replaces some of them.
SOUND = {
    1: "version: 1",
    2: "optimizer: {name: SGD, lr: 0.1}",
    3: "schedule: {name: linear, warmup: 5, steps: 100, final: 0.0}",
    4: "evidence: {rule: steepest}",
}

# (lines that replace the sound ones, what is said: "line:column: key: message")
YAML_CASES: dict[str, tuple[dict[int, str], list[str]]] = {
    "lr negative": ({2: "optimizer: {name: SGD, lr: -0.1}"}, ["2:28: optimizer.lr: expected a number above 0, got -0.1"]),
    "lr zero": ({2: "optimizer: {name: SGD, lr: 0}"}, ["2:28: optimizer.lr: expected a number above 0, got 0"]),
    "lr text": ({2: 'optimizer: {name: SGD, lr: "0.1"}'}, ['2:28: optimizer.lr: expected a number, got "0.1"; write 0.1, without quotes']),
    "lr bool": ({2: "optimizer: {name: SGD, lr: true}"}, ["2:28: optimizer.lr: expected a number, got true"]),
    "lr nan": ({2: "optimizer: {name: SGD, lr: .nan}"}, ["2:28: optimizer.lr: expected a finite number, got NaN"]),
    "lr inf": ({2: "optimizer: {name: SGD, lr: .inf}"}, ["2:28: optimizer.lr: expected a finite number, got Infinity"]),
    "lr beyond float": ({2: "optimizer: {name: SGD, lr: 1e999}"}, ["2:28: optimizer.lr: expected a finite number, got Infinity"]),
    "lr null": ({2: "optimizer: {name: SGD, lr: }"}, ["2:28: optimizer.lr: expected a number, got null"]),
    "lr list": ({2: "optimizer: {name: SGD, lr: [0.1]}"}, ["2:28: optimizer.lr: expected a number, got [0.1]"]),
    "lr missing": ({2: "optimizer: {name: SGD}"}, ["2:1: optimizer.lr: missing; add the peak rate, e.g. 0.001"]),
    "name number": ({2: "optimizer: {name: 3, lr: 0.1}"}, ["2:19: optimizer.name: expected text, got 3"]),
    "name empty": ({2: 'optimizer: {name: "", lr: 0.1}'}, ['2:19: optimizer.name: expected some text, got ""']),
    "optimizer text": ({2: "optimizer: SGD"}, ['2:12: optimizer: expected a mapping of keys to values, got "SGD"']),
    "optimizer missing": (
        {2: ""},
        ["1:1: optimizer: missing; add the section, e.g. optimizer: {name: AdamW, lr: 0.001}"],
    ),
    "groups number": ({2: "optimizer: {name: SGD, lr: 0.1, groups: 2}"}, ["2:41: optimizer.groups: expected a list, got 2"]),
    "groups empty": (
        {2: "optimizer: {name: SGD, lr: 0.1, groups: []}"},
        ["2:41: optimizer.groups: expected a list of at least 1, got []"],
    ),
    "groups negative": (
        {2: "optimizer: {name: SGD, lr: 0.1, groups: [1.0, -1]}"},
        ["2:47: optimizer.groups[1]: expected a number of at least 0, got -1"],
    ),
    "groups all zero": (
        {2: "optimizer: {name: SGD, lr: 0.1, groups: [0, 0]}"},
        ["2:41: optimizer.groups: expected at least one ratio above 0: at 0 no param group would learn"],
    ),
    "name of code": (
        {2: "optimizer: {name: __import__('os').system('x') or SGD, lr: 0.1}"},
        ["2:19: optimizer.name: expected the name of a class, such as AdamW or package.Lion, got \"__import__('os').system('x') or SGD\""],
    ),
    "name of a word of Python": (
        {2: "optimizer: {name: torch.optim.lambda, lr: 0.1}"},
        ["2:19: optimizer.name: expected the name of a class, such as AdamW or package.Lion, got 'torch.optim.lambda'"],
    ),
    "setting of code": (
        {2: "optimizer: {name: SGD, lr: 0.1, settings: {momentum: 0.9, 'a=f(), b': 1, lr: 2, _component_: os.system}}"},
        [
            "2:59: optimizer.settings.a=f(), b: expected the name of a keyword argument, such as weight_decay, got 'a=f(), b'",
            "2:74: optimizer.settings.lr: expected the name of a keyword argument, such as weight_decay, got 'lr'",
            "2:81: optimizer.settings._component_: expected the name of a keyword argument, such as weight_decay, got '_component_'",
        ],
    ),
    "setting mapping": (
        {2: "optimizer: {name: SGD, lr: 0.1, settings: {momentum: {}}}"},
        [
            "2:54: optimizer.settings.momentum: expected true, false, a finite number, text, or a list of finite"
            " numbers, got {}"
        ],
    ),
    "setting too large": (
        {2: "optimizer: {name: SGD, lr: 0.1, settings: {momentum: 9223372036854775808}}"},
        [
            "2:54: optimizer.settings.momentum: expected true, false, a finite number, text, or a list of finite"
            " numbers, got 9223372036854775808"
        ],
    ),
    "steps float": (
        {3: "schedule: {name: linear, steps: 1e3}"},
        ["3:33: schedule.steps: expected a whole number, got 1000.0; write 1000"],
    ),
    "steps fraction": (
        {3: "schedule: {name: linear, steps: 10.5}"},
        ["3:33: schedule.steps: expected a whole number, got 10.5"],
    ),
    "steps bool": ({3: "schedule: {name: linear, steps: true}"}, ["3:33: schedule.steps: expected a whole number, got true"]),
    "steps zero": (
        {3: "schedule: {name: linear, steps: 0}"},
        ["3:33: schedule.steps: expected a number of at least 1, got 0"],
    ),
    "steps huge": (
        {3: "schedule: {name: linear, steps: 1000000000}"},
        ["3:33: schedule.steps: expected a number of at most 100000000, got 1000000000"],
    ),
    "steps of 5000 digits": (
        {3: "schedule: {name: linear, steps: " + "9" * 5000 + "}"},
        ["3:33: " + "9" * 40 + "... is not a whole number that can be read; write it in decimal, without leading zeros"],
    ),
    "steps octal or not": (
        {3: "schedule: {name: linear, steps: 0100}"},
        ["3:33: 0100 is not a whole number that can be read; write it in decimal, without leading zeros"],
    ),
    "steps missing": (
        {3: "schedule: {name: linear}"},
        ["3:1: schedule.steps: missing; add the updates of the whole run, e.g. 1000"],
    ),
    "warmup beyond steps": (
        {3: "schedule: {name: linear, warmup: 11, steps: 10}"},
        ["3:45: schedule.steps: expected at least warmup (11), got 10: the warm-up would outlast the run"],
    ),
    "final beyond one": (
        {3: "schedule: {name: cosine, steps: 10, final: 1.5}"},
        ["3:44: schedule.final: expected a number of at most 1, got 1.5"],
    ),
    "step without its keys": (
        {3: "schedule: {name: step, steps: 10}"},
        [
            "3:1: schedule.every: missing; this key has no default, so add it",
            "3:1: schedule.factor: missing; this key has no default, so add it",
        ],
    ),
    "step by its attribute": (
        {3: "schedule: {name: step, steps: 10, every: 2, drop: 0.5}"},
        [
            "3:1: schedule.factor: missing; this key has no default, so add it",
            "3:45: schedule.drop: unknown key; allowed here: name, epoch, warmup, warmup_start, steps, every, factor",
        ],
    ),
    "shape misspelt": (
        {3: "schedule: {name: cosin, steps: 10}"},
        [f'3:18: schedule.name: unknown schedule "cosin" (did you mean cosine?); known: {SHAPES}'],
    ),
    "shape unheard of": (
        {3: "schedule: {name: zigzag, steps: 10}"},
        [f'3:18: schedule.name: unknown schedule "zigzag"; known: {SHAPES}'],
    ),
    "shape nothing": (
        {3: "schedule: {name: null, steps: 10}"},
        [f"3:18: schedule.name: unknown schedule null; known: {SHAPES}"],
    ),
    "shape a number": (
        {3: "schedule: {name: 7, steps: 10}"},
        [f"3:18: schedule.name: unknown schedule 7; known: {SHAPES}"],
    ),
    "shape missing": ({3: "schedule: {steps: 10}"}, [f"3:1: schedule.name: missing; add one of {SHAPES}"]),
    "schedule a number": ({3: "schedule: 10"}, ["3:11: schedule: expected a mapping of keys to values, got 10"]),
    "unknown section": ({4: "evidense: {}"}, [f"4:1: evidense: unknown key (did you mean evidence?); allowed here: {SECTIONS}"]),
    "unknown key": (
        {3: "schedule: {name: linear, steps: 10, warmpu: 2}"},
        ["3:37: schedule.warmpu: unknown key (did you mean warmup?); allowed here: name, epoch, warmup, warmup_start, steps, final"],
    ),
    "key twice": (
        {3: "schedule: {name: linear, steps: 10, steps: 20}"},
        ["3:37: schedule.steps: this key is already at line 3, column 26; keep one of the two"],
    ),
    "section twice": (
        {4: "version: 1"},
        ["4:1: version: this key is already at line 1, column 1; keep one of the two"],
    ),
    "key not text": ({4: "evidence: {1: 2}"}, ["4:12: a key must be text, got 1; put it in quotes; if it ends a number, write that with a point: 1.1"]),
    "key true": ({4: "evidence: {true: 2}"}, ["4:12: a key must be text, got True; put it in quotes"]),
    "decimal comma": (
        {2: "optimizer: {name: AdamW, lr: 1,5}"},
        ["2:32: a key must be text, got 5; put it in quotes; if it ends a number, write that with a point: 1.5"],
    ),
    "key a list": ({4: "evidence: {[a]: 2}"}, ["4:12: a key must be text, got a list or a mapping"]),
    "key unprintable": (
        {4: 'evidence: {"a\\nb\\u200b": 2}'},
        [
            "4:12: evidence.'a\\nb\\u200b': unknown key; allowed here: rule, band, status, why, model, run, updates,"
            " torch, lrfinder"
        ],
    ),
    "band of one": ({4: "evidence: {band: [0.1]}"}, ["4:18: evidence.band[1]: expected a value, got [0.1]"]),
    "band upside down": (
        {4: "evidence: {band: [0.1, 0.01]}"},
        ["4:18: evidence.band: expected the lower rate first, got [0.1, 0.01]"],
    ),
    "status unheard of": (
        {4: "evidence: {status: sure}"},
        ["4:20: evidence.status: expected 'confident', 'uncertain' or 'refused', got \"sure\""],
    ),
    "updates negative": (
        {4: "evidence: {updates: -1}"},
        ["4:21: evidence.updates: expected a number of at least 0, got -1"],
    ),
    "version missing": ({1: ""}, ["1:1: version: missing; add version: 1"]),
    "version older": ({1: "version: 0"}, ["1:10: version: expected 1, got 0"]),
    "version text": ({1: 'version: "1"'}, ['1:10: version: expected 1, got "1"']),
    "version bool": ({1: "version: true"}, ["1:10: version: expected 1, got true"]),
    "version float": ({1: "version: 1.0"}, ["1:10: version: expected 1, got 1.0"]),
    "version newer": (
        {1: "version: 2", 4: "surprise: 1"},
        ["1:10: version: 2 was written by a newer lrfinder; this one reads version 1"],
    ),
    "several at once": (
        {2: "optimizer: {name: SGD, lr: -1, group: 1}", 3: "schedule: {name: linear, steps: 0, final: x}"},
        [
            "2:28: optimizer.lr: expected a number above 0, got -1",
            "2:32: optimizer.group: unknown key (did you mean groups?); allowed here: name, lr, groups, settings",
            "3:33: schedule.steps: expected a number of at least 1, got 0",
            '3:43: schedule.final: expected a number, got "x"',
        ],
    ),
    "duplicate and wrong": (
        {2: "optimizer: {name: SGD, lr: -1, lr: 1}"},
        [
            "2:28: optimizer.lr: expected a number above 0, got -1",
            "2:32: optimizer.lr: this key is already at line 2, column 24; keep one of the two",
        ],
    ),
    "alias": ({1: "version: &one 1", 4: "evidence: {updates: *one}"}, ["4:21: aliases (*one) are not supported; write the value out"]),
    "python tag": (
        {4: "evidence: !!python/object/apply:os.system [echo]"},
        ["4:11: tags (tag:yaml.org,2002:python/object/apply:os.system) are not supported; remove the tag"],
    ),
    "number tag": ({1: "version: !!int 1"}, ["1:10: tags (tag:yaml.org,2002:int) are not supported; remove the tag"]),
    "second document": ({4: "---\nversion: 1"}, ["4:1: a second document begins here; a config is one document"]),
    "YAML 1.1": ({1: "%YAML 1.1\n---\nversion: 1"}, ["1:1: only YAML 1.2 is read; remove the %YAML line"]),
    "brace left open": (
        {4: "evidence: {rule: steepest"},
        ["5:1: not valid YAML: while parsing a flow mapping: did not find expected ',' or '}'"],
    ),
    "tab": ({4: "evidence:\n\trule: x"}, ["5:1: not valid YAML: while scanning for the next token: found character that cannot start any token; YAML indents by spaces, not by tabs"]),
    "control character": ({4: "evidence: {rule: a\x07b}"}, ["4:19: a control character (U+0007) can't stand in a YAML file"]),
    "line separator": ({4: "evidence: {rule: a\u2028b}"}, ["4:19: a control character (U+2028) can't stand in a YAML file"]),
    "second byte order mark": ({4: "# \ufeff"}, ["4:3: a control character (U+FEFF) can't stand in a YAML file"]),
    "carriage return alone in a block": ({4: "evidence:\n  why: |\n \r\n    a\n  rule: [1]"}, ["8:9: evidence.rule: expected text, got [1]"]),
    "too deep": ({4: "evidence: " + "[" * 20}, ["4:26: nested deeper than 16 levels; a schedule config needs 4"]),
}  # fmt: skip


def complaints(caught: pytest.ExceptionInfo[ConfigError], where: str) -> list[str]:
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{where}:") for line in lines)
    return [line.removeprefix(f"{where}:") for line in lines]


def test_the_sound_config_is_sound() -> None:
    assert parse_schedule("\n".join(SOUND.values()), suffix=".yaml", where="it").optimizer.lr == 0.1


@pytest.mark.parametrize("case", YAML_CASES)
def test_yaml(case: str, tmp_path: Path) -> None:
    changed, expected = YAML_CASES[case]
    file = tmp_path / "bad.yaml"
    file.write_text("\n".join((SOUND | changed).values()) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_schedule(file)
    assert complaints(caught, str(file)) == expected


def test_yaml_that_its_own_reader_finds_too_deep() -> None:
    text = "\n".join((SOUND | {4: "evidence: " + "[" * 2000}).values())
    with pytest.raises(ConfigError, match=r"^it:4:\d+: nested deeper than 16 levels; a schedule config needs 4$"):
        parse_schedule(text, suffix=".yaml", where="it")  # where, depends on how far libyaml reads ahead


JSON_CASES: dict[str, tuple[str, list[str]]] = {
    "duplicate": (
        '{"version": 1, "optimizer": {"name": "SGD", "lr": 1},\n'
        ' "schedule": {"name": "constant", "steps": 5, "name": "constant"}}',
        ["2:47: schedule.name: this key is already at line 2, column 15; keep one of the two"],
    ),
    "wrong values": (
        '{\n\t"version": 1,\n\t"optimizer": {"name": "SGD", "lr": NaN, "groups": [1, "x"]},\n'
        '\t"schedule": {"name": "constant", "steps": 1.5, "final": 0}\n}',
        [
            "3:37: optimizer.lr: expected a finite number, got NaN",
            '3:56: optimizer.groups[1]: expected a number, got "x"',
            "4:44: schedule.steps: expected a whole number, got 1.5",
            "4:49: schedule.final: unknown key; allowed here: name, epoch, warmup, warmup_start, steps",
        ],
    ),
    "escapes in keys": (
        '{"version": 1, "optimizer": {"name": "SGD", "lr": 1, "\\u006cr": 2},\n'
        ' "schedule": {"name": "constant", "steps": 5}}',
        ["1:54: optimizer.lr: this key is already at line 1, column 45; keep one of the two"],
    ),
    "half a character": (
        '{"version": 1, "optimizer": {"name": "\\ud800", "lr": 1}, "schedule": {"name": "constant", "steps": 5}}',
        ['1:38: optimizer.name: expected text, got "\\ud800"'],
    ),
    "comma at the end": (
        '{"version": 1,\n}',
        ["1:14: not valid JSON: Illegal trailing comma before end of object"]
        if sys.version_info >= (3, 13)
        else ["2:1: not valid JSON: Expecting property name enclosed in double quotes"],
    ),
    "comment": ('{"version": 1}\n// more', ["2:1: not valid JSON: Extra data"]),
    "single quotes": ("{'version': 1}", ["1:2: not valid JSON: Expecting property name enclosed in double quotes"]),
    "empty": ("", ["1:1: not valid JSON: Expecting value"]),
    "null": ("null", ["1:1: the file is empty"]),
    "a list": ("[1]", ["1:1: expected a mapping with the keys version, optimizer and schedule, got [1]"]),
    "too deep": ("[" * 50_000, ["1:17: nested deeper than 16 levels; a schedule config needs 4"]),
    "too many digits": (
        '{"version": ' + "9" * 5000 + "}",
        ["1:13: " + "9" * 40 + "... is not a whole number that can be read; it has 5000 digits"],
    ),
}  # fmt: skip

TOML_SOUND = 'version = 1\n[optimizer]\nname = "SGD"\nlr = 0.1\n[schedule]\nname = "constant"\nsteps = 5\n'
TOML_CASES: dict[str, tuple[str, list[str]]] = {
    "wrong values": (
        'version = 1\noptimizer = {name = "SGD", lr = nan}\n\n[schedule]  # here\nname = "step"\nsteps = 5.0\n'
        'every = true\n"factor"    = 2\nextra.deep = 1\n',
        [
            "2:33: optimizer.lr: expected a finite number, got NaN",
            "6:9: schedule.steps: expected a whole number, got 5.0; write 5",
            "7:9: schedule.every: expected a whole number, got true",
            "8:15: schedule.factor: expected a number of at most 1, got 2",
            "9:1: schedule.extra: unknown key; allowed here: name, epoch, warmup, warmup_start, steps, every, factor",
        ],
    ),
    "list over lines": (
        TOML_SOUND.replace("lr = 0.1", "lr = 0.1\ngroups = [\n  1.0, # the head\n  -0.1,\n]"),
        ["7:3: optimizer.groups[1]: expected a number of at least 0, got -0.1"],
    ),
    "list of tables": (
        TOML_SOUND + "[[evidence]]\nrule = 'x'\n",
        ['8:3: evidence: expected a mapping of keys to values, got [{"rule": "x"}]'],
    ),
    "a date": (TOML_SOUND + "[evidence]\nrun = 2024-01-01 10:00:00\n", ['9:7: evidence.run: expected text, got "2024-01-01 10:00:00"']),
    "key twice": (TOML_SOUND + "steps = 6\n", ["8:1: schedule.steps: this key is already at line 7, column 1; keep one of the two"]),
    "table twice": (TOML_SOUND + "[optimizer]\n", ["8:2: optimizer: this key is already at line 2, column 2; keep one of the two"]),
    "no quotes": ("version = 1\nname = SGD\n", ["2:8: not valid TOML: Invalid value"]),
    "empty": ("", [
        "1:1: optimizer: missing; add the section, e.g. optimizer: {name: AdamW, lr: 0.001}",
        "1:1: schedule: missing; add the section, e.g. schedule: {name: linear, warmup: 50, steps: 1000}",
        "1:1: version: missing; add version: 1",
    ]),
    "string left open": ('version = 1\nx = "a\n', ["2:7: not valid TOML: Illegal character '\\n'"]),
    "too deep": ("x = " + "[" * 5000, ["1:20: nested deeper than 16 levels; a schedule config needs 4"]),
    "too deep by dots": ("a" + ".a" * 5000 + " = 1", ["1:33: nested deeper than 16 levels; a schedule config needs 4"]),
    "too many digits": ("version = " + "9" * 5000, ["1:11: a number with more digits than can be read"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [(".json", *case) for case in JSON_CASES.values()] + [(".toml", *case) for case in TOML_CASES.values()],
    ids=[f"json {name}" for name in JSON_CASES] + [f"toml {name}" for name in TOML_CASES],
)
def test_json_and_toml(suffix: str, text: str, expected: list[str], tmp_path: Path) -> None:
    file = tmp_path / f"bad{suffix}"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_schedule(file)
    assert complaints(caught, str(file)) == expected


def test_a_newer_version_says_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schedule("version: 3", suffix=".yaml", where="it")
    assert caught.value.hint == "upgrade: pip install --upgrade lrfinder"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n", "\n\n"])
def test_an_empty_yaml_file(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^it:1:1: the file is empty$"):
        parse_schedule(text, suffix=".yaml", where="it")


def test_hundreds_of_problems_are_counted_not_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schedule("\n".join(f"k{i}: 1" for i in range(300)), suffix=".yaml", where="it")
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "... and 283 more problems"  # with version, optimizer and schedule missing


class TestFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file") as caught:
            load_schedule(tmp_path / "nothing.yaml")
        assert "recommend --write" in (caught.value.hint or "")

    @pytest.mark.parametrize("name", ["config.ini", "config", "config.yaml.txt"])
    def test_another_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match=r"ends in \.yaml, \.yml, \.json, \.toml, not in"):
            load_schedule(tmp_path / name)

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "it.yaml").mkdir()
        with pytest.raises(ConfigError, match=r"it\.yaml: not a regular file"):
            load_schedule(tmp_path / "it.yaml")

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match=r"it\.yaml: (can't be read|no such file)"):
            load_schedule(tmp_path / "file" / "it.yaml")

    def test_not_utf8(self, tmp_path: Path) -> None:
        file = tmp_path / "it.yaml"
        file.write_bytes("version: 1\n# größe".encode("latin-1"))
        with pytest.raises(ConfigError, match=r"it\.yaml:2:5: byte 0xf6 is not UTF-8 text"):
            load_schedule(file)

    def test_utf16(self, tmp_path: Path) -> None:
        file = tmp_path / "it.yaml"
        file.write_text("version: 1", encoding="utf-16")
        with pytest.raises(ConfigError, match="not UTF-8"):
            load_schedule(file)

    def test_too_large(self, tmp_path: Path) -> None:
        file = tmp_path / "it.json"
        file.write_bytes(b" " * (1024 * 1024 + 1))
        with pytest.raises(ConfigError, match="larger than 1 MiB, so not a schedule config"):
            load_schedule(file)

    @pytest.mark.parametrize("suffix", [".yaml", ".toml"])
    def test_a_byte_order_mark_and_windows_line_ends_are_fine(self, tmp_path: Path, suffix: str) -> None:
        sound = "\n".join(SOUND.values()) if suffix == ".yaml" else TOML_SOUND
        file = tmp_path / f"it{suffix.upper()}"
        file.write_bytes(b"\xef\xbb\xbf" + sound.replace("\n", "\r\n").encode())
        assert load_schedule(file).optimizer.name == "SGD"


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match=r"^it:2:10: aliases"):
        parse_schedule("\n".join(lines), suffix=".yaml", where="it")
