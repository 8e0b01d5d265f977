"""Schedule configs that are not valid: file name, text, and what the message must say of the place."""

from __future__ import annotations

from typing import NamedTuple


class Bad(NamedTuple):
    """A file that is wrong, and the pattern of the message that names the place."""

    title: str
    file: str
    text: str | bytes
    tells: str


GOOD = """version: 1
optimizer: {name: AdamW, lr: 0.0031}
schedule: {name: linear, warmup: 50, steps: 1000, final: 0.0}
"""

# The value of a key, and where it stands: line and column.
VALUES = {
    ("lr: 0.0031", "lr: {}", "lr", 2): (
        "0", "-1", ".nan", ".inf", "-.inf", "1e999", "fast", "true", "null", "[1]", "{a: 1}", '"0.1"', "2001-01-01",
        "0x", "1_000_000_000_000e300",
    ),
    ("steps: 1000", "steps: {}", "steps", 3): (
        "0", "-1", "1.5", "many", "true", "null", "[1]", "{a: 1}", '"1000"', "1e3x", ".nan", "017",
    ),
    ("warmup: 50", "warmup: {}", "warmup", 3): ("-1", "1.5", "ten", "2000", "[1]", "true", ".inf"),
    ("final: 0.0", "final: {}", "final", 3): ("-1", ".nan", "x", ".inf", "[0]", "true"),
    ("name: linear", "name: {}", "name", 3): ("wiggly", "3", "null", '""', "[linear]", "Linear!", "true"),
    ("name: AdamW", "name: {}", "name", 2): ("3", "null", "[AdamW]", "{a: 1}", "true", '""'),
    ("version: 1", "version: {}", "version", 1): ("0", "2", '"1"', "1.5", "true", "null", "-1", "[1]", "1000000"),
}  # fmt: skip

MISSING = {
    "version": (GOOD.replace("version: 1\n", ""), "version"),
    "optimizer": (GOOD.replace("optimizer: {name: AdamW, lr: 0.0031}\n", ""), "optimizer"),
    "schedule": ("version: 1\noptimizer: {name: AdamW, lr: 0.0031}\n", "schedule"),
    "lr": (GOOD.replace(", lr: 0.0031", ""), "lr"),
    "steps": (GOOD.replace("steps: 1000, ", ""), "steps"),
    "the shape's name": (GOOD.replace("name: linear, ", ""), "name"),
    "the optimizer's name": (GOOD.replace("name: AdamW, ", ""), "name"),
}

UNKNOWN = {
    "at the top": (f"{GOOD}optimiser: 1\n", ":4:1: optimiser"),
    "in optimizer": (GOOD.replace("lr:", "rate:"), ":2:26: optimizer.rate|:2:.*rate"),
    "in schedule": (GOOD.replace("final:", "last:"), ":3:.*last"),
    "in evidence": (f"{GOOD}evidence: {{rule: steepest, bnad: [1, 2]}}\n", ":4:.*bnad"),
    "another shape's": (GOOD.replace("final: 0.0", "gamma: 0.1"), ":3:.*gamma"),
}

DUPLICATE = {
    "a section": (f"{GOOD}version: 1\n", ":4:1"),
    "in a flow mapping": (GOOD.replace("lr: 0.0031", "lr: 0.0031, lr: 1"), ":2:"),
    "quoted": (f'{GOOD}"version": 1\n', ":4:1"),
    "in a block": (GOOD.replace("{name: AdamW, lr: 0.0031}", "\n  name: AdamW\n  lr: 1\n  lr: 2"), ":5:3"),
}

SYNTAX: dict[str, tuple[str | bytes, str]] = {
    "a tab": (GOOD.replace("optimizer:", "\toptimizer:"), ":2:"),
    "an open brace": (GOOD.replace("0.0031}", "0.0031"), ":[23]:"),
    "a stray brace": (GOOD.replace("0.0031}", "0.0031}}"), ":2:"),
    "indentation": (GOOD.replace("schedule:", "  schedule:"), ":3:"),
    "an open quote": (GOOD.replace("linear", '"linear'), ":[34]:"),
    "two colons": (GOOD.replace("version: 1", "version: 1: 2"), ":1:"),
    "a control character": (GOOD.replace("linear", "lin\x07ear"), ":3:"),
    "no UTF-8": (GOOD.encode().replace(b"linear", b"lin\xffear"), ":3:|byte"),
    "UTF-16": (GOOD.encode("utf-16"), "bad.yaml:1|UTF-8"),
    "zero bytes": (b"\0" * 100, ":1:1"),
    "empty": ("", "bad.yaml"),
    "a comment": ("# nothing\n", "bad.yaml"),
    "a list": ("- version: 1\n", ":1:1"),
    "a word": ("schedule\n", ":1:1"),
    "a number": ("0.1\n", ":1:1"),
    "two documents": (f"{GOOD}---\n{GOOD}", ":4:1"),
    "an alias": (GOOD.replace("0.0031", "&a 0.0031").replace("0.0}", "*a}"), ":3:"),
    "a bomb of aliases": (
        "a: &a [x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
        ":2:",
    ),
    "a merge": (f"base: &b {{lr: 1}}\n{GOOD}".replace("{name: AdamW", "{<<: *b, name: AdamW"), ":3:"),
    "a tag that runs code": (GOOD.replace("AdamW", "!!python/object/apply:os.system ['touch hacked']"), ":2:"),
    "a tag of one's own": (GOOD.replace("0.0031", "!rate 0.0031"), ":2:"),
    "YAML 1.1": (f"%YAML 1.1\n---\n{GOOD}", ":[12]:"),
    "deep nesting": ("version: " + "[" * 5000 + "]" * 5000, ":1:"),
    "deep mappings": ("{a: " * 3000 + "1" + "}" * 3000, ":1:"),
    "a long number": (GOOD.replace("1000", "9" * 5000), ":3:"),
    "a key that is a list": (f"? [a, b]\n: 1\n{GOOD}", ":1:"),
    "a key that is a number": (f"1: 2\n{GOOD}", ":1:1"),
    "a terminal's escape": (GOOD.replace("linear", '"\\e[31mred"'), ":3:"),
}

