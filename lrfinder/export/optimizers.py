"""The config's optimizer as source, and as data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export.base import comment, factor_of
from lrfinder.export.source import literal, setting
from lrfinder.optimizers import SEVERAL, TRAITS

_PEAKS = '''\
def _set_peaks(optimizer):
    """Give each param group its peak, PEAK times its ratio. A rate in a tensor stays in it, one for each group."""
{ratios}    pairs = list(zip(optimizer.param_groups, {given}, strict=True))
    for group, _ in pairs:
        if hasattr(group["lr"], "fill_") and not group["lr"].is_floating_point():
            kind = f"a tensor of {{group['lr'].dtype}}"
            raise ValueError(f"the learning rate is {{kind}}, which no rate fits in: make it torch.tensor(1.0)")
    tensors = []
    for group, ratio in pairs:
        peak = group["initial_lr"] = PEAK * ratio
        if not hasattr(group["lr"], "fill_"):
            group["lr"] = peak
            continue
        if any(group["lr"].data_ptr() == other.data_ptr() for other in tensors):
            group["lr"] = group["lr"].clone()
        tensors.append(group["lr"].fill_(peak))
'''
# Beside groups that a scheduler has had, the rate at the peak of one that was added since can't be told.
ADDED_REFUSED = """\
    begun = ["initial_lr" in group for group in optimizer.param_groups]
    if any(begun) and not all(begun):
        hint = f"set the initial_lr of the added ones to their rate at the peak, at most {PEAK}"
        raise ValueError(f"param groups were added after a scheduler was made: {hint}")
"""
_KEPT_RATIOS = """\
    rates = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    ratios = [rate / max(rates) if max(rates) else 1.0 for rate in rates]
"""
_GROUPS = '''\
RATIOS = {ratios}


def with_rates(groups):
    """Return param groups of `groups`, the parameters of each: its peak is PEAK times its ratio."""
    return [{{"params": list(each), "lr": PEAK * ratio}} for each, ratio in zip(groups, RATIOS, strict=True)]


'''


def own_ratios(config: ScheduleConfig) -> tuple[float, ...] | None:
    """Return the param groups' ratios; None if the config gives none, or all have the peak."""
    ratios = config.optimizer.groups
    return None if ratios is None or set(ratios) == {1.0} else ratios


def groups_source(config: ScheduleConfig) -> str:
    """Return the source of `with_rates(groups)` if param groups have ratios of their own, or nothing."""
    ratios = own_ratios(config)
    return "" if ratios is None else _GROUPS.format(ratios=literal(ratios))


def optimizer_source(config: ScheduleConfig, parameters: str, groups: str) -> str:
    """Return the call that makes the optimizer at the peak rate, with the settings that the rate was found with.

    It is given `parameters`, or what `groups` names if param groups have ratios of their own (see `groups_source`).
    """
    settings = "".join(f", {key}={setting(value)}" for key, value in config.optimizer.settings.items())
    given = parameters if own_ratios(config) is None else f"with_rates({groups})"
    return f"{optimizer_path(config)}({given}, lr=PEAK{settings})"


def module_optimizer(config: ScheduleConfig) -> str:
    """Return the call that makes the optimizer of a LightningModule."""
    return optimizer_source(config, "self.parameters()", "self.param_groups()")


def groups_of_module(config: ScheduleConfig) -> tuple[str, ...]:
    """Return the comment on what a LightningModule has to have, if param groups have ratios of their own."""
    if own_ratios(config) is None:
        return ()
    return (
        "Write a method param_groups(self) that returns the parameters of each param group, in the config's order.",
    )


NO_ARGUMENTS = (
    "TrainingArguments can't say this optimizer, with its settings and its param groups: the one below is made."
)
_SGD = ("momentum", "dampening", "nesterov")  # what `optim_args` may say of it


def trainers_parameters(config: ScheduleConfig) -> str:
    """Return what `optimizers` of Hugging Face's Trainer is given: the model, or the parameters of each param group."""
    return "model" if own_ratios(config) is None else "groups"


