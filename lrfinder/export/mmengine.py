"""MMEngine: a list of its own schedulers if those are exact, warm-up included, else one that calls f(t).

Its schedulers work from update `begin` on and stop before `end`, and what they leave is held. `LinearLR` and `PolyLR`
reach their end with update `end - 1`: a decay that is over at update T, after the run, has `end` = T + 1.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export.base import Export, Exporter, comment, digest, factor_of
from lrfinder.export.optimizers import class_of, own_ratios
from lrfinder.export.pieces import cycles, drops, interval, plain
from lrfinder.export.source import setting

_UNIT = (
    "MMEngine steps its schedulers once per iteration: with accumulative_counts above 1 an iteration is less than an",
    "update, and the rates come too early.",
)
_COPY = "Copy it into the config file. train_cfg's max_iters is {steps}."
_CHECKED = "Checked with MMEngine 0.10.7, update by update."
_NONE = (
    "No chain of MMEngine's schedulers is this schedule: the class below calls factor(t). Save the file as",
    "lrfinder_schedule.py where Python finds it, and add to the config file, with max_iters {steps}:",
)
_RATIOS = "The config's param groups have the ratios {ratios}: this file leaves them out, for MMEngine needs names."
_ADD = (
    'Add to optim_wrapper: paramwise_cfg=dict(custom_keys={"NAME": dict(lr_mult=RATIO), ...}); the schedulers keep it.'
)
_CONFIG = """\
custom_imports = dict(imports=["lrfinder_schedule"])
{optimizer}
param_scheduler = [dict(type="{name}", by_epoch=False)]"""
_CLASS = '''\
@PARAM_SCHEDULERS.register_module(force=True)
class {name}(_ParamScheduler):
    """The rate of update t is the param group's initial one times factor(t)."""

    def __init__(self, optimizer, **keywords):
        super().__init__(optimizer, "lr", **keywords)

    def _get_value(self):
        return [peak * factor(self.last_step) for peak in self.base_values]
