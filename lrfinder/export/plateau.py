"""A plateau in other frameworks: their own class if it cuts at the same evaluations, else a class that does."""

from __future__ import annotations

import textwrap
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, comment
from lrfinder.export.optimizers import (
    NO_ARGUMENTS,
    groups_of_module,
    groups_source,
    module_optimizer,
    optax_alias,
    optimizer_import,
    optimizer_source,
    own_ratios,
    peaks_source,
    trainer_optimizer,
    trainers_parameters,
)
from lrfinder.export.source import function_source, rise_call
from lrfinder.schedules.base import rise
from lrfinder.schedules.plateau import observe, share

_NO_WARMUP = "No plateau of theirs has a warm-up: the class below has one."
_CLASS = '''\
class Plateau:
    """The share of the peak: factor(t) for update t, after the validation losses that observe(loss) has been given."""

    def __init__(self):
        self.seen = (math.inf, 0, 0, 0)

    def factor(self, t):
        return {warmup}share(self.seen[3], drop={drop}, floor={floor})

    def observe(self, loss):
        self.seen = observe(
            self.seen, loss, patience={patience}, threshold={threshold}, mode={mode!r}, cooldown={cooldown}
        )
'''
_SCHEDULER = '''\
class PlateauLR(Plateau, lr_scheduler.LambdaLR):
    """Call step() after every update, and observe(loss), which is step(loss), after every validation."""

    def __init__(self, optimizer):
        Plateau.__init__(self)
{begun}        lr_scheduler.LambdaLR.__init__(self, optimizer, self.factor)

    def step(self, metrics=None):
        if metrics is None or self.last_epoch < 0:  # the latter in a SequentialLR, whose step(0) is a beginning
            lr_scheduler.LambdaLR.step(self, metrics)
{uncounted}        else:
            self.observe(metrics)

    def observe(self, loss):
{twice}        super().observe(float(loss))
{heard}        for group, peak in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            rate = peak * self.factor(self.last_epoch)
            group["lr"] = group["lr"].fill_(rate) if hasattr(group["lr"], "fill_") else rate
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]
{loaded}'''
# A warm-up asks for step() after every update: losses without it are refused.
_BEGUN = "        self.heard_at = None  # the update at which the last loss came\n"
_UNCOUNTED = """\
        elif self.last_epoch == 0:
            raise ValueError("a loss came before any update was counted: call step() after every update, too")
"""
_TWICE = """\
        if self.last_epoch < {warmup} and self.last_epoch == self.heard_at:
            raise ValueError("two losses came at one update of the warm-up: call step() after every update, too")
"""
_HEARD = "        self.heard_at = self.last_epoch\n"
_LOADED = """
    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.heard_at = None
"""

_OBSERVE = '''\
class Observe(TrainerCallback):
    """For Trainer(..., callbacks=[Observe()]), with an eval_strategy: looks at the loss, or at metric_for_best_model.

    Of the latter less has to be better (greater_is_better=False).
    """

    def on_evaluate(self, args, state, control, metrics, lr_scheduler, **kwargs):
        name = args.metric_for_best_model if args.greater_is_better is False else "loss"
        name = name if name.startswith("eval_") else f"eval_{name}"
        if name in metrics:
            lr_scheduler.observe(metrics[name])
        else:
            warnings.warn(f"this evaluation has no {name}, so it can't cut the rate", stacklevel=2)
'''


def plateau_torch(config: ScheduleConfig) -> Export:
    """Return a module with `make_scheduler(optimizer)`: a ReduceLROnPlateau, or a LambdaLR with `observe(loss)`."""
    own = not config.schedule.warmup
    use = (
        "step(loss) after every validation"
        if own
        else "step() after every update, observe(loss) after every validation"
    )
    keywords = _torchs(config, "initial_lr")
    made = f"lr_scheduler.ReduceLROnPlateau(optimizer, {keywords})" if own else "PlateauLR(optimizer)"
    classes = "" if own else f"{plateau_class(config)}\n\n{_scheduler(config)}\n\n"
    text = (
        f"{comment(config, *(() if own else (_NO_WARMUP,)), 'Checked with torch 2.13, update by update.')}\n"
        f"{'' if own else 'import math' + chr(10) * 2}from torch.optim import lr_scheduler\n\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n{classes}{peaks_source(config)}\n\n"
        f'def make_scheduler(optimizer):\n    """Return the scheduler of an optimizer; call its {use}."""\n'
        f"    _set_peaks(optimizer)\n    return {made}\n"
    )
    return Export(text=text, preset="ReduceLROnPlateau" if own else None)