def trainer_optimizer(config: ScheduleConfig) -> dict[str, Any] | None:
    """Return the TrainingArguments that make the config's optimizer; None if there are none."""
    name = _bare(config.optimizer.name)
    if own_ratios(config) is not None or name not in {"AdamW", "SGD"}:
        return None
    # The Trainer gives this to its param groups itself, 0 by default, whatever `optim_args` says.
    given = {"weight_decay": TRAITS[name].defaults["weight_decay"], **config.optimizer.settings}
    if name == "SGD":
        listed = ",".join(f"{key}={given.pop(key)}" for key in _SGD if isinstance(given.get(key), int | float))
        decay = {"weight_decay": given.pop("weight_decay")}
        return None if given else {"optim": "sgd", **({"optim_args": listed} if listed else {}), **decay}
    names: tuple[str, ...] = ("adam_beta1", "adam_beta2") if "betas" in given else ()
    betas: Any = given.pop("betas", ())
    if not isinstance(betas, tuple) or len(betas) != len(names):
        return None
    moved = {
        to: given.pop(key)
        for to, key in {"adam_epsilon": "eps", "weight_decay": "weight_decay"}.items()
        if key in given
    }
    return None if given else {"optim": "adamw_torch", **dict(zip(names, betas, strict=True)), **moved}


def class_of(config: ScheduleConfig) -> str:
    """Return the name of the optimizer's class, without torch's module; raise UsageError for several optimizers."""
    name = config.optimizer.name
    if SEVERAL in name:
        hint = "`--to torch` writes the schedule alone, for optimizers that you make"
        raise UsageError(f"the config is of several optimizers, {name}, and this target makes one", hint=hint)
    return _bare(name)


def _bare(name: str) -> str:
    bare = name.removeprefix("torch.optim.")
    return bare if bare in TRAITS else name


def optimizer_path(config: ScheduleConfig) -> str:
    """Return where the optimizer is imported from: torch.optim.AdamW; the bare name of one that isn't torch's."""
    name = class_of(config)
    return f"torch.optim.{name}" if name in TRAITS else name  # any other one is the user's own


def optimizer_import(config: ScheduleConfig) -> str:
    """Return the comment that asks for an import of the optimizer's class; nothing if it is torch's.

    It is none itself: a config's text would run what module it likes.
    """
    path = optimizer_path(config)
    return "" if path.startswith("torch.optim.") else f"# Import {path.rpartition('.')[0] or path} here.\n"


# Torch's, and some well-known others, by what optax calls them.
_OPTAX = frozenset(
    {"adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "lamb", "lars", "lion", "nadam", "radam", "rmsprop"}
    | {"rprop", "sgd"}
)


def optax_alias(config: ScheduleConfig) -> str:
    """Return what optax calls the config's optimizer, for comments: optax.adamw; OPTIMIZER, if it isn't optax's."""
    name = config.optimizer.name.rpartition(".")[2].lower()
    return f"optax.{name}" if name in _OPTAX else "OPTIMIZER"


def optimizer_data(config: ScheduleConfig) -> dict[str, Any]:
    """Return the optimizer's peak rate and settings as plain data."""
    optimizer = config.as_data()["optimizer"]
    return {"lr": optimizer["lr"], **optimizer.get("settings", {})}


def peaks_source(config: ScheduleConfig) -> str:
    """Return the source of `_set_peaks(optimizer)`, which treats param groups as `ScheduleConfig.scheduler` does."""
    given = config.optimizer.groups
    if given is None:
        return _PEAKS.format(ratios=ADDED_REFUSED + _KEPT_RATIOS, given="ratios")
    return f"RATIOS = {literal(given)}\n\n\n" + _PEAKS.format(ratios="", given="RATIOS")


def handed_over(config: ScheduleConfig, notes: Iterable[str], function: str, *, imports: str = "") -> str:
    """Return a module with `factor(t)` and a `function` that makes the LambdaLR of an optimizer that it is given."""
    return (
        f"{comment(config, *notes)}\nimport math\n\n{imports}from torch.optim.lr_scheduler import LambdaLR\n\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n{factor_of(config)}\n\n{peaks_source(config)}\n\n{function}"
    )
