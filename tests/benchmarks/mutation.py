"""Change fit, engine and store in small ways, one at a time, and see what share the tests notice: `make mutation`.

The mutants are mutmut's (`[tool.mutmut]` in pyproject.toml says of which files, and by which tests they are judged);
each runs the tests that reach its function. All of them take a day on two cores: a sample of them, drawn evenly from a
seed, tells the share with the interval that its size allows. A mutant that nothing notices runs every test that reaches
it, for minutes: `--longest` leaves out the slow tests, and the share is then a lower bound.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

from scipy.stats import binomtest

FOLDER = Path("mutants")
ANY = "lrfinder.engine.update.learning_rates.*"  # a small module: running its mutants makes those of all modules
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
NOT_NOTICED = {"survived", "no tests"}
LINE = re.compile(r"\s*(lrfinder\S+): (.+)")


def mutmut(*arguments: str, quiet: bool = True) -> str:
    """Run mutmut; the mutants come first on the path of the tests' own processes, too."""
    FOLDER.mkdir(exist_ok=True)  # Python remembers of a folder on its path that it isn't there
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.resolve()), "OMP_NUM_THREADS": "1", "CI": "true"}
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", *arguments]
    # A shell's background jobs are deaf to Ctrl-C, which the tests of it can't do with.
    hears = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    done = subprocess.run(
        command, env=environment, text=True, stdout=subprocess.PIPE if quiet else None, check=False, preexec_fn=hears
    )
    if done.returncode:
        raise SystemExit(f"mutmut {arguments[0]} ended with status {done.returncode}\n{done.stdout or ''}")
    return done.stdout or ""


def leave_out(longest: float) -> None:
    """Judge by the tests of at most so many seconds: mutmut keeps which test reaches what, and how long each took."""
    path = FOLDER / "mutmut-stats.json"
    stats = json.loads(path.read_text("utf-8"))
    short = {test for test, seconds in stats["duration_by_test"].items() if seconds <= longest}
    reaching = stats["tests_by_mangled_function_name"]
    quick = {function: [test for test in tests if test in short] for function, tests in reaching.items()}
    stats["tests_by_mangled_function_name"] = quick
    path.write_text(json.dumps(stats), "utf-8")
    print(f"judged by the {len(short)} of {len(stats['duration_by_test'])} tests that take at most {longest} s")


def results() -> dict[str, str]:
    """Return the status of every mutant by its name."""
    lines = mutmut("results", "--all", "true").splitlines()
    return {found[1]: found[2] for found in map(LINE.fullmatch, lines) if found}


def table(statuses: dict[str, str]) -> list[str]:
    """Return a line for each module, and one for all with its interval."""
    counts: dict[str, collections.Counter[bool]] = collections.defaultdict(collections.Counter)
    for name, status in statuses.items():
        counts[name.rsplit(".", 1)[0]][status in NOTICED] += 1
    lines = [f"{module:40} {count[True]:4} of {count.total():4}" for module, count in sorted(counts.items())]
    noticed, of = sum(count[True] for count in counts.values()), sum(count.total() for count in counts.values())
    interval = binomtest(noticed, of).proportion_ci(method="wilson")
    low, high = (f"{bound:.1%}" for bound in interval)
    return [*lines, f"{'all':40} {noticed:4} of {of:4}: {noticed / of:.1%} noticed (95 % interval {low} to {high})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=800, help="mutants to try, 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=float("inf"), help="seconds a test may take to judge by it")
    asked = parser.parse_args()
    mutmut("run", ANY, quiet=False)
    leave_out(asked.longest)
    names = sorted(results())
    random.Random(asked.seed).shuffle(names)  # noqa: S311 - a sample
    drawn = names[: asked.sample or None]
    mutmut("run", *drawn, quiet=False)
    found = results()
    statuses = {name: found[name] for name in drawn if found[name] in NOTICED | NOT_NOTICED}
    print("\n".join(f"{status}: {name}" for name, status in statuses.items() if status in NOT_NOTICED))
    print("\n".join(table(statuses)))
    print(f"of {len(names)} mutants; `mutmut show NAME` shows one")


if __name__ == "__main__":
    main()
