"""What the comparison says of other packages is derived from the packages themselves, where they are installed."""

from __future__ import annotations

import json
import re

import pytest

from helpers.comparison import COUNTS, PACKAGES, ROWS, table
from helpers.zygote import Zygote
from lrfinder.schedules import SCHEDULES

INSTALLED = [name for name in PACKAGES if name != "timm"]

# Names by which a package would have a schedule: where the comparison says that it has none, it has none of these.
WORDS = {
    "time-based, per update": r"inverse_?time|time_?based",
    "polynomial in cycles": r"cyclic_?poly",
    "plateau": r"plateau",
    "cyclical: triangular, triangular2, exp-range": r"^cyclic|^triangular|exp_?range",
    "one-cycle": r"one_?cycle",
    "inverse square root": r"inverse_?sqrt|rsqrt",
    "Noam, counted from 1": r"noam",
    "WSD, linear": r"wsd|stable_?decay",
    "tanh": r"tanh",
    "cosine along a power of time (k-decay)": r"k_?decay(?!s)",
    "slanted triangular (ULMFiT)": r"slanted|stlr",
    "REX": r"rex(?!p)",
    "geometric phases (Ge et al.)": r"geometric|halving",
    "refined from gradient norms": r"refine",
    "growing the batch instead": r"batch_?(size)?_?schedul|grow",
    "imported from another framework": r"import_|from_torch",
}

# Looks the names up in a process of its own: Keras and JAX settle their devices when they are imported.
LOOK_UP = """
import importlib, inspect, json, sys, warnings
warnings.simplefilter("ignore")

def missing(home, claim):
    name, _, arguments = claim.rstrip(")").partition("(")
    found = home
    try:
        for part in name.split("."):
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
    except (AttributeError, ImportError):
        return True
    known = inspect.signature(found).parameters
    return any(argument.strip() not in known for argument in arguments.split(",") if argument)

def names(home):
    homes = [home, *(getattr(home, part) for part in ("callbacks", "contrib") if hasattr(home, part))]
    if hasattr(home, "optimizers"):
        homes.append(home.optimizers.schedules)
    return [name for each in homes for name in dir(each) if not name.startswith("_")]

found = {}
for package, (module, claims) in json.load(sys.stdin).items():
    home = importlib.import_module(module)
    found[package] = [[claim for claim in claims if missing(home, claim)], names(home)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def looked_up(zygote: Zygote) -> dict[str, tuple[list[str], list[str]]]:
    """The claims that don't hold, and the names that there are, for each package."""
    asked = {
        package: (PACKAGES[package][1], [claims[package] for claims in ROWS.values() if package in claims])
        for package in INSTALLED
    }
    frameworks = {"KERAS_BACKEND": "torch", "JAX_PLATFORMS": "cpu"}
    return json.loads(zygote.python(LOOK_UP, given=json.dumps(asked), env=frameworks).splitlines()[-1])


of_pinned = pytest.mark.as_pinned("torch", "transformers", exactly=True)  # the table tells of these versions


@of_pinned
@pytest.mark.needs("optax")
@pytest.mark.parametrize("package", INSTALLED)
def test_it_has_what_is_said_and_lacks_what_is_not_said(
    looked_up: dict[str, tuple[list[str], list[str]]], package: str
) -> None:
    missing, names = looked_up[package]
    assert len(names) > 10
    assert missing == []
    for row, words in WORDS.items():
        if package not in ROWS[row]:
            assert [name for name in names if re.search(words, name, flags=re.IGNORECASE)] == [], row


@of_pinned
@pytest.mark.parametrize("package", INSTALLED)
def test_the_version_is_the_installed_one(package: str) -> None:
    from importlib.metadata import version

    assert version(package).partition("+")[0] == PACKAGES[package][0]


@of_pinned
def test_the_counts_are_the_packages_own() -> None:
    import lrsched
    import pytorch_scheduler
    from torch.optim import lr_scheduler
    from transformers.trainer_utils import SchedulerType

    general = {"LambdaLR", "MultiplicativeLR", "LRScheduler", "SequentialLR", "ChainedScheduler"}
    assert len(set(lr_scheduler.__all__) - general) == COUNTS["torch"]
    assert len(SchedulerType) == COUNTS["transformers"]
    assert len(pytorch_scheduler.SCHEDULER_LIST) == COUNTS["pytorch-scheduler"]
    composing = {"GroupSchedule", "Schedule", "sample", "scale_by_group", "sequential", "with_warmup"}
    assert len(set(lrsched.__all__) - composing) == COUNTS["lrsched"]


def test_lrfinder_has_every_row() -> None:
    assert set(SCHEDULES) >= {
        *("constant", "step", "multi-step", "exponential", "time-based", "linear", "polynomial", "cosine"),
        *("cosine-restarts", "plateau", "cyclical", "one-cycle", "inverse-sqrt", "noam", "wsd", "rex", "geometric"),
        *("tanh", "k-decay", "slanted-triangular", "table"),
    }
    import lrfinder
    from lrfinder.config import ScheduleConfig
    from lrfinder.config.refine import refine

    assert callable(refine)
    assert callable(lrfinder.BatchSchedule)
    assert callable(ScheduleConfig.loss_scale)
    assert callable(lrfinder.import_schedule)


def test_the_table_has_a_line_for_each_row() -> None:
    lines = table().splitlines()
    assert len(lines) == len(ROWS) + 5
    assert {line.count("|") for line in lines} == {len(PACKAGES) + 3}
