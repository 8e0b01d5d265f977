"""Which device the sweep runs on."""

from __future__ import annotations

import torch

from lrfinder.errors import UsageError

AUTO = "auto"


def choose_device(name: str) -> torch.device:
    """Return the device called `name`: "cpu", "cuda", "cuda:1", "mps"; "auto" is CUDA, then MPS, then the CPU.

    Raises UsageError, which lists the devices, if torch doesn't know the device or it isn't here.
    """
    there = available_devices()
    if name == AUTO:
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if kind in there))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"no such device: {name!r}", hint=_choices(there)) from error
    if device.type not in there:
        raise UsageError(f"device {name!r} isn't available here", hint=_choices(there))
    index: int | None = device.index  # torch's own annotation leaves the None out
    if index is not None and index >= there[device.type]:
        raise UsageError(
            f"device {name!r} isn't there: {_numbers(device.type, there[device.type])}", hint=_choices(there)
        )
    return device


def available_devices() -> dict[str, int]:
    """Return the kinds of device that torch can use here, and how many there are of each."""
    found = {"cpu": 1}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.device_count()
    if torch.backends.mps.is_available():
        found["mps"] = 1
    return found


def device_title(device: torch.device) -> str:
    """Return the name of the device, with the card's: "cuda (NVIDIA H100)". Runs are compared by it."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def move_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Move the state of `optimizer` to where its parameters are, in new tensors, by torch's own rules.

    A live optimizer has state (momentum, say) on the device where it was used before.
    """
    moved = any(
        isinstance(value, torch.Tensor) and value.dim() > 0 and value.device != parameter.device
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )
    if moved:
        optimizer.load_state_dict(optimizer.state_dict())


def _numbers(kind: str, count: int) -> str:
    return f"the only one is {kind}:0" if count == 1 else f"they are {kind}:0 to {kind}:{count - 1}"


def _choices(there: dict[str, int]) -> str:
    return f"available: {', '.join(there)}; `auto` takes the best of them"