'''


def mmengine(config: ScheduleConfig) -> Export:
    """Return `optim_wrapper` and `param_scheduler` of a config file, or a module with a scheduler class."""
    steps, ratios = config.steps, own_ratios(config)
    left_out = () if ratios is None else (_RATIOS.format(ratios=list(ratios)),)
    unsaid = [line for sentence in left_out for line in (*textwrap.wrap(sentence, 115), _ADD)]
    chain = _chain(plain(config))
    if chain is not None:
        listed = "".join(f"    dict({entry}, by_epoch=False),\n" for entry in chain)
        start = comment(config, _COPY.format(steps=steps), *unsaid, *_UNIT, _CHECKED)
        text = f"{start}\n{_optimizer(config)}\nparam_scheduler = [\n{listed}]\n"
        return Export(text=text, preset=" + ".join(entry.split('"')[1] for entry in chain), left_out=left_out)
    name = f"Factor{digest(config)}LR"
    made = _CONFIG.format(optimizer=_optimizer(config), name=name)
    added = [f"    {line}" for line in made.splitlines()]
    notes = [note.format(steps=steps) for note in _NONE]
    text = (
        f"{comment(config, *notes, *added, *unsaid, *_UNIT, _CHECKED)}\nimport math\n\n"
        "from mmengine.optim import _ParamScheduler\nfrom mmengine.registry import PARAM_SCHEDULERS\n\n\n"
        f"{factor_of(config)}\n\n{_CLASS.format(name=name)}"
    )
    return Export(text=text, preset=None, left_out=left_out)


def _optimizer(config: ScheduleConfig) -> str:
    it = config.optimizer
    if "type" in it.settings:
        raise UsageError("optimizer.settings.type: MMEngine takes `type` for the class", hint="remove it")
    settings = "".join(f", {key}={setting(value)}" for key, value in it.settings.items())
    made = f'dict(type="{class_of(config)}", lr={it.lr!r}{settings})'
    return f'optim_wrapper = dict(type="OptimWrapper", optimizer={made})'


def _chain(config: ScheduleConfig) -> list[str] | None:
    """Return MMEngine's own schedulers, one after the other, that are this schedule; or None.

    Only those that keep the ratios of param groups: no absolute floor or peak.
    """
    it: Any = config.schedule
    begin, end = it.warmup, it.steps
    exact: dict[str, Callable[[], list[str] | None]] = {
        "constant": lambda: [] if begin else ['type="ConstantLR", factor=1.0'],
        "linear": lambda: [_line(begin, end, it.final)],
        "cosine": lambda: [_cosine(begin, end, it.final)],
        "polynomial": lambda: _polynomial(it),
        "wsd": lambda: _wsd(it),
        "step": lambda: _drops(it),
        "multi-step": lambda: _drops(it),
        "geometric": lambda: _drops(it),
        "exponential": lambda: _drops(it) if it.staircase else [_exponential(it)],
        "cosine-restarts": lambda: _restarts(it),
    }
    decay = exact[it.name]() if it.name in exact else None
    if decay is None:
        return None
    if not begin:
        return decay
    rise = _rise(it)
    if rise is None:
        return None
    return [rise, *decay] if begin < end else [rise]


def _rise(it: Any) -> str | None:
    """Return the warm-up; from 0 there is none, since MMEngine multiplies the rate that it finds."""
    if it.warmup_start is None:
        return f'type="LinearLR", start_factor=1 / {it.warmup}, begin=0, end={it.warmup}'
    if it.warmup_start == 0:
        return None
    return f'type="LinearLR", start_factor={it.warmup_start!r}, begin=0, end={it.warmup + 1}'


def _line(begin: int, end: int, final: float) -> str:
    return f'type="LinearLR", start_factor=1.0, end_factor={final!r}, begin={begin}, end={end + 1}'


def _cosine(begin: int, end: int, final: float) -> str:
    return f'type="CosineAnnealingLR", T_max={end - begin}, eta_min_ratio={final!r}, begin={begin}, end={end}'


def _polynomial(it: Any) -> list[str] | None:
    end = it.steps if it.over is None else it.warmup + it.over
    if it.cycle or (it.final and it.power != 1):
        return None
    if it.power == 1:
        return [_line(it.warmup, end, it.final)]
    return [f'type="PolyLR", power={it.power!r}, begin={it.warmup}, end={end + 1}']


def _wsd(it: Any) -> list[str] | None:
    begin = max(it.warmup, it.steps - it.cooldown)
    if it.cooldown == 0:
        return [] if it.warmup else ['type="ConstantLR", factor=1.0']
    fall = {"linear": _line, "cosine": _cosine}.get(it.shape)
    return None if fall is None else [fall(begin, it.steps, it.final)]


def _exponential(it: Any) -> str:
    return f'type="ExponentialLR", gamma={it.base!r} ** (1 / {it.every}), begin={it.warmup}'


def _drops(it: Any) -> list[str] | None:
    regular = interval(it)
    if regular is not None:
        return [f'type="StepLR", step_size={regular[0]}, gamma={regular[1]!r}, begin={it.warmup}']
    listed = drops(it)
    if listed is None:
        return None
    return [f'type="MultiStepLR", milestones={listed[0]}, gamma={listed[1]!r}, begin={it.warmup}']


def _restarts(it: Any) -> list[str] | None:
    count, lengths = cycles(it)
    if lengths is None:
        return None
    if it.growth == 1 and it.shrink == 1:
        periods, weights = f"{lengths} * {count}", f"[1.0] * {count}"
    elif it.growth == 1:
        return None  # a weight of its own for each of perhaps many cycles
    else:
        periods = str(lengths)
        weights = str([max(it.shrink**cycle, it.final) for cycle in range(count)])
    floor = f"eta_min_ratio={it.final!r}, begin={it.warmup}"
    return [f'type="CosineRestartLR", periods={periods}, restart_weights={weights}, {floor}']


EXPORTER = Exporter(title="MMEngine's param_scheduler", export=mmengine, groups=True)
