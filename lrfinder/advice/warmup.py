"""How long the rate should rise before it decays."""

from __future__ import annotations

from lrfinder.optimizers import second_moment_decay, second_moment_updates
from lrfinder.records import OptimizerFacts

# Share of the run. Common practice for runs of any length is 1 to 10 %; longer, and the decay starts late.
LONGEST = 0.1
PLAIN = 0.05  # without a second moment there is no bias to wait out: only the first, largest gradients to pass


def warmup_updates(optimizer: OptimizerFacts, steps: int) -> tuple[int, str]:
    """Return the length of a linear warm-up, in updates, and its reason in words.

    With a second-moment average of decay beta2, its estimate rests on few gradients for about 2 / (1 - beta2) updates:
    the rule of thumb of Ma & Yarats (arXiv:1910.04209), cut to LONGEST of the run. RMSprop calls it `alpha`,
    Adadelta `rho`. Any other optimizer gets PLAIN of the run.
    """
    beta2 = second_moment_decay(optimizer.name, optimizer.settings)
    if beta2 is None:
        return _share(PLAIN, steps), f"{PLAIN:.0%} of the run"
    wanted = round(second_moment_updates(beta2))
    if wanted <= LONGEST * steps:
        return wanted, f"2/(1 - beta2) with beta2 = {beta2:g}"
    return _share(LONGEST, steps), f"{LONGEST:.0%} of the run; 2/(1 - beta2) = {wanted} would be longer"


def _share(share: float, steps: int) -> int:
    # At least one update, which is then already at the peak, and never the whole of a very short run.
    return min(max(1, round(share * steps)), steps)