def plateau_lightning(config: ScheduleConfig) -> Export:
    """Return a module with `configure_optimizers(self)`, and if there is a warm-up with a hook for validations."""
    own = not config.schedule.warmup
    head = comment(
        config,
        "Copy the methods (with self) into the LightningModule, which logs the validation loss as val_loss. Leave what",
        "stands above them at the top of the file.",
        *groups_of_module(config),
        *(() if own else (_NO_WARMUP,)),
        "Checked with lightning 2.6, torch 2.13, update by update.",
    )
    doc = '    """A method of the LightningModule."""\n'
    if own:
        made = f"torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, {_torchs(config, 'lr')})"
        how = '"scheduler": scheduler, "monitor": "val_loss", "interval": "epoch", "frequency": 1'
        classes, more = "", ""
    else:
        made, how = "PlateauLR(optimizer)", '"scheduler": scheduler, "interval": "step", "frequency": 1'
        classes = f"{plateau_class(config)}\n\n{_scheduler(config)}\n\n"
        more = (
            f"\n\ndef on_validation_epoch_end(self):\n{doc}    if not self.trainer.sanity_checking:\n"
            '        self.lr_schedulers().observe(self.trainer.callback_metrics["val_loss"])\n'
        )
    text = (
        f"{head}\n{'' if own else 'import math' + chr(10) * 2}import torch\n"
        f"{'' if own else 'from torch.optim import lr_scheduler' + chr(10)}{optimizer_import(config)}\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n{classes}{groups_source(config)}def configure_optimizers(self):\n{doc}"
        f"    optimizer = {module_optimizer(config)}\n    scheduler = {made}\n"
        f'    return {{"optimizer": optimizer, "lr_scheduler": {{{how}}}}}\n{more}'
    )
    return Export(text=text, preset="ReduceLROnPlateau" if own else None)


def plateau_huggingface(config: ScheduleConfig) -> Export:
    """Return a module with `ARGUMENTS`, or with `optimizers(model)` and the callback `Observe`."""
    checked = "Checked with transformers 5.24, update by update."
    steps, optimizer, given = config.steps, trainer_optimizer(config), trainers_parameters(config)
    if not config.schedule.warmup and optimizer is not None:
        arguments = {
            "learning_rate": config.optimizer.lr,
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": _keywords(config),
            "max_steps": steps,
            **optimizer,
        }
        lines = "".join(f"    {key!r}: {value!r},\n" for key, value in arguments.items())
        note = 'For TrainingArguments(**ARGUMENTS, eval_strategy="epoch", ...): an evaluation is what may cut the rate.'
        return Export(
            text=f"{comment(config, note, checked)}\nARGUMENTS = {{\n{lines}}}\n", preset="reduce_lr_on_plateau"
        )
    text = (
        f"{comment(config, _NO_WARMUP if config.schedule.warmup else NO_ARGUMENTS, checked)}\n"
        f"import math\nimport warnings\n\nimport torch\nfrom torch.optim import lr_scheduler\n"
        f"from transformers import TrainerCallback\n{optimizer_import(config)}\nPEAK = {config.optimizer.lr!r}\n\n\n"
        f"{plateau_class(config)}\n\n{_scheduler(config)}\n\n"
        f"{_OBSERVE}\n\n{groups_source(config)}def optimizers({given}):\n"
        f'    """Return what Trainer(..., optimizers=optimizers({given})) takes; set max_steps={steps}."""\n'
        f"    optimizer = {optimizer_source(config, 'model.parameters()', 'groups')}\n"
        "    return optimizer, PlateauLR(optimizer)\n"
    )
    return Export(text=text, preset=None)


