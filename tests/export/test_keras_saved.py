"""Two exported Keras schedules in one program, saved with their models and loaded again, keep their own rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.zygote import Zygote
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.export import export_schedule
from lrfinder.schedules import Rex

_SCRIPT = """
import json, sys
import keras
import numpy as np

def saved(module):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate=module.schedule), loss="mse")
    model.fit(np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32"), batch_size=2, verbose=0)
    model.save(f"{module.__name__}.keras")

def rate(name):
    optimizer = keras.saving.load_model(f"{name}.keras").optimizer
    return [int(optimizer.iterations), float(optimizer.learning_rate)]

import a_rates
saved(a_rates)
import b_rates
saved(b_rates)
again = [rate("a_rates"), rate("b_rates")]
del sys.modules["a_rates"]
open("a_rates.py", "w").write(open("c_rates.py").read())
import a_rates  # exported anew, for another config
print(json.dumps([*again, rate("a_rates")]))
"""


@pytest.mark.needs("keras")
def test_a_saved_model_keeps_the_rates_that_it_was_trained_with(zygote: Zygote, tmp_path: Path) -> None:
    made = {
        name: ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=peak), schedule=Rex(steps=10))
        for name, peak in {"a": 0.01, "b": 0.5, "c": 0.7}.items()
    }
    for name, config in made.items():
        (tmp_path / f"{name}_rates.py").write_text(export_schedule(config, "keras").text)
    printed = zygote.python(_SCRIPT, cwd=tmp_path, env={"KERAS_BACKEND": "torch"})
    (at, a), (_, b), (_, third) = json.loads(printed.splitlines()[-1])
    assert at == 2
    for found, right in ((a, made["a"]), (b, made["b"]), (third, made["a"])):
        assert abs(found - right.rate(2)) <= 1e-6 * right.optimizer.lr
