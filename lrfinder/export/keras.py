"""Keras 3: its own LearningRateSchedule if that is exact, else one that looks f(t) up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import (
    SMALLEST_FLOAT32,
    WHOLE_FLOAT32,
    Export,
    Exporter,
    comment,
    digest,
    factor_of,
)
from lrfinder.export.pieces import drops, plain, power_in_float32
from lrfinder.export.plateau import plateau_keras

_CHECKED = "Checked with Keras 3.15, update by update."

_TABLE = '''\
@keras.saving.register_keras_serializable("lrfinder", name="Schedule-{digest}")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of optimizer.iterations = 0, 1, 2, ..., looked up; past the end the last value is held.

    A saved model finds it by its name, which the schedule of no other config has: import this file before loading.
    """

    def __init__(self):
        rates = np.fromiter((PEAK * factor(t) for t in range({entries})), "float32", {entries})
        self.rates = keras.ops.convert_to_tensor(rates)

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.minimum(keras.ops.cast(step, "int32"), {last}))

    def get_config(self):
        return {{}}


schedule = Schedule()
'''
_MOST = 8  # drops: Keras compares the update with each of them
_LOOKED_UP = "No schedule of Keras is this one: its rates are looked up."
_UNIT = (
    "With gradient_accumulation_steps Keras counts micro-batches as iterations, not updates: f(t) is then off.",
    "Keras computes in single precision: it is equal to within 1e-6 of the peak.",
)


def keras(config: ScheduleConfig) -> Export:
    """Return a module with `schedule`, for optimizer(learning_rate=schedule)."""
    same = plain(config)
    preset = _warmed_up(same) if same.schedule.warmup else _preset(same)
    if preset is not None:
        text = f"{comment(config, *_UNIT, _CHECKED)}\nimport keras\n\nschedule = keras.optimizers.schedules.{preset}\n"
        return Export(text=text, preset=preset.split("(", maxsplit=1)[0])
    steps = config.schedule.steps
    text = (
        f"{comment(config, _LOOKED_UP, *_UNIT, _CHECKED)}\nimport math\n\n"
        f"import keras\nimport numpy as np\n\nPEAK = {config.optimizer.lr!r}\n\n\n{factor_of(config)}\n\n"
        f"{_TABLE.format(entries=steps + 1, last=steps, digest=digest(config))}"
    )
    return Export(text=text, preset=None)


def _warmed_up(config: ScheduleConfig) -> str | None:
    """Return the call of the one schedule of Keras that has a warm-up, which is at the peak with update W."""
    it: Any = config.schedule
    peak, length = config.optimizer.lr, it.steps - it.warmup
    if it.name != "cosine" or it.warmup_start is None or not length:
        return None
    rise = f"warmup_target={peak!r}, warmup_steps={it.warmup}"
    return f"CosineDecay({it.warmup_start * peak!r}, {length}, alpha={it.final!r}, {rise})"


def _preset(config: ScheduleConfig) -> str | None:
    """Return the call of Keras's own schedule that is this one without a warm-up, or None."""
    it: Any = config.schedule
    peak, steps = config.optimizer.lr, config.schedule.steps
    exact: dict[str, Callable[[], str | None]] = {
        "linear": lambda: f"PolynomialDecay({peak!r}, {steps}, end_learning_rate={it.final * peak!r})",
        "cosine": lambda: f"CosineDecay({peak!r}, {steps}, alpha={it.final!r})",
        "polynomial": lambda: (
            f"PolynomialDecay({peak!r}, {it.over or steps}, end_learning_rate={it.final * peak!r}, power={it.power!r})"
            if not it.cycle and power_in_float32(it.power, it.over or steps)
            else None
        ),
        "exponential": lambda: _exponential(it, peak, it.base, staircase=it.staircase),
        "step": lambda: _exponential(it, peak, it.drop, staircase=True),
        "multi-step": lambda: _drops(it, peak),
        "geometric": lambda: _drops(it, peak),
        "time-based": lambda: (
            f"InverseTimeDecay({peak!r}, {it.every}, {it.rate!r}, staircase=True)"
            if not it.compounded and steps <= WHOLE_FLOAT32
            else None
        ),
    }
    return exact[it.name]() if it.name in exact else None


def _exponential(it: Any, peak: float, share: float, *, staircase: bool) -> str | None:
    if share < SMALLEST_FLOAT32 or (staircase and it.steps > WHOLE_FLOAT32):
        return None
    return f"ExponentialDecay({peak!r}, {it.every}, {share!r}, staircase={staircase})"


def _drops(it: Any, peak: float) -> str | None:
    """Return Keras's piecewise constants; what begins at update b there has the boundary b - 1."""
    listed = drops(it)
    if listed is None or len(listed[0]) > _MOST or it.steps > WHOLE_FLOAT32:
        return None
    updates, share = listed
    begins = sorted(set(updates))
    rates = [peak * share ** sum(update <= begin for update in updates) for begin in begins]
    return f"PiecewiseConstantDecay({[begin - 1 for begin in begins]}, {[peak, *rates]})"


EXPORTER = Exporter(title="a Keras 3 LearningRateSchedule", export=keras, plateau=plateau_keras)