def plateau_keras(config: ScheduleConfig) -> Export:
    """Return a module with `callback`, for model.fit(callbacks=[callback])."""
    it: Any = config.schedule
    checked = "Checked with Keras 3.15, evaluation by evaluation."
    unit = f"For an optimizer built with learning_rate={config.optimizer.lr!r}, in model.fit(callbacks=[callback])."
    if it.mode == "absolute" and not it.warmup:
        note = "For the same numbers Keras cuts, and ends a cooldown, one evaluation sooner: here both are one more."
        made = (
            f'keras.callbacks.ReduceLROnPlateau(\n    monitor="val_loss",\n    mode="min",\n    factor={it.drop!r},\n'
            f"    patience={it.patience + 1},\n    min_delta={it.threshold!r},\n    cooldown={it.cooldown + 1},\n"
            f"    min_lr={it.floor * config.optimizer.lr!r},\n)"
        )
        text = f"{comment(config, note, unit, checked)}\nimport keras\n\ncallback = {made}\n"
        return Export(text=text, preset="ReduceLROnPlateau")
    why = (
        _NO_WARMUP
        if it.warmup
        else "Keras measures improvements in absolute terms alone: the class below in relative ones."
    )
    text = (
        f"{comment(config, why, unit, checked)}\nimport math\nimport warnings\n\nimport keras\n\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n"
        f"{plateau_class(config)}\n\n"
        "class PlateauCallback(Plateau, keras.callbacks.Callback):\n"
        '    """Sets the rate before every update, and looks at val_loss after every epoch."""\n\n'
        "    def __init__(self):\n"
        "        Plateau.__init__(self)\n"
        "        keras.callbacks.Callback.__init__(self)\n\n"
        "    def on_train_batch_begin(self, batch, logs=None):\n"
        "        optimizer = self.model.optimizer\n"
        "        optimizer.learning_rate = PEAK * self.factor(int(optimizer.iterations))\n\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        '        loss = (logs or {}).get("val_loss")\n'
        "        if loss is None:\n"
        '            warnings.warn("this epoch has no val_loss, so it can\'t cut the rate", stacklevel=2)\n'
        "        else:\n"
        "            self.observe(loss)\n\n\n"
        "callback = PlateauCallback()\n"
    )
    return Export(text=text, preset=None)


def plateau_optax(config: ScheduleConfig) -> Export:
    """Return a module with `plateau`, whose rate is handed to an optimizer with injected hyper-parameters."""
    own = own_ratios(config)
    ratios = [] if own is None else textwrap.wrap(f"The ratios of the config's param groups: {list(own)}.", 115)
    why = (
        "optax's reduce_on_plateau takes every update for an evaluation: the class below takes those that it is given."
    )
    text = (
        f"{comment(config, why, *ratios, 'Checked with optax 0.2.8, JAX 0.10, update by update.')}\nimport math\n\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n{plateau_class(config)}\n\n"
        "plateau = Plateau()\n\n\n"
        "def set_rate(state, t, ratio=1.0):\n"
        '    """Set the rate of update t in the state of '
        f"optax.inject_hyperparams({optax_alias(config)})(learning_rate=PEAK).\n\n"
        "    Call it before every update, and plateau.observe(loss) after every validation; `ratio`: of the group.\n"
        '    """\n'
        '    state.hyperparams["learning_rate"] = PEAK * ratio * plateau.factor(t)\n'
        "    return state\n"
    )
    return Export(text=text, preset=None)


def plateau_class(config: ScheduleConfig) -> str:
    """Return the source of the class `Plateau`, which needs `import math`: the same cuts as the config's schedule."""
    it: Any = config.schedule
    return function_source(*((rise,) if it.warmup else ()), observe, share) + _CLASS.format(
        warmup=f"({rise_call(it)} if t < {it.warmup} else 1.0) * " if it.warmup else "",
        drop=repr(it.drop),
        floor=repr(it.floor),
        patience=it.patience,
        threshold=repr(it.threshold),
        mode=it.mode,
        cooldown=it.cooldown,
    )


def _scheduler(config: ScheduleConfig) -> str:
    """Return the source of `PlateauLR`, which needs that of `Plateau`: it takes the calls of `config.scheduler`'s."""
    warmup = config.schedule.warmup
    if not warmup:
        return _SCHEDULER.format(begun="", uncounted="", twice="", heard="", loaded="")
    twice = _TWICE.format(warmup=warmup)
    return _SCHEDULER.format(begun=_BEGUN, uncounted=_UNCOUNTED, twice=twice, heard=_HEARD, loaded=_LOADED)


def _keywords(config: ScheduleConfig) -> dict[str, Any]:
    """Return the keywords of torch's ReduceLROnPlateau for param groups that all have the peak: its floor is a rate."""
    it: Any = config.schedule
    return {
        "factor": it.drop,
        "patience": it.patience,
        "threshold": it.threshold,
        "threshold_mode": "rel" if it.mode == "relative" else "abs",
        "cooldown": it.cooldown,
        "min_lr": it.floor * config.optimizer.lr,
        "eps": 0.0,
    }


def _torchs(config: ScheduleConfig, peak: str) -> str:
    """Return the keywords as source, with a floor for each group of `optimizer`, whose peak it has under that key."""
    it: Any = config.schedule
    keywords = {key: repr(value) for key, value in _keywords(config).items()}
    if it.floor:
        keywords["min_lr"] = f'[{it.floor!r} * group["{peak}"] for group in optimizer.param_groups]'
    return ", ".join(f"{key}={value}" for key, value in keywords.items())
