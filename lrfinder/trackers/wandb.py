"""A sweep in Weights & Biases."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

from lrfinder.trackers.base import Tracker


class WandB(Tracker):
    """Makes a run of the project `lrfinder` in the run folder, or in the current one; WANDB_PROJECT names another.

    It is made offline: nothing leaves the machine until `wandb sync` uploads it, unless WANDB_MODE says "online". A run
    that is active in this program isn't touched.
    """

    _made: Any

    def open(self, name: str, facts: Mapping[str, str | int | float]) -> None:
        """Make the run, with the facts as its config."""
        import wandb

        self._made = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lrfinder"),
            name=name,
            dir=None if self._run is None else str(self._run),
            config=dict(facts),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type, unused-ignore]
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        for part in ("sweep", "trials"):
            self._made.define_metric(f"{part}/*", step_metric=f"{part}/step")

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Log the values, with the step that they are drawn over."""
        part = next(iter(values)).partition("/")[0]
        self._made.log({**values, f"{part}/step": step})

    def close(self, rates: Mapping[str, float], text: str, png: bytes) -> None:
        """Put the rates and the text into the summary, log the picture, and end the run."""
        import wandb
        from PIL import Image

        self._made.log({"curve": wandb.Image(Image.open(io.BytesIO(png)))})
        self._made.summary.update({**rates, "pick": text})
        self._made.finish()
