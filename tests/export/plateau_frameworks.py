"""Train with exported plateaus in Keras or optax: JSON jobs on standard input, the rates used on standard output.

A process of its own: Keras and JAX settle their devices and threads when they are imported.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def run_keras(names: dict[str, Any], losses: list[float | None], updates: int) -> list[float]:
    """Fit for as many epochs as there are losses, each of `updates` updates; the losses stand in for Keras's own."""
    import keras
    import numpy as np

    used = []

    class Scripted(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if losses[epoch] is not None:
                logs["val_loss"] = losses[epoch]

    class Log(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            used.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate=names.get("PEAK", json.loads(os.environ["PEAK"]))), loss="mse")
    model.fit(
        np.zeros((4 * updates, 3), "float32"),
        np.zeros((4 * updates, 1), "float32"),
        batch_size=4,
        epochs=len(losses),
        callbacks=[Scripted(), names["callback"], Log()],
        verbose=0,
    )
    return used


def run_optax(names: dict[str, Any], losses: list[float], updates: int) -> list[float]:
    import jax.numpy as jnp
    import optax

    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=names["PEAK"])
    weight = jnp.zeros(1)
    state, used = optimizer.init(weight), []
    for loss in losses:
        for _ in range(updates):
            state = names["set_rate"](state, len(used))
            step, state = optimizer.update(jnp.ones(1), state)
            used.append(-float(step[0]))
        names["plateau"].observe(loss)
    return used


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    rates = []
    for job in json.load(sys.stdin):
        names: dict[str, Any] = {"__name__": "exported"}
        exec(job["text"], names)  # noqa: S102 - our own text
        run = {"keras": run_keras, "optax": run_optax}[job["target"]]
        rates.append(run(names, job["losses"], job["updates"]))
    print(json.dumps(rates))
