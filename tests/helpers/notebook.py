"""Execute a notebook in a kernel of its own; as a program (`make notebook`), store its outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

VERSION = 4  # of the format


def executed(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with fresh outputs, executed in its own folder on one core; raise if a cell fails."""
    notebook = nbformat.read(path, as_version=VERSION)
    setting = "%env OMP_NUM_THREADS=1\n%env PYTHONDONTWRITEBYTECODE=1\nimport sys; sys.dont_write_bytecode = True"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(setting))
    client = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}, record_timing=False
    )
    client.execute()
    del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count -= 1
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count -= 1
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(Path(sys.argv[1]).resolve()), sys.argv[1])
