"""Too little memory (`ulimit -v`) told before a library is loaded that would end the process for it."""

from __future__ import annotations

import contextlib
import sys

from lrfinder.errors import EnvironmentFailure

# Bytes of address space. With less no sweep of the smallest model gets through (torch 2.13 on a CPU: 0.8 GiB), and the
# C++ of torch may abort the process while it is loaded. NumPy's OpenBLAS ends the process with status 1 if it gets too
# little for its first product (numpy 2 on two cores: 0.2 GiB).
_LEAST = {"torch": 768 * 2**20, "numpy": 256 * 2**20}


def check_space(library: str) -> None:
    """Raise EnvironmentFailure if this process may have too little memory for the library."""
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        least = _LEAST[library]
        if allowed != resource.RLIM_INFINITY and allowed < least:
            raise EnvironmentFailure(
                f"out of memory: {library} can't be loaded in {allowed // 2**20} MiB; it takes {least // 2**20} MiB "
                "and more of address space",
                hint="raise the limit (`ulimit -v`)",
            )


class _CheckNumpy:
    """Finds no module, but looks at the memory when NumPy is to be loaded: many modules import it, at their top."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise EnvironmentFailure as `check_space` does."""
        if name == "numpy":
            check_space(name)


def guard_numpy() -> None:
    """Check the memory when NumPy is loaded; commands that don't need it do without."""
    sys.meta_path.insert(0, _CheckNumpy)
