"""Which files a checkpoint has, and their digest. This module imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lrfinder.errors import UsageError, fault_of_name

# In a folder of Hugging Face's Trainer or of Accelerate; the first of them that is there counts.
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "pytorch_model.bin", "adapter_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_STATE = "trainer_state.json"
_CHUNK = 2**24  # bytes
_MOST_JSON = 64 * 2**20  # bytes of an index or a state; they are far smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """The files of a checkpoint: of a folder those of the weights, of the optimizer, and of the trainer's state."""

    place: Path
    weights: tuple[Path, ...]
    optimizer: Path | None = None
    state: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them, in the order in which they are read."""
        return (*self.weights, *(file for file in (self.optimizer, self.state) if file is not None))


def checkpoint_files(place: str) -> CheckpointFiles:
    """Return the files of a checkpoint: of a file itself, of a folder those of Hugging Face's Trainer.

    Raises UsageError if there is nothing of that kind, or if it isn't a regular file.
    """
    if fault := fault_of_name(place):
        raise UsageError(f"{place!a}: {fault}, and could not be written down", hint="rename it")
    path = Path(place)
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise UsageError(f"no such checkpoint: {place!r}", hint="name a file that torch.save wrote, or a folder")
    if not path.is_file():  # reading a pipe may wait forever
        raise UsageError(f"{place!r} is not a regular file", hint="name a file that torch.save wrote, or a folder")
    return CheckpointFiles(place=path, weights=(path,))


def checkpoint_digest(files: CheckpointFiles) -> str:
    """Return the SHA-256 of what the checkpoint holds, in hexadecimal; of several files that of their digests."""
    digests = [_digest(file) for file in files.all]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_small_json(file: Path) -> dict[str, object]:
    """Return the object that a JSON file of a checkpoint holds. Raises UsageError if it isn't one."""
    try:
        if file.stat().st_size > _MOST_JSON:
            raise UsageError(f"{file}: too large for a file of this kind")
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{file}: expected an object, got {type(found).__name__}")
    return found


def _of_folder(folder: Path) -> CheckpointFiles:
    whole = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    index = next((folder / name for name in _INDEXES if (folder / name).is_file()), None)
    if whole is None and index is None:
        raise UsageError(
            f"{str(folder)!r} holds no checkpoint: none of {', '.join((*_WEIGHTS, *_INDEXES))} is in it",
            hint="name a checkpoint-N folder of a Hugging Face Trainer, or a file that torch.save wrote",
        )
    optimizer = next((folder / name for name in _OPTIMIZERS if (folder / name).is_file()), None)
    weights = (whole,) if whole is not None else _parts(index) if index is not None else ()
    state = folder / _STATE
    return CheckpointFiles(place=folder, weights=weights, optimizer=optimizer, state=state if state.is_file() else None)


def _parts(index: Path) -> tuple[Path, ...]:
    """Return the files over which an index says that the weights are spread; they lie beside it."""
    places = read_small_json(index).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    files = tuple(index.parent / name for name in names)
    missing = [file for file in files if file.parent != index.parent or not file.is_file()]
    if missing or not files:
        raise UsageError(f"{index}: {missing[0] if missing else 'weight_map'} is missing")
    return files


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while part := stream.read(_CHUNK):
                digest.update(part)
    except OSError as error:
        raise UsageError(f"can't read {str(file)!r}: {error.strerror}") from error
    return digest.hexdigest()
