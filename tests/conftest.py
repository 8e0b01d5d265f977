"""What every test may rely on."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for `import curves`

from helpers import absent
from helpers.zygote import Zygote

# A machine that does other things too must not fail a property for being slow. Where a change is judged, everybody
# gets the same examples; at home each run looks at new ones.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")

# What a shell starts in the background ignores Ctrl-C, and what `nohup` starts a closed terminal; so would every
# process that a test starts.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skip-absent", action="store_true", help="skip what needs a package that isn't installed")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.skip_absent:
        config.pluginmanager.register(absent)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in what is made meanwhile, the imported packages and the tests, and never afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        _set_apart()
        gc.enable()


def pytest_runtest_logfinish() -> None:
    """Likewise for packages that a test has imported: with a few of them each search takes a fifth of a second."""
    if len(sys.modules) > _set_apart.modules + 100:
        _set_apart()


def _set_apart() -> None:
    gc.collect()
    gc.freeze()
    _set_apart.modules = len(sys.modules)


_set_apart.modules = 0


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colors and widths of the developer's own terminal must not decide what a test sees."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Tiny models train fastest on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Starts command lines as processes of their own, without the seconds that importing torch takes."""
    with Zygote(tmp_path_factory.mktemp("zygote")) as started:
        yield started
