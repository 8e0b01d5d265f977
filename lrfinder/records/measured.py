"""What was measured, on what, and how it ended."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from lrfinder.optimizers import check_name, is_value
from lrfinder.options import LONGER, Stop
from lrfinder.records.settings import SweepSettings
from lrfinder.records.strict import STRICT


class Point(NamedTuple):
    """One measurement, as it happens: the loss that follows update `step` at rate `lr` (see `Metric`).

    A named tuple, because every update makes one, and a frozen dataclass takes twice as long.
    """

    repeat: int
    step: int
    lr: float
    loss: float


JUDGED = "evaluation mode"  # how held-out data are judged, if nothing speaks against it
FACTOR, NOISES = 3.0, 10.0  # losses that differ by more than both aren't of one thing: rules/README.md#factor-noises
FRESH_FACTOR = 10.0  # in place of FACTOR, if the weights or the data are others: rules/README.md#factor-noises


def losses_differ(one: float, other: float, *, noise: float = 0.0, factor: float = FACTOR) -> bool:
    """Tell whether two finite measurements of one loss can't both be right; `noise` is the range of a few such losses.

    |a - b| > (factor - 1) min(|a|, |b|) + NOISES noise
    """
    return abs(one - other) > (factor - 1) * min(abs(one), abs(other)) + NOISES * noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat: `losses[i]` was measured right after the update at rate `lrs[i]`, so it shows what that rate did.

    `initial_loss` is the loss before the first update. Losses may be non-finite at the end (see `stop`).
    `updates` counts every optimizer update spent, also one whose loss could not be measured any more. `skipped` counts
    updates that the loss scaler left out, since the gradient overflowed: each was made again, on the next batch. Where
    memory ran out, the gradient of each batch was summed over `micro_batches` parts of it; `note` says so, for people.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    repeat: int
    seed: int
    initial_loss: float | None
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    stop: Stop
    updates: int
    why: str = ""  # a sentence on `stop`, for people
    skipped: int = 0
    micro_batches: int = 1
    note: str = ""
    empty: int = 0  # batches without a loss (the user's code gave None), which were skipped
    doubt: str = ""  # why its losses may say little of what is learned, as it has shown: then no pick is confident


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A short run to be made: `steps` updates from the start, under `schedule` compressed to that length.

    Runs with the same `repeat` begin from the same weights, optimizer state, generators and batches. `batches` says on
    how many different batches it trains, over and over (each of as many samples as an update takes); None: on all that
    come. A `control` shows what the loss does at a rate too small to learn at: no rise ends it. By `drift` the training
    loss may rise more than usual before it counts as diverged, since that of the controls did so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    lr: float  # the peak rate
    steps: int
    repeat: int = 0
    schedule: str = "linear"
    batches: int | None = None
    control: bool = False
    drift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortRun:
    """A short run that was made: `loss` is what it reached, on data that it is judged by, and None if it failed to.

    `initial_loss` is the loss on the same data before the first update; a script's is what a control reached on them,
    or that of its first batch. `metric` says which data that is: "val", the val_loader, "probe", batches of the
    train_loader that were set aside, or "train", the training losses themselves, the last tenth of them, where a script
    shows no other. `updates` were spent on it. `fresh`: it should have trained on the same batches over and over, but
    they were too large to be kept, or a script could not be given them.
    `constant` is the loss of the best constant prediction for the data that it is judged by, None if that isn't known.
    `skipped`, `micro_batches` and `note`: as in Trace.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    plan: RunPlan
    seed: int
    metric: str
    initial_loss: float | None
    loss: float | None
    stop: Stop
    updates: int
    why: str = ""  # a sentence on `stop`, for people
    fresh: bool = False
    skipped: int = 0
    micro_batches: int = 1
    note: str = ""
    first_loss: float | None = None  # that of the first training batch, before any update; None: not known
    empty: int = 0  # as in Trace
    rise: float = 0.0  # of a control: how far its training loss rose, if that would have ended another run
    constant: float | None = None
    doubt: str = ""  # as in Trace

    @property
    def judged_by(self) -> str:
        """What `loss` is, in words."""
        return {"val": "validation loss", "train": "mean of the last training losses"}.get(self.metric, "held-out loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerFacts:
    """The optimizer that was swept: class name, its numeric defaults, and each group's rate over the reference rate."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    settings: dict[
        str, bool | int | float | str | tuple[float, ...] | None
    ]  # e.g. {"momentum": 0.9, "betas": (0.9, 0.999)}
    group_ratios: tuple[float, ...] = (1.0,)
    default_lr: float | None = None  # the class's own default rate, if it has one
    own_lr: float | None = None  # the user's own, as a reference rate; None: the code that makes it is given one
    chosen_by: str = "model file"  # or "option", "default"

    def __post_init__(self) -> None:
        """Refuse what no config could hold, and a name that isn't one: it comes to stand in exported code."""
        check_name(self.name)
        for key, value in self.settings.items():
            if value is not None and not is_value(value):
                raise ValueError(f"settings.{key}: no config can hold {str(value)[:60]!a}")
        if not any(self.group_ratios) or not all(math.isfinite(ratio) and ratio >= 0 for ratio in self.group_ratios):
            raise ValueError("group_ratios: expected finite numbers from 0, one of them above 0")
        if self.own_lr is not None and not 0 < self.own_lr < math.inf:
            raise ValueError(f"own_lr: expected a finite number above 0, got {self.own_lr}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The checkpoint from which all that is trained begins: `sha256` of its files, and the `step` that it had reached.

    `lr` is the rate at which its run stopped, as a reference rate; None: it doesn't say. `optimizer`: the optimizer's
    state was taken from it, too.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    file: str
    sha256: str
    step: int | None = None
    lr: float | None = None
    optimizer: bool = False

    def __post_init__(self) -> None:
        """Refuse what no optimizer has."""
        if (self.step is not None and self.step < 0) or (self.lr is not None and not 0 <= self.lr < math.inf):
            raise ValueError(f"start: step and lr can't be {self.step} and {self.lr}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the curve was measured on. Curves may only be compared if this agrees."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: str
    parameters: int
    loss: str  # how the loss was found, e.g. "loss_fn CrossEntropyLoss", "cross-entropy (inferred: ...)"
    optimizer: OptimizerFacts
    batch_size: int | None  # samples of an update, `accumulate` batches of each process; None: not known
    batches_per_epoch: int | None  # updates of a pass over the data; None if the loader has no length
    device: str
    torch: str
    python: str
    lrfinder: str
    cached_batches: int | None = None  # on so many batches, over and over; None: on all that came
    graph: str | None = None  # "" if updates were recorded, else why not; None: that wasn't asked for
    skipped_hooks: tuple[str, ...] = ()  # of a LightningModule, which aren't called and could change an update
    start: Start | None = None  # None: from new weights
    first_batch: str | None = None  # its digest, which tells whether two runs began on the same data; None: not known
    judged: str | None = None  # the mode in which held-out data are judged, and why; None: nothing was judged
    processes: int | None = None  # that trained together, under torchrun; None: one by itself
    batch_per_process: int | None = None  # samples of a batch of each of them
    sharding: str = ""  # how they divide the data
    strategy: str = ""  # how they share the model
    doubt: str = ""  # why the loss may say little of what is learned: then no pick is confident
    sizes: tuple[float | None, ...] = ()  # of the numbers in each tensor of the first batch; None: not told

    @property
    def of_script(self) -> bool:
        """Whether a training script was swept, each part in a process of its own."""
        return self.optimizer.chosen_by == "script"

    @property
    def batch(self) -> str:
        """The samples of an update in words: "256 (32 x 2 processes x 4 accumulated)"; nothing if it isn't known."""
        if self.batch_size is None or self.processes is None or not self.batch_per_process:
            return "" if self.batch_size is None else str(self.batch_size)
        taken = self.batch_size // (self.batch_per_process * self.processes)
        accumulated = f" x {taken} accumulated" if taken > 1 else ""
        processes = "process" if self.processes == 1 else "processes"
        return f"{self.batch_size} ({self.batch_per_process} x {self.processes} {processes}{accumulated})"


# Which ending names the whole sweep, if its repeats ended differently: what cut it short comes first.
_TELLING = (
    Stop.FAILED,
    Stop.TERMINATED,
    Stop.INTERRUPTED,
    Stop.OUT_OF_TIME,
    Stop.OUT_OF_DATA,
    Stop.NON_FINITE,
    Stop.DIVERGED,
    Stop.COMPLETED,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SweepResult:
    """A finished (or interrupted) sweep: settings, setup, one trace per continuous repeat, and the short runs.

    `short_sweeps` are the repeats of `settings.short()`, if the sweep was a long one.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    settings: SweepSettings
    setup: Setup
    traces: tuple[Trace, ...]
    run: str | None = None  # the run folder, if there is one
    runs: tuple[ShortRun, ...] = ()
    short_sweeps: tuple[Trace, ...] = ()

    def __repr__(self) -> str:
        what = f"{self.setup.model}, {self.setup.optimizer.name}"
        return f"{type(self).__name__}({what}, {self.updates} updates, {self.status.value})"

    @property
    def pick_source(self) -> SweepResult:
        """What picks are made from: the short sweeps, if there are any and all have ended; else this.

        A long sweep has used up the loss before it reaches the best rates, and the longer it is, the lower the rate at
        which it falls fastest. So a pick that is to be the same for sweeps of any length rests on one length.
        """
        short = self.settings.short()
        cut = any(trace.stop.cut_short for trace in self.short_sweeps)
        if short is None or cut or len(self.short_sweeps) < short.repeats:
            return self
        return dataclasses.replace(self, settings=short, traces=self.short_sweeps, short_sweeps=())

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the losses may say little of what is learned, as is known before or as a part has shown."""
        shown = (part.doubt for part in (*self.traces, *self.short_sweeps))
        return tuple(dict.fromkeys(filter(None, (self.setup.doubt, *shown, *(run.doubt for run in self.runs)))))

    @property
    def batches_per_epoch(self) -> int | None:
        """Updates of a pass over the data; None if the loader has no length, or a wrong one."""
        return None if any(LONGER in note for note in self.notes) else self.setup.batches_per_epoch

    @property
    def status(self) -> Stop:
        """How the sweep ended; if its parts ended differently, the ending that matters most.

        That a short run or sweep diverged is an answer, not an ending: only what cut it short counts of those.
        """
        others: tuple[Trace | ShortRun, ...] = (*self.short_sweeps, *self.runs)
        ends = {trace.stop for trace in self.traces} | {one.stop for one in others if one.stop.cut_short}
        if self.runs and not ends:
            return Stop.COMPLETED
        return next((stop for stop in _TELLING if stop in ends), Stop.INTERRUPTED)

    @property
    def lrs(self) -> tuple[tuple[float, ...], ...]:
        """The rates that were tried, one sequence per continuous repeat; without any, those of the short runs."""
        if self.runs and not self.traces:
            return (tuple(run.plan.lr for run in self.runs),)
        return tuple(trace.lrs for trace in self.traces)

    @property
    def losses(self) -> tuple[tuple[float, ...], ...]:
        """The loss after the update at each of `lrs`; of a short run what it reached, NaN if it didn't get there."""
        if self.runs and not self.traces:
            return (tuple(math.nan if run.loss is None else run.loss for run in self.runs),)
        return tuple(trace.losses for trace in self.traces)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how this was measured, each once."""
        empty = sum(one.empty for one in self._parts)
        skipped = f"{empty} batches were skipped, since their loss is None" if empty else ""
        return tuple(dict.fromkeys(note for note in (skipped, *(one.note for one in self._parts)) if note))

    @property
    def updates(self) -> int:
        """Every optimizer update spent, over all repeats, short sweeps and short runs."""
        return sum(one.updates for one in self._parts)

    @property
    def _parts(self) -> tuple[Trace | ShortRun, ...]:
        return (*self.traces, *self.short_sweeps, *self.runs)
