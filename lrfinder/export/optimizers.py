"""The config's optimizer as source."""

from __future__ import annotations

from lrfinder.config import ScheduleConfig

# torch.optim's own; any other one is the user's, and only he knows where it is imported from.
_TORCH = frozenset(
    {
        *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam"),
        *("RMSprop", "Rprop", "SGD", "SparseAdam"),
    }
)


def optimizer_source(config: ScheduleConfig, parameters: str) -> str:
    """Return the call that makes the optimizer at the peak rate, with the settings that the rate was found with."""
    optimizer = config.optimizer
    name = f"torch.optim.{optimizer.name}" if optimizer.name in _TORCH else optimizer.name
    settings = "".join(f", {key}={value!r}" for key, value in optimizer.settings.items())
    return f"{name}({parameters}, lr=PEAK{settings})"
