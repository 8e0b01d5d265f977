"""With `--skip-absent`: what needs a package that isn't installed, or a newer one, is skipped, and says which.

Without the option, as in `make test`, this isn't loaded: what is missing fails, and no package gets lost unseen. A test
needs what it or its module imports, and what it names: `@pytest.mark.needs("keras")` for what its other processes
import, `@pytest.mark.as_pinned("transformers")` for what came after the lowest version that is allowed: it needs the
one of constraints.txt, or with `exactly=True` no other.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

# As they are imported. For want of others, such as lrfinder's own modules and dependencies, a test fails.
PACKAGES = frozenset({
    "accelerate", "click", "cloudpickle", "fastai", "ignite", "ipykernel", "jax", "jsonschema", "keras", "lightning",
    "lrsched", "mlflow", "nbclient", "nbformat", "optax", "optuna", "peft", "prodigyopt", "pyte", "pytorch_lightning",
    "pytorch_scheduler", "ray", "ruamel", "safetensors", "schedulefree", "scipy", "skorch", "sklearn", "tensorboard",
    "torch_lr_finder", "torchdata", "transformers", "wandb",
})  # fmt: skip


def pinned(package: str) -> Version:
    """Return the version of `package` that everybody's .venv has."""
    text = (Path(__file__).parents[1] / "constraints.txt").read_text()
    return Version(re.search(rf"^{re.escape(package)}==(.+)$", text, flags=re.MULTILINE)[1])


def why(error: BaseException | None) -> str:
    """Return which of PACKAGES was missing where `error` began, "" if none was."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            package = (error.name or "").partition(".")[0]
            if package in PACKAGES and find_spec(package) is None:
                return f"{package} isn't installed"
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def skipping() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if said := why(error):
            pytest.skip(said)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.failed and (said := why(report.call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (report.nodeid, 0, f"Skipped: {said}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    with skipping():
        for package in (package for mark in item.iter_markers("needs") for package in mark.args):
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
        for mark in item.iter_markers("as_pinned"):
            for package in mark.args:
                here, there = Version(version(package)), pinned(package)
                if here < there or (mark.kwargs.get("exactly") and here.release != there.release):
                    pytest.skip(f"{package} {here} isn't the pinned {there}")
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    with skipping():
        return (yield)
