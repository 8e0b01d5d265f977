"""When the steps of the swept optimizer ended, and what between them was not training."""

from __future__ import annotations

PAUSE = 3.0  # medians: a longer time between two steps is not training but evaluation, sampling or saving


class StepTimes:
    """The time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []  # by `time.monotonic`

    def told(self) -> dict[str, float]:
        """Return `stepping_s`, the seconds from the first step's end to the last one's, and `pausing_s` of them."""
        gaps = [later - earlier for earlier, later in zip(self.ends, self.ends[1:], strict=False)]
        median = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
        return {"stepping_s": sum(gaps), "pausing_s": sum(gap - median for gap in gaps if gap > PAUSE * median)}
