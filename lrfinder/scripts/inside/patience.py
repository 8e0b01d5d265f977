"""How long the script may go on without an update of the swept optimizer, until it is told that none will come."""

from __future__ import annotations

import time

MOST_BACKWARDS = 300  # calls of backward() without a step: nobody accumulates so many batches,
MOST_TIMES = 30  # or so many times as before another step: one for each move of an episode
MOST_GRADIENTS = 1000  # by torch.autograd.grad before any backward(): a penalty or a look at the data takes fewer,
MOST_GRADIENTS_S = 20.0  # or is over by then
MOST_OTHER_STEPS, MOST_OTHER_S = 50, 30.0  # before the first one of the optimizer that was named: both are over then
MOST_SKIPPED = 100  # steps in a row that a gradient scaler leaves out: by then it has halved itself down to nothing
MOST_WITHOUT_LOSS = 10  # steps for which no backward() was seen: the first may be a warm-up of the optimizer's state
MOST_ROUNDS = 100  # batches drawn and gradients zeroed without a backward(), until the weights are looked at


class Patience:
    """Remembers what is usual for this script."""

    def __init__(self) -> None:
        self.most_backwards = 0  # before one step
        self._first_other: float | None = None  # when another optimizer than the followed one made a step first

    def too_many_backwards(self, backwards: int) -> int | None:
        """Return how many calls are the most before a step, if these are more."""
        most = max(MOST_BACKWARDS, MOST_TIMES * self.most_backwards)
        return most if backwards > most else None

    def too_many_of_others(self, steps: int) -> float | None:
        """Return for how many seconds other optimizers have made steps, if these are too many."""
        now = time.monotonic()
        self._first_other = now if self._first_other is None else self._first_other
        spent = now - self._first_other
        return spent if steps > MOST_OTHER_STEPS and spent > MOST_OTHER_S else None
