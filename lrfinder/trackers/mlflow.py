"""A sweep in MLflow."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.trackers.base import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_SEND_EVERY_S = 1.0  # a call of the store costs milliseconds, an update may cost less
_MOST_AT_ONCE = 1000  # metrics, as the store takes them


class MLflow(Tracker):
    """Makes a run where MLFLOW_TRACKING_URI says, by default in mlflow.db, of the experiment `lrfinder`.

    MLFLOW_EXPERIMENT_NAME names another experiment. A run that is active in this program isn't touched.
    """

    _client: MlflowClient

    def open(self, name: str, facts: Mapping[str, str | int | float]) -> None:
        """Make the run, with the facts as its params."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lrfinder")
        found = self._client.get_experiment_by_name(title)
        experiment = self._client.create_experiment(title) if found is None else found.experiment_id
        self._id = self._client.create_run(experiment, run_name=name).info.run_id
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()
        self._client.log_batch(self._id, params=[Param(fact, str(value)) for fact, value in facts.items()])

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Keep the values as metrics, which are sent once a second."""
        from mlflow.entities import Metric

        self._waiting += [Metric(name, value, int(time.time() * 1000), step) for name, value in values.items()]
        if time.monotonic() - self._sent >= _SEND_EVERY_S:
            self._send()

    def close(self, rates: Mapping[str, float], text: str, png: bytes) -> None:
        """Send what waits, the rates as metrics, pick.txt and curve.png as artifacts, and end the run."""
        self.write(rates, 0)
        self._send()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "pick.txt").write_text(text + "\n", encoding="utf-8")
            (Path(folder) / "curve.png").write_bytes(png)
            self._client.log_artifacts(self._id, folder)
        self._client.set_terminated(self._id)

    def _send(self) -> None:
        for begin in range(0, len(self._waiting), _MOST_AT_ONCE):
            self._client.log_batch(self._id, metrics=self._waiting[begin : begin + _MOST_AT_ONCE])
        self._waiting = []
        self._sent = time.monotonic()
