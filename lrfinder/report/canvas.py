"""A canvas of characters to plot on, and its plain ASCII form."""

from __future__ import annotations

from typing import Any, Final

_FRAME_IN_ASCII: Final = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")  # plotext has no frame in ASCII


# Blue, orange, green, magenta, red and gray by their numbers of the 256-color table above the first 16, which every
# terminal draws as it likes: these have a contrast of more than 3 : 1 (WCAG 2.1 for graphics) on white and on black.
SHADES: Final = (32, 166, 29, 133, 160, 243)


def canvas(width: int, height: int) -> Any:
    """Return an empty plotext figure of `width` x `height` characters, with an axis on the left and one below.

    It is a figure of our own, as large as asked for: the one that plotext offers is shared by the whole process
    and never larger than the terminal.
    """
    import plotext

    terminal = type(plotext.terminal)().limit(width=False, height=False)
    figure = type(plotext.figure)(terminal)
    figure.plot_size(width, height)
    figure.theme("colorless")  # the terminal's own background and frame; colors come with the marks
    figure.axes(active=False, axis="x", side="upper")
    figure.axes(active=False, axis="y", side="right")
    return figure


def render(figure: Any, *, color: bool) -> list[str]:
    """Return the lines of a figure, without trailing blanks; without `color`, there are no escape codes in them."""
    return [line.rstrip() for line in figure.build().string(colorless=not color).splitlines()]


def in_ascii(text: str) -> str:
    """Return `text` with an ASCII frame, and "?" for whatever else is not ASCII."""
    return text.translate(_FRAME_IN_ASCII).encode("ascii", "replace").decode("ascii")
