"""Read a checkpoint: weights, optimizer state, and how far its run had come. Nothing is unpickled but plain values."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lrfinder.errors import UsageError, error_text
from lrfinder.task.checkpoint.files import checkpoint_digest, checkpoint_files, read_small_json

_WEIGHTS = ("model_state_dict", "state_dict", "model_state", "model", "net", "network", "weights")
_OPTIMIZERS = ("optimizer_state_dict", "optimizer_states", "optimizer_state", "optimizer", "optim")
_STEPS = ("global_step", "step", "steps", "iteration", "iter", "update", "updates")
_SAVE = "torch.save({'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'step': step}, path)"

State = Mapping[str, Any]  # what `optimizer.state_dict()` gave


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds. `weights` are those of `model.state_dict()`, `optimizers` their state, if it is there.

    `step` is the number of updates that its run had made; None: it doesn't say.
    """

    place: str
    sha256: str
    weights: Mapping[str, Any] = field(repr=False)
    optimizers: tuple[State, ...] = field(default=(), repr=False)
    step: int | None = None


def read_checkpoint(place: str) -> Checkpoint:
    """Read a file that `torch.save` or safetensors wrote, or a checkpoint folder of Hugging Face's Trainer.

    A file may hold the weights alone, or a dict with them under `model`, `model_state_dict` or `state_dict`, the
    optimizer's state under `optimizer` or `optimizer_state_dict` (Lightning: a list, `optimizer_states`), and the
    number of updates under `step` or `global_step`.

    Raises UsageError for anything else, and for a file that could only be read by running code that is in it.
    """
    files = checkpoint_files(place)
    loaded = [_load(file) for file in files.weights]
    whole = loaded[0] if len(loaded) == 1 else {key: value for part in loaded for key, value in part.items()}
    weights, optimizers = _weights(whole, place), _optimizers(whole)
    if files.optimizer is not None:
        optimizers = (_state(_load(files.optimizer), str(files.optimizer)),)
    step = _step(read_small_json(files.state)) if files.state is not None else _step(whole)
    return Checkpoint(
        place=place,
        sha256=checkpoint_digest(files),
        weights=weights,
        optimizers=optimizers,
        step=_step_of_state(optimizers) if step is None else step,
    )


def _load(file: Path) -> dict[str, Any]:
    found = _load_safetensors(file) if file.suffix == ".safetensors" else _load_torch(file)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(f"{file}: expected a dict with names, got {type(found).__name__}", hint=f"write it by {_SAVE}")
    return found


def _load_safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise UsageError(f"{file}: the package safetensors is needed", hint="pip install safetensors") from None
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file}: not a safetensors file: {error}") from None


def _load_torch(file: Path) -> Any:
    try:
        # Not mapped into memory: the run may go on and write the file anew, while repeats still begin from it.
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"Unsupported [a-z]+: [A-Za-z]* ?([\w.]+)", error_text(error))
        if found is None:
            raise _unreadable(file, error) from None
        raise UsageError(
            f"{file}: it holds more than tensors and plain values ({found[1]}), and isn't unpickled: that may run code",
            hint=f"write weights and optimizer state alone: {_SAVE}",
        ) from None
    except Exception as error:  # noqa: BLE001 - torch raises whatever its parsers meet in a damaged file
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> UsageError:
    first = (error_text(error).splitlines() or [type(error).__name__])[0]
    return UsageError(f"{file}: torch can't read it: {first[:200]}", hint=f"write it by {_SAVE}")


def _weights(whole: State, place: str) -> State:
    """Return the weights of a dict: what is under one of the usual names, or else all of it."""
    for name in _WEIGHTS:
        if _are_weights(whole.get(name)):
            found: State = whole[name]
            return found
    if _are_weights(whole):
        return whole
    raise UsageError(
        f"{place}: no weights are in it; it has {', '.join(list(whole)[:8]) or 'nothing'}", hint=f"write it by {_SAVE}"
    )


def _are_weights(value: object) -> bool:
    """Tell whether a value is what `model.state_dict()` gives: tensors by name; layers may add a state of their own."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(
        isinstance(key, str) and (isinstance(part, torch.Tensor) or key.endswith("_extra_state"))
        for key, part in value.items()
    )


def _optimizers(whole: State) -> tuple[State, ...]:
    for name in _OPTIMIZERS:
        value = whole.get(name)
        states = value if isinstance(value, list | tuple) else [value]
        if states and all(_is_state(state) for state in states):
            return tuple(states)
    return ()


def _is_state(value: object) -> bool:
    """Tell whether a value is what `optimizer.state_dict()` gives."""
    if not (isinstance(value, Mapping) and isinstance(value.get("state"), Mapping)):
        return False
    groups = value.get("param_groups")
    return isinstance(groups, list) and all(isinstance(each, Mapping) and "params" in each for each in groups)


def _state(value: State, place: str) -> State:
    if not _is_state(value):
        raise UsageError(f"{place}: not the state of an optimizer", hint="write optimizer.state_dict(), or remove it")
    return value


def _step(whole: Mapping[str, object]) -> int | None:
    return next((each for name in _STEPS if isinstance(each := whole.get(name), int) and each >= 0), None)


def _step_of_state(optimizers: Iterable[State]) -> int | None:
    """Return the most updates that an optimizer's state counts for a weight; None if it counts none."""
    counts = [
        int(state["step"])
        for each in optimizers
        for state in each["state"].values()
        if isinstance(state, Mapping) and isinstance(state.get("step"), int | float | torch.Tensor)
    ]
    return max(counts, default=None)
