"""Figures that a notebook shows whether or not pyplot is loaded."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Picture(Figure):
    """A matplotlib figure of nobody's window: it is saved, or shown by a notebook."""

    def __init__(self, **options: Any) -> None:
        """`options` are those of a figure."""
        super().__init__(**options)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()
