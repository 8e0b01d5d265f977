"""torchtune: its cosine schedule in the recipe's config if that is exact, else a component that calls f(t)."""

from __future__ import annotations

from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.config.yaml_format import write
from lrfinder.export.base import Export, Exporter, head
from lrfinder.export.optimizers import handed_over, optimizer_data, optimizer_path, own_ratios
from lrfinder.export.pieces import plain

_OWN = (
    "Copy it into the recipe's config: exact for the updates of the run where the recipe's num_training_steps, which",
    "it computes from the epochs, is {steps}.",
)
_OTHER = (
    "No schedule of torchtune is this one: it has a cosine to 0, whose warm-up begins at 0, which spends the first",
    "update on nothing. The component below calls factor(t). Save the file as lrfinder_schedule.py in the directory",
    "that tune is run in, and put into the recipe's config:",
    "    lr_scheduler:",
    "      _component_: lrfinder_schedule.lr_scheduler",
)
_CHECKED = "Checked with torchtune 0.6.1, update by update."
_COMPONENT = '''\
def lr_scheduler(optimizer, num_training_steps, last_epoch=-1):
    """Return the scheduler that a recipe steps after every update; the run's length is the schedule's own."""
    del num_training_steps
    _set_peaks(optimizer)
    return LambdaLR(optimizer, factor, last_epoch)
'''


def torchtune(config: ScheduleConfig) -> Export:
    """Return `optimizer` and `lr_scheduler` of a recipe's config, or a module with the component `lr_scheduler`."""
    own = _cosine(plain(config))
    if own is not None:
        data = {
            "optimizer": {"_component_": optimizer_path(config), **optimizer_data(config)},
            "lr_scheduler": {
                "_component_": "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup",
                "num_warmup_steps": config.schedule.warmup,
                **own,
            },
        }
        notes = [note.format(steps=config.steps) for note in _OWN]
        text = write(data, "\n".join(head(config, *notes, _CHECKED)))
        return Export(text=text, preset="get_cosine_schedule_with_warmup", suffix=".yaml")
    return Export(text=handed_over(config, [*_OTHER, _CHECKED], _COMPONENT), preset=None)


def _cosine(config: ScheduleConfig) -> dict[str, float] | None:
    """Return the keywords with which torchtune's cosine is this schedule, or None; no wave at all is a constant."""
    it: Any = config.schedule
    if own_ratios(config) is not None or (it.warmup and it.warmup_start != 0):
        return None
    if it.name == "cosine" and it.final == 0:
        return {"num_cycles": 0.5}
    return {"num_cycles": 0.0} if it.name == "constant" else None


EXPORTER = Exporter(title="a torchtune recipe's YAML, or a component", export=torchtune, groups=True)
