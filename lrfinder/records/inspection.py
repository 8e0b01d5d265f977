"""What the first batch of a sweep shows, before any update."""

from __future__ import annotations

from dataclasses import dataclass

from lrfinder.records.measured import Setup

CROSS_ENTROPY = "cross-entropy"
SQUARED_ERROR = "mean squared error"
BINARY_CROSS_ENTROPY = "binary cross-entropy"
_FAR = 3.0  # times the loss of a constant prediction: no usual initialization begins there with scaled data
_NATS = 1.0  # above it, for cross-entropy: labels of very unequal frequency alone cost less


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The first batch, its loss, and the loss of the best constant prediction for it.

    `groups` are the trained numbers of each param group, and its rate over the swept one. `memory` is what the device
    has and what of it is free, in bytes. `kind` is the loss, if it is recognised (CROSS_ENTROPY on class labels or
    SQUARED_ERROR, as mean), else "": then `loss` and `constant` are None. `constant` is the entropy of the labels'
    frequencies, or the variance of the targets. `probabilities` tells that cross-entropy was given rows that sum to 1.
    """

    shapes: tuple[str, ...]
    groups: tuple[tuple[int, float], ...]
    memory: tuple[int, int] | None = None
    kind: str = ""
    loss: float | None = None
    constant: float | None = None
    probabilities: bool = False

    @property
    def doubts(self) -> tuple[str, ...]:
        """What looks like a mistake, and what to do."""
        found = []
        if self.probabilities:
            found.append(
                "cross-entropy gets probabilities: each row of the model's output sums to 1. It takes logits, and has "
                "a softmax of its own: remove the one at the end of the model"
            )
        if self.loss is not None and self.constant is not None and self._is_far(self.loss, self.constant):
            what = "targets and inputs" if self.kind == SQUARED_ERROR else "inputs and the last layer's initialization"
            found.append(
                f"the first loss, {self.loss:.4g}, is far above the {self.constant:.4g} of a constant prediction: look "
                f"at the scale of {what}"
            )
        return tuple(found)

    def _is_far(self, loss: float, constant: float) -> bool:
        return loss > _FAR * constant > 0 and (self.kind != CROSS_ENTROPY or loss > constant + _NATS)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DryRun:
    """What a sweep would train, as its first batch shows it, and what it would cost.

    `sweep_updates` are those of the repeats and short sweeps; `trials` runs of `trial_updates` follow at least.
    `seconds` is the estimate for all of these. `warnings` say what looks like a mistake.
    """

    setup: Setup
    inspection: Inspection
    seconds_per_update: float
    sweep_updates: int
    trials: int
    trial_updates: int
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"DryRun({self.setup.model}, {self.setup.device}, {self.updates} updates in about {self.seconds:.1f} s)"

    @property
    def updates(self) -> int:
        """The updates of the whole sweep, with the fewest trial runs."""
        return self.sweep_updates + self.trials * self.trial_updates

    @property
    def seconds(self) -> float:
        """The estimated duration of those updates."""
        return self.updates * self.seconds_per_update