JSON_GOOD = (
    '{"version": 1,\n "optimizer": {"name": "SGD", "lr": 0.1},\n "schedule": {"name": "constant", "steps": 10}}\n'
)
JSON: dict[str, tuple[str, str]] = {
    "a trailing comma": (JSON_GOOD.replace("10}}", "10},}"), ":3:"),
    "a comment": (f"// mine\n{JSON_GOOD}", ":1:1"),
    "single quotes": (JSON_GOOD.replace('"SGD"', "'SGD'"), ":2:"),
    "NaN": (JSON_GOOD.replace("0.1", "NaN"), ":2:"),
    "Infinity": (JSON_GOOD.replace("0.1", "-Infinity"), ":2:"),
    "a duplicate": (JSON_GOOD.replace('"lr": 0.1', '"lr": 0.1, "lr": 1'), ":2:"),
    "cut short": (JSON_GOOD[:50], ":2:"),
    "empty": ("", ":1:1"),
    "a list": ("[1]", ":1:1"),
    "a text": ('"hello"', ":1:1"),
    "deep": ("[" * 50_000, ":1:"),
    "a long number": (JSON_GOOD.replace("10}", f"{'9' * 5000}}}"), ":3:"),
    "two documents": (JSON_GOOD + JSON_GOOD, ":4:1"),
    "an unknown key": (JSON_GOOD.replace('"lr"', '"rate"'), ":2:.*rate"),
    "a terminal's escape": (JSON_GOOD.replace("SGD", "\\u001b[2J"), ":2:.*control character"),
    "a terminal's escape as a key": (JSON_GOOD.replace('"lr"', '"\\u001b[2J"'), ":2:.*control character"),
    "a lone surrogate": (JSON_GOOD.replace("constant", "\\ud800"), ":3:"),
    "1e400": (JSON_GOOD.replace("0.1", "1e400"), ":2:.*lr"),
}

TOML_GOOD = 'version = 1\n[optimizer]\nname = "SGD"\nlr = 0.1\n[schedule]\nname = "constant"\nsteps = 10\n'
TOML: dict[str, tuple[str, str]] = {
    "no quotes": (TOML_GOOD.replace('"SGD"', "SGD"), ":3:"),
    "a table twice": (f"{TOML_GOOD}[optimizer]\n", ":8:"),
    "a key twice": (TOML_GOOD.replace("lr = 0.1", "lr = 0.1\nlr = 1"), ":5:1"),
    "cut short": (TOML_GOOD.replace("lr = 0.1", "lr ="), ":4:"),
    "an open text": (TOML_GOOD.replace('"SGD"', '"SGD'), ":3:"),
    "an unknown escape": (TOML_GOOD.replace("SGD", "\\q"), ":3:"),
    "nan": (TOML_GOOD.replace("0.1", "nan"), ":4:.*lr"),
    "a date": (TOML_GOOD.replace("0.1", "1979-05-27"), ":4:.*lr"),
    "an unknown key": (TOML_GOOD.replace("lr =", "rate ="), ":4:.*rate"),
    "deep": (f"{TOML_GOOD}a = {'[' * 3000}", ":8:"),
    "deep names": (f"{TOML_GOOD}[{'a.' * 500}b]\n", ":8:"),
    "a long number": (TOML_GOOD.replace("10", "9" * 5000), ":7:"),
    "a list of tables": (TOML_GOOD.replace("[optimizer]", "[[optimizer]]"), ":2:.*optimizer"),
    "YAML": (GOOD, ":1:"),
}


def configs() -> list[Bad]:
    """Return all of them."""
    found = [
        Bad(
            f"{key} of line {line}: {value}", "bad.yaml", GOOD.replace(old, new.format(value)), rf"bad\.yaml:{line}:\d+"
        )
        for (old, new, key, line), values in VALUES.items()
        for value in values
    ]
    for title, table, file in (
        ("missing", MISSING, "bad.yaml"),
        ("unknown", UNKNOWN, "bad.yaml"),
        ("duplicate", DUPLICATE, "bad.yaml"),
        ("syntax", SYNTAX, "bad.yaml"),
        ("JSON", JSON, "bad.json"),
        ("TOML", TOML, "bad.toml"),
    ):
        found += [Bad(f"{title}: {name}", file, text, tells) for name, (text, tells) in table.items()]
    found += [
        Bad("suffix", "bad.ini", GOOD, r"bad\.ini"),
        Bad("no suffix", "bad", GOOD, r"bad"),
        Bad("too large", "bad.yaml", f"# {'x' * 20_000_000}\n{GOOD}", r"bad\.yaml"),
    ]
    return found
