"""Lightning: `configure_optimizers`, stepped once per update."""

from __future__ import annotations

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter, comment, factor_of
from lrfinder.export.optimizers import groups_of_module, groups_source, module_optimizer, optimizer_import
from lrfinder.export.plateau import plateau_lightning

_CHECKED = "Checked with lightning 2.6, torch 2.13, update by update."

_COPY = "Copy configure_optimizers into the LightningModule; leave what stands above it at the top of the file."
_CONFIGURE = '''\
def configure_optimizers(self):
    """A method of the LightningModule: the interval is "step", since Lightning's default is once per epoch."""
    optimizer = {optimizer}
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {{"optimizer": optimizer, "lr_scheduler": {{"scheduler": scheduler, "interval": "step", "frequency": 1}}}}
'''


def lightning(config: ScheduleConfig) -> Export:
    """Return a module with `factor(t)` and `configure_optimizers(self)`, to be copied into a LightningModule."""
    text = (
        f"{comment(config, _COPY, *groups_of_module(config), _CHECKED)}"
        f"\nimport math\n\nimport torch\n{optimizer_import(config)}\nPEAK = {config.optimizer.lr!r}\n\n\n"
        f"{factor_of(config)}\n\n"
        f"{groups_source(config)}{_CONFIGURE.format(optimizer=module_optimizer(config))}"
    )
    return Export(text=text, preset=None)


EXPORTER = Exporter(
    title="configure_optimizers of a LightningModule", export=lightning, plateau=plateau_lightning, groups=True
)
