"""Make an optimizer from the name of its class in torch.optim."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping

import torch

from lrfinder.errors import UsageError
from lrfinder.task.calling import takes_keyword

DEFAULT_OPTIMIZER = "AdamW"


def named_optimizer(
    name: str | None, params: Iterable[torch.nn.Parameter], lr: float, options: Mapping[str, float]
) -> torch.optim.Optimizer:
    """Return a new optimizer of `params` with the rate `lr`, of the torch.optim class `name`; None means AdamW.

    Upper and lower case of `name` don't matter. `options` are keyword arguments of the class.

    Raises UsageError if torch.optim has no such class, or if the class doesn't accept an option or its value.
    """
    kind = _class(name or DEFAULT_OPTIMIZER)
    for option in options:
        if not takes_keyword(kind, option):
            raise UsageError(
                f"{kind.__name__} takes no {option.replace('_', ' ')}",
                hint=f"these optimizers do: {', '.join(_taking(option)) or 'none'}",
            )
    try:
        return kind(params, lr=lr, **options)  # type: ignore[call-arg, arg-type]
    except ValueError as error:  # a value is out of bounds, or Muon got parameters that aren't matrices
        raise UsageError(f"{kind.__name__} refuses: {error}") from error


def needs_closure(kind: type[torch.optim.Optimizer]) -> bool:
    """Return whether `step` requires a closure, a function that computes the loss again, as that of LBFGS does."""
    parameter = inspect.signature(kind.step).parameters.get("closure")
    return parameter is not None and parameter.default is parameter.empty


def _class(name: str) -> type[torch.optim.Optimizer]:
    classes = _classes()
    by_plain_name = {known.lower(): kind for known, kind in classes.items()}
    if name.lower() not in by_plain_name:
        near = difflib.get_close_matches(name.lower(), by_plain_name, n=3)
        guess = f"did you mean {' or '.join(by_plain_name[match].__name__ for match in near)}? " if near else ""
        raise UsageError(f"torch.optim has no optimizer {name!r}", hint=f"{guess}Known: {', '.join(sorted(classes))}")
    return by_plain_name[name.lower()]


def _taking(option: str) -> list[str]:
    return [name for name, kind in sorted(_classes().items()) if takes_keyword(kind, option)]


def _classes() -> dict[str, type[torch.optim.Optimizer]]:
    base = torch.optim.Optimizer
    return {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    }
