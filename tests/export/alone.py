"""Exported schedules run in packages that are installed without what they import: timm, DeepSpeed and others.

`make setup` puts them into a folder of their own, .venv/frameworks, off the path: they would pull in torchvision,
torchao, triton and more, and transformers and accelerate change their ways where they find DeepSpeed. Here the modules
that schedule are loaded from the real files, and only the `__init__` of the packages around them is left out.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch
from loops import PEAK_ELSEWHERE, elsewhere, grouped, names_of, parameters, stepped


def alone() -> Path:
    folder = Path(sys.prefix) / "frameworks"
    assert folder.is_dir(), f"{folder} is missing: `make setup` makes it"
    return folder


def without_init(*packages: str) -> None:
    """Make these packages importable, and their modules with them, without running their own `__init__`."""
    if packages[0] in sys.modules:
        return
    sys.path.append(str(alone()))
    for name in packages:
        parent, _, leaf = name.rpartition(".")
        spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
        assert spec is not None, f"{name} is missing: `make setup` installs it"
        sys.modules[name] = package = types.ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations or [])
        if parent:
            setattr(sys.modules[parent], leaf, package)


def run_timm(text: str, steps: int) -> list[list[float]]:
    without_init("timm")
    optimizer = grouped()
    scheduler = names_of(text)["make_scheduler"](optimizer)
    used = []
    for update in range(steps):  # as timm's train.py does
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step_update(num_updates=update + 1)
    return used


def run_deepspeed(text: str, steps: int) -> list[list[float]]:
    without_init("deepspeed", "deepspeed.utils", "deepspeed.runtime")
    from deepspeed.utils.logging import logger

    logger.setLevel("ERROR")
    sys.modules["deepspeed.utils"].logger = logger
    from deepspeed.runtime import lr_schedules

    if not text.startswith("{"):
        optimizer = elsewhere()
        return stepped(optimizer, names_of(text)["lr_scheduler"](optimizer), steps)
    config = json.loads(text)
    made = getattr(torch.optim, config["optimizer"]["type"])(parameters(), **config["optimizer"]["params"])
    scheduler = getattr(lr_schedules, config["scheduler"]["type"])(made, **config["scheduler"]["params"])
    return stepped(made, scheduler, steps)


def run_torchtune(text: str, steps: int) -> list[list[float]]:
    without_init("torchtune", "torchtune.training")
    import torchtune.training.lr_schedulers  # noqa: F401
    import yaml

    from_recipe = {"num_training_steps": steps, "last_epoch": -1}
    if "\nimport " in text:
        optimizer = elsewhere()
        return stepped(optimizer, names_of(text)["lr_scheduler"](optimizer, **from_recipe), steps)
    config = yaml.safe_load(text)
    optimizer = component(config["optimizer"], parameters())
    return stepped(optimizer, component(config["lr_scheduler"], optimizer, **from_recipe), steps)


def component(config: dict[str, Any], *given: Any, **keywords: Any) -> Any:
    """Make what a `_component_` names, as torchtune's `instantiate` does."""
    path = config.pop("_component_")
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(*given, **config, **keywords)


def run_axolotl(text: str, steps: int) -> list[list[float]]:
    """Run axolotl's own `create_scheduler`, and its own plugin manager; its builder needs a GPU's packages."""
    mixin = axolotls_trainer()
    from axolotl.integrations.base import PluginManager

    manager = PluginManager.get_instance()
    manager.plugins.clear()
    if "\nimport " in text:
        sys.modules["lrfinder_schedule"] = types.ModuleType("lrfinder_schedule")
        sys.modules["lrfinder_schedule"].__dict__.update(names_of(text))
        manager.register("lrfinder_schedule.SchedulePlugin")
        config: dict[str, Any] = {"learning_rate": PEAK_ELSEWHERE, "lr_scheduler": "cosine", "max_steps": steps}
    else:
        import yaml

        config = yaml.safe_load(text)
        assert config["max_steps"] == steps
    own = config["lr_scheduler"] in {"one_cycle", "rex"}
    trainer = mixin()
    trainer.args = AxolotlArguments(  # what its builder makes of the config
        lr_scheduler_type="cosine" if own else config["lr_scheduler"],
        alternate_lr_scheduler_type=config["lr_scheduler"] if own else None,
        lr_scheduler_kwargs=config.get("lr_scheduler_kwargs", {}),
        learning_rate=config["learning_rate"],
        warmup_steps=config.get("warmup_steps", 0),
    )
    optimizer = torch.optim.SGD(parameters(), lr=config["learning_rate"])
    return stepped(optimizer, trainer.create_scheduler(steps, optimizer), steps)


def axolotls_trainer() -> Any:
    import transformers

    # Named in annotations alone; transformers is asked first whether it is there, and must find that it isn't.
    assert transformers.Trainer
    sys.modules["peft"] = peft = types.ModuleType("peft")
    peft.PeftConfig = peft.PeftMixedModel = peft.PeftModel = object
    without_init("axolotl", "axolotl.core", "axolotl.core.trainers", "axolotl.core.trainers.mixins")
    from axolotl.core.trainers.mixins.scheduler import SchedulerMixin

    class Trainer(SchedulerMixin):
        def __init__(self) -> None:
            self.optimizer = self.lr_scheduler = None

    return Trainer


class AxolotlArguments(types.SimpleNamespace):
    lr_quadratic_warmup = cosine_min_lr_ratio = cosine_constant_lr_ratio = jagged_restart_steps = None

    def get_warmup_steps(self, _: int) -> int:
        return int(self.warmup_steps)


def run_mmengine(text: str, steps: int) -> list[list[float]]:
    if str(alone()) not in sys.path:
        sys.path.append(str(alone()))
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS

    names = names_of(text)
    if "param_scheduler" not in names:  # the lines for the config file are a comment there
        lines = [line.removeprefix("#     ") for line in text.splitlines() if line.startswith("#     ")]
        names |= names_of("\n".join(lines))
    config = {**names["optim_wrapper"], "paramwise_cfg": {"bias_lr_mult": 0.25}}
    wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), config)
    schedulers = [PARAM_SCHEDULERS.build(it, default_args={"optimizer": wrapper}) for it in names["param_scheduler"]]
    assert not any(it.by_epoch for it in schedulers)
    used = []
    for _ in range(steps):
        used.append([float(group["lr"]) for group in wrapper.optimizer.param_groups])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return used
