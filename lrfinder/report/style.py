"""The look of the figures: one palette, one set of sizes, whatever the user's matplotlib settings say."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which stays apart under all common forms of color blindness (jfly.uni-koeln.de/color).
BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"

INK: Final = "#222222"
GRAY: Final = "#6B6B6B"  # 5.3 : 1 on white, above the 4.5 : 1 that WCAG 2.1 asks of small text
FAINT: Final = "#E4E4E4"

FIT: Final = BLUE
PICK: Final = VERMILION
UNCERTAIN: Final = "#946200"  # a dark orange, 5.3 : 1 on white
BAND: Final = GREEN
CRAWLS: Final = SKY
DIVERGES: Final = VERMILION
RUN: Final = "#7A3E66"  # a dark purple: the ends of trial runs, on top of the light dots
REPEATS: Final = (SKY, ORANGE, PURPLE)  # drawn light, and again from the first if there are more repeats

TITLE_PT: Final = 12.5
PICK_PT: Final = 12
TEXT_PT: Final = 9.5
SMALL_PT: Final = 8.5

_SETTINGS: Final[dict[str, Any]] = {
    "text.parse_math": False,  # a model may be called anything, dollar signs included
    "font.family": ["sans-serif"],
    "font.size": TEXT_PT,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.unicode_minus": False,  # so that a loss on the axis is written as it is everywhere else
    "text.hinting": "none",  # true letter shapes; hinted to whole pixels, bold type looks like another font
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "svg.hashsalt": "lrfinder",  # the same curve gives the same bytes
}


def load_matplotlib() -> None:
    """Import matplotlib without its warning that it keeps its fonts elsewhere, since the home can't be written."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager  # noqa: F401 - it is what looks for the folder
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Draw with lrfinder's settings; the user's own come back afterwards."""
    import matplotlib as mpl
    import matplotlib.style

    from lrfinder.fit import usual_arithmetic

    with mpl.style.context(["default", _SETTINGS]), usual_arithmetic():
        yield


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes belong to: `get_figure(root=True)`, which matplotlib 3.9 hasn't yet."""
    return axes.figure.figure


def with_known_glyphs(text: str) -> str:
    """Return `text` on one line, with a box for every character that matplotlib's own font lacks.

    Left to itself, matplotlib draws a box too, and warns for each.
    """
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return "".join(letter if font.get_char_index(ord(letter)) else "\u25a1" for letter in " ".join(text.split()))


def shortened(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters if it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."
