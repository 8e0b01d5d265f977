"""Values that an option doesn't take: the message says what was given, what is taken, and what may have been meant."""

from __future__ import annotations

import pytest

from lrfinder.cli.arguments.values import plain_words

WRONG = {
    (
        "sweep",
        "m.py",
        "--metric",
        "trian",
    ): "'trian' is not one of them; did you mean train? choose one of: train,",
    (
        "sweep",
        "m.py",
        "--mode=rstart",
    ): "'rstart' is not one of them; did you mean restart? choose one of: ",
    ("check", "m.py", "--config", "c", "--graph", "xyz"): "'xyz' is not one of them; choose one of: off, auto, on",
    ("sweep", "m.py", "--repeats", "two"): "Invalid value for '--repeats': 'two' is not a whole number",
    ("recommend", "run", "--epochs=ten"): "Invalid value for '--epochs': 'ten' is not a number",
    ("sweep", "m.py", "--seed", "-3"): "Invalid value for '--seed': -3 must be at least 0",
    ("sweep", "m.py", "--steps", "1.5"): "'1.5' is not a whole number; 10000, 1e4 and 10k are",
    ("schedule", "batches", "c.yaml", "--samples", "x", "--batch-size", "1"): "'x' is not a whole number",
    ("recommend", "run", "--steps", "1e9999999"): "'1e9999999' is not a whole number; 10000, 1e4 and 10k are",
    ("runs", "--keep", "3"): "--keep says nothing without --clean",
    ("runs", "--yes"): "--yes says nothing without --clean",
    ("init", "no/folder/net.py"): "no/folder/net.py: its folder is not there",
    ("init", "mymodel"): "mymodel: expected a name that ends in .py",
    ("recommend", "run", "--schedule"): "Option '--schedule' requires an argument",
}


@pytest.mark.parametrize("words", WRONG)
def test_it_is_told_in_plain_words(cli, words: tuple[str, ...]) -> None:
    done = cli(*words)
    assert done.returncode == 2
    assert WRONG[words] in done.stderr
    assert "Value error" not in done.stderr
    assert "Input should" not in done.stderr


@pytest.mark.parametrize(
    ("said", "value", "told"),
    [
        ("'two' is not a valid integer.", "two", "'two' is not a whole number"),
        ("'ten' is not a valid float.", "ten", "'ten' is not a number"),
        ("-3 is not in the range x>=0.", "-3", "-3 must be at least 0"),
        ("0.0 is not in the range x>0.", "0", "0 must be greater than 0"),
        ("7 is not in the range x<=5.", "7", "7 must be at most 5"),
        ("7 is not in the range 0<=x<=5.", "7", "7 is not in the range 0<=x<=5."),
    ],
)
def test_what_typer_said_before_0_29_is_told_so_too(said: str, value: str, told: str) -> None:
    assert plain_words(said, ("--seed",), ["sweep", "m.py", "--seed", value]) == told
