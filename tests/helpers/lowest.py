"""Print the lowest versions that pyproject.toml allows, as constraints for pip: torch>=2.6 becomes torch==2.6."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

if __name__ == "__main__":
    dependencies = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    dependencies.append("pyparsing<3.3")  # which warns of matplotlib 3.9
    sys.stdout.write("".join(f"{each.replace('>=', '==')}\n" for each in dependencies))
