"""A sweep in TensorBoard: the curve and the trial runs as they are measured, at the end the pick and the picture."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.engine.observer import Observer
from lrfinder.records import Point, Setup, ShortRun, SweepResult, SweepSettings, Trace
from lrfinder.report.figure import curve_png
from lrfinder.report.summary import summary_lines

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from lrfinder.advice import Advice

FOLDER = "tensorboard"  # in the run folder
_ALONE = "lrfinder-tensorboard"  # of a sweep without one


class TensorBoard(Observer):
    """Writes event files for `tensorboard --logdir`, into the run folder, or into lrfinder-tensorboard/<time>.

    sweep/loss, sweep/lr       by update; the repeats follow each other
    trials/loss, trials/lr     by trial run
    pick/lr, low, high         one value each
    pick (text), curve (image) at the end
    """

    def __init__(self, settings: SweepSettings) -> None:
        self._settings = settings
        self._run: Path | None = None
        self._writer: SummaryWriter | None = None
        self._measured = self._of_repeat = self._trials = 0

    def began(self, run: Path | None) -> None:
        """Note where the run folder is, if there is one."""
        self._run = run

    def prepared(self, setup: Setup) -> None:
        """Open the event file: now there is something to tell."""
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is not None:
            return
        alone = Path(_ALONE) / f"{setup.model}-{time.strftime('%Y%m%d-%H%M%S')}"
        self._writer = SummaryWriter(str(alone if self._run is None else self._run / FOLDER))
        facts = {
            "loss": setup.loss,
            "optimizer": setup.optimizer.name,
            "parameters": setup.parameters,
            "device": setup.device,
        }
        self._writer.add_text("setup", "  \n".join(f"{name}: {value}" for name, value in facts.items()))

    def repeat_started(self, _: int) -> None:
        """Count the points of a repeat; one that begins again overwrites its own."""
        self._of_repeat = 0

    def measured(self, point: Point) -> None:
        """Write a point of the curve."""
        if self._writer is not None:
            self._writer.add_scalar("sweep/loss", point.loss, self._measured + self._of_repeat)
            self._writer.add_scalar("sweep/lr", point.lr, self._measured + self._of_repeat)
        self._of_repeat += 1

    def repeat_ended(self, trace: Trace) -> None:
        """Let the next repeat follow this one."""
        self._measured += len(trace.lrs)

    def run_ended(self, run: ShortRun) -> None:
        """Write a trial run's rate, and the held-out loss that it reached."""
        if self._writer is not None and run.loss is not None:
            self._writer.add_scalar("trials/loss", run.loss, self._trials)
            self._writer.add_scalar("trials/lr", run.plan.lr, self._trials)
        self._trials += 1

    def finished(self, result: SweepResult, advice: Advice) -> None:
        """Write the pick, what is said of it, and the picture."""
        if self._writer is None:
            return
        pick = advice.picks[0]
        for name, rate in (("lr", advice.lr), ("low", pick.low), ("high", pick.high)):
            if rate is not None:
                self._writer.add_scalar(f"pick/{name}", rate, 0)
        self._writer.add_text("pick", "  \n".join(summary_lines(advice, result)))
        from matplotlib.image import imread

        picture = imread(io.BytesIO(curve_png(advice.chart(result))), format="png")
        self._writer.add_image("curve", picture[..., :3], dataformats="HWC")
        self._writer.close()
        self._writer = None
