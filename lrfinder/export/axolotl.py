"""axolotl: transformers' or its own schedule in the YAML config if that is exact, else a plugin that calls f(t)."""

from __future__ import annotations

from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.config.yaml_format import write
from lrfinder.export.base import Export, Exporter, head
from lrfinder.export.huggingface import trainer_schedule
from lrfinder.export.optimizers import handed_over
from lrfinder.export.pieces import plain

_OWN = "Copy it into the config; exact for the updates of the run."
_OTHER = (
    "No lr_scheduler is this schedule: transformers' and axolotl's warm-ups begin at 0, which spends the first update",
    "on nothing, and axolotl's rex is another curve. The plugin below calls factor(t). Save the file as",
    "lrfinder_schedule.py where Python finds it (PYTHONPATH), and put into the config:",
)
_CHECKED = "Checked with axolotl 0.19 (plugins that make the scheduler), transformers 5.24, update by update."
_PLUGIN = '''\
class SchedulePlugin(BasePlugin):
    """What axolotl asks for the scheduler before it makes its own."""

    def create_lr_scheduler(self, cfg, trainer, optimizer, num_training_steps):
        _set_peaks(optimizer)
        return LambdaLR(optimizer, factor)
'''


def axolotl(config: ScheduleConfig) -> Export:
    """Return the keys of a config that set the rate, or a module with a plugin."""
    own = _own(plain(config))
    peak, steps = config.optimizer.lr, config.steps
    if own is not None:
        name, keywords = own
        data = {
            "learning_rate": peak,
            "lr_scheduler": name,
            **({"lr_scheduler_kwargs": keywords} if keywords else {}),
            "warmup_steps": config.schedule.warmup,
            "max_steps": steps,
        }
        text = write(data, "\n".join(head(config, _OWN, _CHECKED)))
        return Export(text=text, preset=name, suffix=".yaml")
    keys = write({"plugins": ["lrfinder_schedule.SchedulePlugin"], "learning_rate": peak, "max_steps": steps}, "")
    notes = [*_OTHER, *(f"    {line}" for line in keys.splitlines())]
    imports = "from axolotl.integrations.base import BasePlugin\n"
    return Export(text=handed_over(config, [*notes, _CHECKED], _PLUGIN, imports=imports), preset=None)


def _own(config: ScheduleConfig) -> tuple[str, dict[str, Any]] | None:
    """Return the `lr_scheduler` and its keywords that are this schedule, or None."""
    it: Any = config.schedule
    if it.warmup == 1:
        return None  # axolotl makes it 2
    # axolotl's one_cycle is torch's OneCycleLR, which can't end at 0, and needs two updates on each side of the peak.
    if it.name == "one-cycle" and it.final > 0 and 1 <= it.rise * it.steps - 1 <= it.steps - 2:
        return "one_cycle", {
            "pct_start": it.rise,
            "anneal_strategy": it.anneal,
            "div_factor": 1 / it.start,
            "final_div_factor": it.start / it.final,
            "cycle_momentum": False,
        }
    return trainer_schedule(config)


# Its trainer makes the param groups itself: with weight decay, and without.
EXPORTER = Exporter(title="axolotl's YAML, or a plugin", export=axolotl)
