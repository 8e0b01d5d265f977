"""Print what pip is to install to run the suite on other versions than the pinned ones: `versions.py lowest|newest`.

`lowest` are the versions that pyproject.toml allows at least: torch>=2.6 becomes torch==2.6, and what is pinned stays.
`newest` are the same packages in whatever version pip finds. Linters are left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What lrfinder says that it works with, from a lowest version on; and what the tests compare it with.
WORKS_WITH = ("examples", "tensorboard", "mlflow", "wandb", "ray", "optuna")
COMPARED = ("hosts", "exports", "schedulers", "optimizers", "peers")
# Of `dev`, what tests import.
TOOLS = {"pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "filelock", "jsonschema", "ruamel.yaml", "pyte"}
TOOLS |= {"torchdata", "nbclient", "ipykernel", "setuptools"}
NOT_ON_LOWEST = {"jax", "optax"}  # they want a newer numpy
LOWEST_TOO = {"pyparsing": "<3.3"}  # which warns of matplotlib 3.9


def versions(requirements: list[str]) -> dict[str, str]:
    """Return of each package what is asked of its version."""
    return {name: version or "" for each in requirements for name, version in re.findall(r"^([\w.-]+)(.*)$", each)}


def of(*extras: str) -> dict[str, str]:
    return versions([each for extra in extras for each in EXTRAS[extra]])


def lowest() -> dict[str, str]:
    least = {**versions(PROJECT["dependencies"]), **of(*WORKS_WITH)}
    least = {name: version.split(",")[0].replace(">=", "==") for name, version in least.items()}
    compared = {name: version for name, version in of(*COMPARED).items() if name not in NOT_ON_LOWEST}
    return {**compared, **least, **LOWEST_TOO}


def newest() -> dict[str, str]:
    return dict.fromkeys({**versions(PROJECT["dependencies"]), **of(*WORKS_WITH, *COMPARED)}, "")


if __name__ == "__main__":
    tools = {name: version for name, version in of("dev").items() if name in TOOLS}
    chosen = {"lowest": lowest, "newest": newest}[sys.argv[1]]() | tools
    sys.stdout.writelines(f"{name}{version}\n" for name, version in chosen.items())
