"""What makes trials, imported in a process that is there for them."""

from __future__ import annotations

import functools
from collections.abc import Callable

from lrfinder.api.training.trial import Trial, TrialSpec
from lrfinder.engine.runtime import gc_control


@functools.cache
def trial_maker() -> Callable[[TrialSpec], Trial]:
    """Import torch and all else that a trial needs, and return `run_trial`.

    No garbage is looked for meanwhile: that would take as long as a third of the imports.
    """
    gc_control.disable_for_startup()
    try:
        import torch._dynamo  # noqa: F401 - so that the first optimizer needn't

        from lrfinder.api.training.run_trial import run_trial
    finally:
        gc_control.enable()
    return run_trial
