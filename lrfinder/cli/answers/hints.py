"""What to do about failures of the user's code that newcomers meet most: by torch's and Python's own messages."""

from __future__ import annotations

import re
from pathlib import Path

from lrfinder.errors import error_text

_MOVES = "leave model and data on the CPU: lrfinder moves them to --device"
# Each is looked for in what the code was doing, a colon, and its exception's message; the groups stand in the hint.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"expected target dtype to be Long|expected scalar type Long but found (?:Float|Double)",
        "class labels are whole numbers: make them target.long(); for a number to predict use nn.MSELoss()",
    ),
    (
        r"Target -?\d+ is out of bounds",
        "labels run from 0 to the number of the model's outputs less 1: count the classes, or let labels begin at 0",
    ),
    (
        r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)",
        "a linear layer takes {1} features and gets {0}: change the layer, or flatten what comes before it",
    ),
    (
        r"mat1 and mat2 must have the same dtype, but got (Double|Long|Int)|expected (?:m1 and m2|scalar type)",
        "the inputs and the weights are numbers of different types: make the inputs .float()",
    ),
    (
        r"(?:log_softmax|softmax).* not implemented for 'Long'",
        "the loss gets the labels in place of the output: it is called as loss_fn(output, target)",
    ),
    (
        r"Trying to backward through the graph a second time",
        "lrfinder calls backward() and step() itself: let training_step return the loss, and no more",
    ),
    (r"Torch not compiled with CUDA enabled|Found no NVIDIA driver|No CUDA GPUs are available", _MOVES),
    (
        r"Expected all tensors to be on the same device",
        f"{_MOVES}; a tensor that the model makes itself belongs on the device of its input, or into register_buffer",
    ),
    (
        r"^running the model.*argument 'input' \(position 1\) must be Tensor, not (numpy\.\w+|list|dict|float|int|str)",
        "where the batch has a {0} a layer wants a tensor: let the loader make one, such as torch.as_tensor(x)",
    ),
    (
        r"^running the model.*argument 'input' \(position 1\) must be Tensor, not tuple",
        "a layer gets several things from the one before it, such as the output and the state of an LSTM: hand on one",
    ),
    (
        r"argument 'input' \(position 1\) must be Tensor, not (?:tuple|list|dict)",
        "the model returns several things: write `def training_step(model, batch)`, which picks one for the loss",
    ),
    (
        r"^calling loss_fn.*'(\w+)' object has no attribute '(?:size|shape|dim|ndim|device|dtype)'",
        "loss_fn gets a {0}, not a tensor, as output or target: write `def training_step(model, batch)`, to pick one",
    ),
    (
        r"^importing .*attempted relative import",
        "a model file is imported by itself: write `import helper` for helper.py beside it, or name a package.module:f",
    ),
    (r"device-side assert triggered", "mostly a label out of range: run once more with --device cpu, which names it"),
)


def hint_for(error: BaseException, place: str = "") -> str | None:
    """Return what to do about an exception of the user's code, if that is known; `place`: what the code was doing."""
    if isinstance(error, FileNotFoundError) and error.filename and not Path(str(error.filename)).is_absolute():
        name = str(error.filename)
        return f"relative paths begin where the command runs; from the model file: Path(__file__).parent / {name!r}"
    text = f"{place}: {error_text(error)}"
    for pattern, hint in _HINTS:
        found = re.search(pattern, text, re.DOTALL)
        if found is not None:
            return hint.format(*found.groups())
    return None
