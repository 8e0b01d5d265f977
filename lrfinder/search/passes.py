"""How often a short run passes over its data: as often as the whole run that it stands for."""

from __future__ import annotations

# Updates. The short runs of a sweep don't know the coming run's length; they stand for the shortest one that repays a
# sweep, which is about as long as the sweep itself. A longer one passes over its data more often: `verify` tries that.
REFERENCE_RUN = 400


def subset_size(per_epoch: int | None, *, steps: int, whole: int) -> int | None:
    """Return on how many different batches a run of `steps` updates stands for one of `whole`; None: on all that come.

    per_epoch * steps / whole, at least 1

    So the short run passes over its few batches as often as the whole one does over all `per_epoch` of them, and
    overfits as it will. If many passes favor a lower rate, a short run on ever new batches can't tell. None if the
    whole run sees no batch twice, if it is no longer than the short one, or if `per_epoch` isn't known.
    """
    if per_epoch is None or whole <= per_epoch or steps >= whole:
        return None
    return max(1, round(per_epoch * steps / whole))
