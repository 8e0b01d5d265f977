"""In a notebook: the example is as it was executed, results draw themselves, and progress is one output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ipykernel  # noqa: F401 - what executes it
import nbformat
import pytest
from nbclient import NotebookClient

from helpers.notebook import VERSION, executed

EXAMPLE = Path(__file__).parent.parent / "configs" / "example.ipynb"
CELLS = (
    "import lrfinder",
    "result = lrfinder.sweep('digits.py', progress=True, steps=60, run_steps=20)",
    "result",
    "advice = lrfinder.recommend(result, steps=1000)\nadvice",
    "result.plot()",
    "advice.schedule",
    "'matplotlib.pyplot' in __import__('sys').modules",
)

# Python's own asyncio, below nbclient; and ipykernel's note on its local connection.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::UserWarning")


def outputs(notebook: Any) -> list[tuple[str, list[str], str]]:
    """Return of every output its kind, its formats, and its text without numbers, which differ between processors."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text = output.get("text") or data.get("text/plain", "")
            found.append((output.output_type, sorted(data), re.sub(r"\d[\d.e-]*", "#", text)))
    return found


def test_the_example_shows_what_it_did_when_it_was_stored() -> None:
    stored = nbformat.read(EXAMPLE, as_version=VERSION)
    assert outputs(executed(EXAMPLE)) == outputs(stored)
    assert [formats for _, formats, _ in outputs(stored)].count(["image/png", "text/plain"]) == 2
    assert EXAMPLE.stat().st_size < 200_000


def test_results_draw_themselves_and_progress_is_one_output_redrawn(tmp_path: Path, monkeypatch: Any) -> None:
    drawn: list[dict[str, str]] = []
    for name in ("digits.py", "digits.csv.gz"):
        (tmp_path / name).write_bytes((EXAMPLE.parent / name).read_bytes())
    path = tmp_path / "cells.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]), path)
    process = NotebookClient.process_message

    def watch(self: Any, message: dict[str, Any], *rest: Any) -> Any:
        if message["msg_type"] == "update_display_data":
            drawn.append(message["content"]["data"])
        return process(self, message, *rest)

    monkeypatch.setattr(NotebookClient, "process_message", watch)
    _, progress, result, advice, picture, schedule, pyplot = executed(path).cells
    assert len(drawn) >= 2
    assert drawn[0]["text/plain"].startswith("repeat 1 of 2: ")
    assert "<svg" in drawn[0]["text/html"]
    assert "<progress" in drawn[0]["text/html"]
    (last,) = progress.outputs  # all of them in one place, of which a line stays
    assert re.fullmatch(r"\d+ updates made\.", last.data["text/plain"])
    assert "cross-entropy" in last.data["text/html"]
    for cell, name in ((result, "Sweep("), (advice, "Recommendation(")):
        assert cell.outputs[0].data["text/plain"].startswith(name)
        assert "<svg" in cell.outputs[0].data["text/html"]
    assert "image/png" in picture.outputs[0].data
    assert pyplot.outputs[0].data["text/plain"] == "False"
    assert schedule.outputs[0].data["text/plain"].startswith("ScheduleConfig(")
