"""Fuzz what reads files from elsewhere, guided by coverage: `make fuzz MINUTES=10`.

Each target gets its share of the time in a process of its own; it starts from a valid file. Anything but an
LrfinderError, and a file that takes more than ten seconds or 2 GB, is a finding; its bytes are kept.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

SECONDS_A_FILE = 10
MEGABYTES = 2048


def fuzz(name: str, corpus: str, seconds: int) -> None:
    """Run one target; this process ends in it."""
    import atheris

    with atheris.instrument_imports(include=["lrfinder.config", "lrfinder.store"]):
        from helpers.fuzz_targets import TARGETS
    read, _ = TARGETS[name]
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_A_FILE}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={corpus}/finding-",
        "-max_len=20000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, corpus], read)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", help="one of them alone, in this process")
    parser.add_argument("--corpus")
    asked = parser.parse_args()
    if asked.target is not None:
        fuzz(asked.target, asked.corpus, round(asked.minutes * 60))
        return
    from helpers.fuzz_targets import TARGETS  # not before a target instruments what it imports

    found = 0
    keep = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for name, (_, good) in TARGETS.items():
        corpus = keep / name
        corpus.mkdir()
        (corpus / "good").write_bytes(good)
        command = [sys.executable, __file__, "--target", name, "--corpus", str(corpus)]
        done = subprocess.run(
            [*command, "--minutes", str(asked.minutes / len(TARGETS))], capture_output=True, text=True, check=False
        )
        executions = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        findings = [str(path) for path in corpus.glob("finding-*")]
        found += len(findings) + (done.returncode != 0)
        print(f"{name}: {executions.group(1) if executions else '?'} files, {len(findings)} findings", *findings)
        if done.returncode != 0:
            print("\n".join(done.stderr.splitlines()[-15:]))
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
