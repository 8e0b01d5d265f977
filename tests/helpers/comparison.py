"""Which schedule each package has, by the name that it has there: `python tests/comparison.py` prints the table.

A claim is `Name` or `Name(argument, ...)`, in the package's own module of schedules; nothing means that it has none.
timm depends on torchvision, which the development environment does without: its names were read in its source.
"""

from __future__ import annotations

from lrfinder.export import EXPORTERS
from lrfinder.schedules import SCHEDULES

# Each package, the version that was looked at, and the module in which its names are looked up.
PACKAGES: dict[str, tuple[str, str]] = {
    "torch": ("2.13.0", "torch.optim.lr_scheduler"),
    "timm": ("1.0.31", "timm.scheduler"),
    "transformers": ("5.24.0", "transformers.optimization"),
    "optax": ("0.2.8", "optax"),
    "keras": ("3.15.1", "keras"),
    "pytorch-scheduler": ("0.2.2", "pytorch_scheduler"),
    "lrsched": ("0.5.0", "lrsched"),
}
KERAS = "optimizers.schedules."
HF_WSD = "get_wsd_schedule(decay_type)"
TIMM_WSD = "WSDLRScheduler(decay_fn)"

# What a user may want, and what each package calls it.
ROWS: dict[str, dict[str, str]] = {
    "constant": {
        "torch": "ConstantLR(factor)",
        "timm": "create_scheduler_v2(sched)",
        "transformers": "get_constant_schedule",
        "optax": "constant_schedule",
        "keras": "optimizers.SGD(learning_rate)",
        "pytorch-scheduler": "IdentityScheduler",
        "lrsched": "constant",
    },
    "step (exponential in stairs)": {
        "torch": "StepLR",
        "timm": "StepLRScheduler",
        "optax": "exponential_decay(staircase)",
        "keras": f"{KERAS}ExponentialDecay(staircase)",
        "lrsched": "step_decay",
    },
    "multi-step": {
        "torch": "MultiStepLR",
        "timm": "MultiStepLRScheduler",
        "optax": "piecewise_constant_schedule",
        "keras": f"{KERAS}PiecewiseConstantDecay",
        "lrsched": "multi_step",
    },
    "exponential, smooth": {
        "torch": "ExponentialLR",
        "optax": "exponential_decay",
        "keras": f"{KERAS}ExponentialDecay",
        "lrsched": "exponential_decay",
    },
    "time-based, per update": {"keras": f"{KERAS}InverseTimeDecay"},
    "time-based, per epoch": {"keras": f"{KERAS}InverseTimeDecay(staircase)"},
    "time-based, compounded": {},
    "linear to zero": {
        "torch": "LinearLR(end_factor)",
        "timm": "PolyLRScheduler(power)",
        "transformers": "get_linear_schedule_with_warmup",
        "optax": "linear_schedule",
        "keras": f"{KERAS}PolynomialDecay(end_learning_rate)",
        "pytorch-scheduler": "LinearDecayScheduler",
        "lrsched": "linear",
    },
    "polynomial": {
        "torch": "PolynomialLR",
        "timm": "PolyLRScheduler",
        "transformers": "get_polynomial_decay_schedule_with_warmup",
        "optax": "polynomial_schedule",
        "keras": f"{KERAS}PolynomialDecay",
        "pytorch-scheduler": "PolynomialScheduler",
        "lrsched": "polynomial_decay",
    },
    "polynomial in cycles": {
        "timm": "PolyLRScheduler(cycle_limit)",
        "keras": f"{KERAS}PolynomialDecay(cycle)",
        "pytorch-scheduler": "PolynomialScheduler(cycle)",
    },
    "cosine": {
        "torch": "CosineAnnealingLR",
        "timm": "CosineLRScheduler",
        "transformers": "get_cosine_schedule_with_warmup",
        "optax": "cosine_decay_schedule",
        "keras": f"{KERAS}CosineDecay",
        "pytorch-scheduler": "CosineWithWarmupScheduler",
        "lrsched": "cosine",
    },
    "cosine with a floor": {
        "torch": "CosineAnnealingLR(eta_min)",
        "timm": "CosineLRScheduler(lr_min)",
        "transformers": "get_cosine_with_min_lr_schedule_with_warmup",
        "optax": "cosine_decay_schedule(alpha)",
        "keras": f"{KERAS}CosineDecay(alpha)",
        "pytorch-scheduler": "CosineWithWarmupScheduler(min_lr)",
        "lrsched": "cosine(min_lr)",
    },
    "cosine with restarts": {
        "torch": "CosineAnnealingWarmRestarts",
        "timm": "CosineLRScheduler(cycle_limit)",
        "transformers": "get_cosine_with_hard_restarts_schedule_with_warmup",
        "optax": "sgdr_schedule",
        "keras": f"{KERAS}CosineDecayRestarts",
        "pytorch-scheduler": "CosineAnnealingWarmupRestarts",
        "lrsched": "cosine_restarts",
    },
    "plateau": {
        "torch": "ReduceLROnPlateau",
        "timm": "PlateauLRScheduler",
        "transformers": "get_reduce_on_plateau_schedule",
        "optax": "contrib.reduce_on_plateau",
        "keras": "callbacks.ReduceLROnPlateau",
    },
    "cyclical: triangular, triangular2, exp-range": {"torch": "CyclicLR(mode)", "lrsched": "exp_range"},
    "one-cycle": {"torch": "OneCycleLR", "optax": "cosine_onecycle_schedule", "lrsched": "one_cycle"},
    "inverse square root": {
        "timm": "WSDLRScheduler(stable_fn)",
        "transformers": "get_inverse_sqrt_schedule",
        "pytorch-scheduler": "InverseSqrtScheduler",
        "lrsched": "inverse_sqrt",
    },
    "Noam, counted from 1": {},
    "WSD, linear": {
        "timm": TIMM_WSD,
        "transformers": HF_WSD,
        "pytorch-scheduler": "WSDScheduler(decay_type)",
        "lrsched": "warmup_stable_decay(decay_shape)",
    },
    "WSD, cosine": {"timm": TIMM_WSD, "transformers": HF_WSD, "pytorch-scheduler": "WSDScheduler(decay_type)"},
    "WSD, 1-sqrt": {
        "timm": TIMM_WSD,
        "transformers": HF_WSD,
        "pytorch-scheduler": "WSDScheduler(decay_type)",
        "lrsched": "warmup_stable_decay(decay_shape)",
    },
    "tanh": {"timm": "TanhLRScheduler", "pytorch-scheduler": "TanhDecayScheduler"},
    "cosine along a power of time (k-decay)": {
        "timm": "CosineLRScheduler(k_decay)",
        "pytorch-scheduler": "KDecayScheduler",
    },
    "slanted triangular (ULMFiT)": {"pytorch-scheduler": "SlantedTriangularScheduler"},
    "REX": {"pytorch-scheduler": "RexScheduler"},
    "geometric phases (Ge et al.)": {},
    "a warm-up before any of them": {
        "torch": "SequentialLR",
        "timm": "StepLRScheduler(warmup_t)",
        "optax": "join_schedules",
        "pytorch-scheduler": "WarmupScheduler",
        "lrsched": "with_warmup",
    },
    "a table of rates": {"optax": "piecewise_interpolate_schedule", "keras": f"{KERAS}PiecewiseConstantDecay"},
    "refined from gradient norms": {},
    "growing the batch instead": {},
    "scaling the loss instead": {},
    "imported from another framework": {},
}
# Schedules by count, whatever they are: classes or functions that give a rate of their own, without general functions
# (LambdaLR, callbacks) and without what only joins others.
COUNTS = {
    "torch": 11,
    "timm": 9,
    "transformers": 12,
    "optax": 14,
    "keras": 7,
    "pytorch-scheduler": 18,
    "lrsched": 16,
}
FORMATS = {"lrsched": 1}  # its command prints a list of rates; the others export to nothing


def table() -> str:
    """Return the table in markdown."""
    heads = [f"{name} {version}" for name, (version, _) in PACKAGES.items()]
    lines = [f"| schedule | lrfinder | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|"]
    for row, claims in ROWS.items():
        marks = " | ".join("Y" if name in claims else "-" for name in PACKAGES)
        lines.append(f"| {row} | Y | {marks} |")
    have = " | ".join(str(sum(name in claims for claims in ROWS.values())) for name in PACKAGES)
    lines.append(f"| of these {len(ROWS)} | {len(ROWS)} | {have} |")
    counts = " | ".join(str(COUNTS[name]) for name in PACKAGES)
    lines.append(f"| schedules by its own count | {len(SCHEDULES)} | {counts} |")
    formats = " | ".join(str(FORMATS.get(name, 0)) for name in PACKAGES)
    lines.append(f"| formats exported to | {len(EXPORTERS)} | {formats} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
