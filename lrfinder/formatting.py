"""How numbers are written for people, the same way in every table, plot and message."""

from __future__ import annotations

import math
import signal

# Rates outside are mostly zeros when written out: 0.000031 is harder to read than 3.1e-05.
SMALLEST_PLAIN_RATE = 0.001
LARGEST_PLAIN_RATE = 1000.0
# Losses are compared with each other rather than with powers of ten, so more of them are written out.
SMALLEST_PLAIN_LOSS = 0.001
LARGEST_PLAIN_LOSS = 1_000_000.0

MINUTE_S = 60
HOUR_S = 3600
KIBI = 1024


def _significant(value: float, *, digits: int, smallest: float, largest: float) -> str:
    """Write `value` with at most `digits` significant digits, plainly if smallest <= abs(value) <= largest."""
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"  # adding 0.0 turns -0.0 into 0.0
    scientific = f"{value:.{digits - 1}e}"  # rounds first, so that 0.00099996 is judged as the 0.001 it is written as
    rounded = float(scientific)
    if smallest <= abs(rounded) <= largest:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
        plain = f"{rounded:.{decimals}f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa, exponent = scientific.split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{exponent}"


def format_lr(lr: float) -> str:
    """Write a rate with 3 significant digits: "0.0031", "0.178", "12"; "3.1e-05" outside 0.001 to 1000."""
    return _significant(lr, digits=3, smallest=SMALLEST_PLAIN_RATE, largest=LARGEST_PLAIN_RATE)


def round_lr(lr: float, digits: int) -> float:
    """Return the rate with so many significant digits: four for one to try, three for one to train with.

    Rates to try lie at least 0.02 decade apart, and with four digits they still differ. Three digits move a rate by
    0.5 % at most, far less than any interval is wide.
    """
    return float(f"{lr:.{digits}g}")


def format_loss(value: float) -> str:
    """Write a loss with 4 significant digits: "2.303", "48210", "-1.25"; "1.2e-05" outside 0.001 to a million."""
    return _significant(value, digits=4, smallest=SMALLEST_PLAIN_LOSS, largest=LARGEST_PLAIN_LOSS)


def quoted(text: str) -> str:
    """Write a text as a string of Python on one line, in double quotes if all of it can be printed."""
    import json  # not needed for --help

    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)


def format_interval(low: float, high: float) -> str:
    """Write a range of rates: "0.0011 to 0.0084"."""
    return f"{format_lr(low)} to {format_lr(high)}"


def format_factor(decades: float) -> str:
    """Write which way and how far a rate moves: "up by a factor of 1.41", "down by a factor of 2.00"."""
    return f"{'down' if decades < 0 else 'up'} by a factor of {10 ** abs(decades):.2f}"


def decade(exponent: int) -> str:
    """Write a power of ten as short as an axis needs it: "1e-4", "1e0"."""
    return f"1e{exponent}"


def format_duration(seconds: float) -> str:
    """Write a span of time with the two units that matter: "0.8 s", "42 s", "3 min 05 s", "2 h 03 min".

    Raises ValueError for a negative or a non-finite span.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds must be a finite number of at least 0, got {seconds}")
    if seconds < 9.95:  # noqa: PLR2004 - from here on a tenth of a second would be written as "10.0 s"
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    minutes = round(seconds / MINUTE_S)
    return f"{minutes // MINUTE_S} h {minutes % MINUTE_S:02d} min"


def format_count(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun in the singular or the plural, the regular one or `plural`: "3 repeats"."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def format_bytes(count: int) -> str:
    """Write a size in memory or on a disk: "512 bytes", "1.4 MiB", "23.5 GiB"."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= KIBI and len(units) > 1:
        size, units = size / KIBI, units[1:]
    return f"{count} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def format_end(status: int | None) -> str:
    """Return how a process ended, by its exit status: "was ended by SIGKILL" for -9, "did not end" for None."""
    if status is None:
        return "did not end"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-status}"
