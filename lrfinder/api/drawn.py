"""Results that draw themselves: a figure on request, and what a notebook shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lrfinder.records import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Drawn:
    """A base class of results of a sweep."""

    __slots__ = ()

    def _chart(self) -> Chart:
        """Return what a picture shows."""
        raise NotImplementedError

    def plot(self, path: str | os.PathLike[str] | None = None, *, ax: Axes | None = None) -> Figure:
        """Return a matplotlib figure of the sweep, its fit and the rate to use; with `path` it is written there, too.

        The trial runs have a panel of their own. With `ax` the sweep alone is drawn into those axes.
        """
        from lrfinder.report.figure import curve_figure

        figure = curve_figure(self._chart(), ax)
        if path is not None:
            figure.savefig(path)
        return figure

    def _repr_html_(self) -> str:
        from lrfinder.report.html import result_html

        return result_html(self._chart())
