"""Find the learning rate of your own PyTorch model, and write the decay schedule that uses it.

result = lrfinder.sweep("model.py")                     # or sweep(model=net, train_loader=loader, loss_fn=loss, ...)
advice = lrfinder.recommend(result, steps=10_000)
advice.save("schedule.yaml")

scheduler = lrfinder.load_schedule("schedule.yaml").scheduler(optimizer)      # in the training script
"""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

from lrfinder.errors import (
    ConfigError,
    EnvironmentFailure,
    LrfinderError,
    ModelFileError,
    RunError,
    UsageError,
)

if TYPE_CHECKING:
    from lrfinder.advice.checks.check import CheckResult
    from lrfinder.advice.checks.used_rates import UsedRates
    from lrfinder.advice.comparison import Comparison
    from lrfinder.advice.verify.verification import Verification
    from lrfinder.api.attach import attach
    from lrfinder.api.check import check, check_log
    from lrfinder.api.dry_run import dry_run
    from lrfinder.api.find import Found, find
    from lrfinder.api.recommend import Recommendation, recommend
    from lrfinder.api.report import compare, write_report
    from lrfinder.api.result import Sweep
    from lrfinder.api.script_sweep import sweep_script
    from lrfinder.api.study import export_study
    from lrfinder.api.sweep import resume, sweep
    from lrfinder.api.verify import verify
    from lrfinder.batch_growth.sampler import BatchSchedule
    from lrfinder.config import ScheduleConfig, load_schedule
    from lrfinder.export import export_schedule
    from lrfinder.importing import import_schedule
    from lrfinder.param_groups import layerwise
    from lrfinder.records import Band, DryRun, Pick, Status, Stop, Trace

    __version__: str

__all__ = [
    "Band",
    "BatchSchedule",
    "CheckResult",
    "Comparison",
    "ConfigError",
    "DryRun",
    "EnvironmentFailure",
    "Found",
    "LrfinderError",
    "ModelFileError",
    "Pick",
    "Recommendation",
    "RunError",
    "ScheduleConfig",
    "Status",
    "Stop",
    "Sweep",
    "Trace",
    "UsageError",
    "UsedRates",
    "Verification",
    "__version__",
    "attach",
    "check",
    "check_log",
    "compare",
    "dry_run",
    "export_schedule",
    "export_study",
    "find",
    "import_schedule",
    "layerwise",
    "load_schedule",
    "recommend",
    "resume",
    "sweep",
    "sweep_script",
    "verify",
    "write_report",
]

# Loaded when first used: `import lrfinder` must not cost an import of torch.
_HOMES = {
    "Band": ("lrfinder.records", "Band"),
    "BatchSchedule": ("lrfinder.batch_growth.sampler", "BatchSchedule"),
    "CheckResult": ("lrfinder.advice.checks.check", "CheckResult"),
    "Comparison": ("lrfinder.advice.comparison", "Comparison"),
    "DryRun": ("lrfinder.records", "DryRun"),
    "Found": ("lrfinder.api.find", "Found"),
    "Pick": ("lrfinder.records", "Pick"),
    "Recommendation": ("lrfinder.api.recommend", "Recommendation"),
    "ScheduleConfig": ("lrfinder.config", "ScheduleConfig"),
    "Status": ("lrfinder.records", "Status"),
    "Stop": ("lrfinder.records", "Stop"),
    "Sweep": ("lrfinder.api.result", "Sweep"),
    "Trace": ("lrfinder.records", "Trace"),
    "UsedRates": ("lrfinder.advice.checks.used_rates", "UsedRates"),
    "Verification": ("lrfinder.advice.verify.verification", "Verification"),
    "__version__": ("lrfinder.version", "VERSION"),
    "attach": ("lrfinder.api.attach", "attach"),
    "check": ("lrfinder.api.check", "check"),
    "check_log": ("lrfinder.api.check", "check_log"),
    "compare": ("lrfinder.api.report", "compare"),
    "dry_run": ("lrfinder.api.dry_run", "dry_run"),
    "export_schedule": ("lrfinder.export", "export_schedule"),
    "export_study": ("lrfinder.api.study", "export_study"),
    "find": ("lrfinder.api.find", "find"),
    "import_schedule": ("lrfinder.importing", "import_schedule"),
    "layerwise": ("lrfinder.param_groups", "layerwise"),
    "load_schedule": ("lrfinder.config", "load_schedule"),
    "recommend": ("lrfinder.api.recommend", "recommend"),
    "resume": ("lrfinder.api.sweep", "resume"),
    "sweep": ("lrfinder.api.sweep", "sweep"),
    "sweep_script": ("lrfinder.api.script_sweep", "sweep_script"),
    "verify": ("lrfinder.api.verify", "verify"),
    "write_report": ("lrfinder.api.report", "write_report"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lrfinder' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    state = random.getstate()  # importing rich draws from it, and the user's training goes on from there
    try:
        return getattr(importlib.import_module(module), attribute)
    finally:
        random.setstate(state)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
