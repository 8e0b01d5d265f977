"""A sweep in TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.trackers.base import Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"  # in the run folder
_ALONE = "lrfinder-tensorboard"  # of a sweep without one


class TensorBoard(Tracker):
    """Writes event files for `tensorboard --logdir`: in the run folder, or in lrfinder-tensorboard/<model>-<time>."""

    _writer: SummaryWriter

    def open(self, name: str, facts: Mapping[str, str | int | float]) -> None:
        """Open the event file, and write what is swept as the text `setup`."""
        from torch.utils.tensorboard import SummaryWriter

        folder = Path(_ALONE) / name if self._run is None else self._run / FOLDER
        # Of a sweep that was killed in a repeat, that repeat's points: it is made anew.
        again = self._measured if self._measured and not self._trials else None
        self._writer = SummaryWriter(str(folder), purge_step=again)
        self._writer.add_text("setup", "  \n".join(f"{fact}: {value}" for fact, value in facts.items()))

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, rates: Mapping[str, float], text: str, png: bytes) -> None:
        """Write the rates as scalars, the text and the image, and close the file."""
        from matplotlib.image import imread

        self.write(rates, 0)
        self._writer.add_text("pick", text.replace("\n", "  \n"))
        self._writer.add_image("curve", imread(io.BytesIO(png), format="png")[..., :3], dataformats="HWC")
        self._writer.close()
