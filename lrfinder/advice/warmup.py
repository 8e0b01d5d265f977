"""How long the rate should rise before it decays."""

from __future__ import annotations

from lrfinder.records import OptimizerFacts

# Share of the run. Common practice for runs of any length is 1 to 10 %; longer, and the decay starts late.
LONGEST = 0.1
PLAIN = 0.05  # without a second moment there is no bias to wait out: only the first, largest gradients to pass
_OTHER_NAMES = {"RMSprop": "alpha", "Adadelta": "rho"}  # what these call the decay of their second moment


def warmup_updates(optimizer: OptimizerFacts, steps: int) -> tuple[int, str]:
    """Return the length of a linear warm-up, in updates, and its reason in words.

    With a second-moment average of decay beta2, its estimate rests on few gradients for about 2 / (1 - beta2) updates:
    the rule of thumb of Ma & Yarats (arXiv:1910.04209), cut to LONGEST of the run. RMSprop calls it `alpha`,
    Adadelta `rho`. Any other optimizer gets PLAIN of the run.
    """
    beta2 = _second_moment(optimizer)
    if beta2 is None:
        return _share(PLAIN, steps), f"{PLAIN:.0%} of the run"
    wanted = round(2 / (1 - beta2))
    if wanted <= LONGEST * steps:
        return wanted, f"2/(1 - beta2) with beta2 = {beta2:g}"
    return _share(LONGEST, steps), f"{LONGEST:.0%} of the run; 2/(1 - beta2) = {wanted} would be longer"


def _share(share: float, steps: int) -> int:
    # At least one update, which is then already at the peak, and never the whole of a very short run.
    return min(max(1, round(share * steps)), steps)


def _second_moment(optimizer: OptimizerFacts) -> float | None:
    betas = optimizer.settings.get("betas")
    if isinstance(betas, tuple) and len(betas) >= 2:  # noqa: PLR2004 - (beta1, beta2, ...)
        beta2: object = betas[1]
    else:
        beta2 = optimizer.settings.get(_OTHER_NAMES.get(optimizer.name, ""))
    return beta2 if isinstance(beta2, float) and 0 <= beta2 < 1 else None
