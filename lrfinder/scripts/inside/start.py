"""What Python is told to run: `python start.py PLAN`, to sweep a script, to train it, or to be forked for sweeps.

Executed as a file, not imported: its own folder must not stay on the path. PLAN is JSON, or a file of it.
"""

import sys
import time
from typing import Any

BEGAN = time.monotonic()


def _load_lrfinder() -> None:
    """Import the lrfinder that this file belongs to, wherever it is, without a trace on the path."""
    import importlib.util
    from pathlib import Path

    if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:  # Python may be told to leave it out
        del sys.path[0]
    package = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        "lrfinder", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - the file is there
    module = importlib.util.module_from_spec(spec)
    sys.modules["lrfinder"] = module
    spec.loader.exec_module(module)


def _read(text: str) -> Any:
    import json

    if text.startswith("{"):
        return json.loads(text)
    with open(text, encoding="utf-8") as file:
        return json.load(file)


def main() -> None:
    """Read the plan, and run the script by it."""
    _load_lrfinder()
    plan = _read(sys.argv[1])
    if plan["job"] == "serve":
        from lrfinder.scripts.inside.serving import serve

        serve(plan)
    elif plan["job"] == "sweep":
        from lrfinder.scripts.inside import sweep_process

        sweep_process.run(plan, BEGAN)
    else:
        from lrfinder.scripts.inside import training_process

        training_process.run(plan)


if __name__ == "__main__":
    main()
