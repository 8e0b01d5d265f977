"""What is said if a script can't be swept as it was started. `known` are its optimizers, as `listed` names them."""

from __future__ import annotations

from lrfinder.scripts.inside.patience import MOST_WITHOUT_LOSS

NO_LOSS = f"{MOST_WITHOUT_LOSS} steps, and no backward() was seen: there is no loss to read"
NO_TRAINING = (
    "it ended without a call of backward() or a step of a torch optimizer: with these arguments it trains nothing in "
    "this process, or updates its weights by hand"
)


def no_group(processes: int) -> str:
    """Say that the script's processes have formed no group."""
    return (
        f"it hasn't joined its {processes} processes to a group of so many by "
        "torch.distributed.init_process_group: each would train a model of its own"
    )


def no_optimizer(calls: str) -> str:
    """Say that no optimizer of torch's made a step; `calls` is what the script did instead."""
    return (
        f"{calls} and no step of a torch optimizer: the script updates its weights by hand, or with an optimizer "
        "that is not a torch.optim.Optimizer"
    )


def no_rate(names: str) -> str:
    """Say that the optimizer of these names has no rate that could be set."""
    return f"{names} has no rate: there is no lr in its param groups"


def climbs(names: str, group: int) -> str:
    """Say that a param group of the optimizer of these names makes the loss rise."""
    return (
        f"param group {group} of {names} has a rate below 0: it makes the loss rise, and a sweep wants a falling one. "
        "Give it a rate above 0, and turn the sign of its gradients: weight.register_hook(lambda grad: -grad)"
    )


def no_such_optimizer(which: str | None, known: str) -> str:
    """Say that the optimizer that was named made no step."""
    return f"no optimizer called {which} makes a step; there is {known}"


def not_its_turn(which: str | None, known: str, *, steps: int, spent_s: float) -> str:
    """Say that the optimizer that was named made no step while others did."""
    return (
        f"no optimizer called {which} has made a step in {steps} steps of others, {spent_s:.0f} s of training; there "
        f"is {known}. If it comes later, make what it waits for shorter"
    )


def several_optimizers(which: str | None, known: str) -> str:
    """Say that it isn't known which of several optimizers to sweep."""
    if which is None:
        return f"the script has several optimizers: {known}; name one by --which, or scale all by --scale-others"
    return f"--which {which} names several optimizers: {known}"


def many_trainings(known: str, updates: str) -> str:
    """Say that several optimizers have the same names, after so few updates."""
    return (
        f"the script has several optimizers that no name tells apart: {known}; scale all by --scale-others. If it "
        f"makes one for each of many trainings, none of these is long enough to be swept: {updates}"
    )
