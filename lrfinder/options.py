"""The words and the defaults of a sweep that options, records and files share.

They are apart from the records, because making those classes takes longer than printing the command line's help.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from enum import StrEnum

MIN_LR = 1e-6  # below every rate that a default optimizer trains at, with room to see the flat start of the curve
MAX_LR = 100.0  # plain SGD on normalised inputs trains at 10; the sweep stops by itself if the loss diverges
STEPS = 100  # 12.5 updates a decade over 8 decades; a longer sweep trains while it measures (depletion)
PER_DECADE = 12.5  # of them, by default
# On thirteen real tasks the best rate of 25 updates lies up to a decade from that of 400, that of 50 up to half a
# decade, that of 75 up to a quarter; three such runs and two repeats of a sweep stay near 400 updates.
# Fewer cost less: see rules/README.md#run_steps.
RUN_STEPS = 75
LEAST_TRIALS = 3  # short runs that `auto` makes at least
MIN_RUN_STEPS = 10  # fewer updates see little but the warm-up
CHECK_SECONDS = 300.0  # of a check: a job of continuous integration that takes longer is a problem of its own
SAME_RATE = 1e-3  # of the peak, for rates in a log: trains no differently, and more than logs round by
LOADER_TIMEOUT = 120.0  # seconds; batches that slow are rare, and a training that hangs is better reported soon
# A file from elsewhere must not fill the memory with rates: no range test needs more than a million updates.
MOST_STEPS = 1_000_000
MOST_PROCESSES = 1024  # at once on one machine; more is a slip
LONGEST_WAIT_S = 1e9  # thirty years; the system's timers take no more
MOST_REPEATS = 1_000
REPEATS = 2  # the fewest whose spread says anything; short runs say the rest (three alone scatter by 0.04, two by 0.05)


class Spacing(StrEnum):
    """How the rate grows from update to update."""

    EXP = "exp"
    LINEAR = "linear"


class Mode(StrEnum):
    """How rates share weights.

    `continuous` trains on while the rate grows; `restart` gives every rate a short run of its own from the same
    weights, optimizer state and batches; `auto` begins continuously, adds short sweeps if that was a long one, then
    restarts around what that found, or over the whole range if it found nothing.
    """

    CONTINUOUS = "continuous"
    RESTART = "restart"
    AUTO = "auto"


class Metric(StrEnum):
    """Which loss the continuous sweep records after each update.

    `train` is that of the next training batch, `probe` that of a batch of the train_loader that was set aside before
    training, `val` the mean over the first batches of the val_loader. The last two are computed in evaluation mode, on
    the same batches and with the same draws for every rate.
    """

    TRAIN = "train"
    PROBE = "probe"
    VAL = "val"


class Precision(StrEnum):
    """The numbers that the loss is computed in.

    `auto`: as the model and its code do it, nothing is changed. `fp32` computes without autocast, even if the caller
    has switched it on; `bf16` and `fp16` with it. With `fp16` the loss is scaled up for the backward pass.
    """

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Strategy(StrEnum):
    """How several processes share a model.

    `ddp`: each has all weights, and the gradients are averaged. `fsdp2`: each has its part of every weight.
    """

    DDP = "ddp"
    FSDP2 = "fsdp2"


class Graph(StrEnum):
    """Whether an update is recorded once and repeated by two calls (CUDA graphs).

    `auto`: if the recording gives the same losses and weights in less time. `on`: even if it is not faster.
    """

    OFF = "off"
    AUTO = "auto"
    ON = "on"


class Stop(StrEnum):
    """Why a repeat or a run ended. The first three are how it should end; the others cut it short."""

    COMPLETED = "completed"  # every rate of the sweep was tried
    DIVERGED = "diverged"  # the loss rose clearly above where it began: no need to go on
    NON_FINITE = "non_finite"  # a loss was NaN or infinite
    OUT_OF_DATA = "out_of_data"  # a loader that can't be started again ran dry
    OUT_OF_TIME = "out_of_time"  # the time limit that the caller set
    INTERRUPTED = "interrupted"  # Ctrl-C, SIGINT
    TERMINATED = "terminated"  # SIGTERM
    FAILED = "failed"  # an exception: what was measured before it is kept

    @property
    def blew_up(self) -> bool:
        """True if the loss rose far or was not finite: an answer, that the rate was too high."""
        return self in {Stop.DIVERGED, Stop.NON_FINITE}

    @property
    def cut_short(self) -> bool:
        """True if something other than the loss ended it: it is no answer."""
        return self not in {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE}

    @property
    def worth_repeating(self) -> bool:
        """True if the same again may give more: it was cut short, and not because the data ran out."""
        return self.cut_short and self is not Stop.OUT_OF_DATA

    @property
    def ends_the_sweep(self) -> bool:
        """True if nothing of the same sweep can follow: it was cut short, and not by an exception of one run."""
        return self.cut_short and self is not Stop.FAILED

    @property
    def was_asked_for(self) -> bool:
        """True if the user ended it: by a signal or by a time limit."""
        return self in {Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME}


# In the reason of an end by a loss that isn't finite, if no weight and no buffer is to blame.
FINITE_WEIGHTS = "the weights are finite, so it comes from the loss or the data"

# In the same place, of weights in float16.
TOO_NARROW = "too narrow for an optimizer"

# In a note on a loader whose length isn't the number of batches in a pass.
LONGER = "train_loader gives more batches in a pass than its length"

# How a note begins if training changed nothing, and so no rate can have done anything.
UNMOVED_WEIGHTS = "no weight moved"
OTHER_KIND = "the held-out loss is of another kind than that of training"

STOP_TEXT = {
    Stop.COMPLETED: "completed",
    Stop.DIVERGED: "the loss diverged",
    Stop.NON_FINITE: "the loss was not finite",
    Stop.OUT_OF_DATA: "the data ran out",
    Stop.OUT_OF_TIME: "the time limit was reached",
    Stop.INTERRUPTED: "it was interrupted",
    Stop.TERMINATED: "it was terminated",
    Stop.FAILED: "it failed",
}


def read_count(text: str) -> int | None:
    """Read a whole number as people write it: 10000, 1e4, 10k or 2.5M; None if it isn't one."""
    factor = {"k": 1000, "K": 1000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        value = factor * Decimal(text if factor == 1 else text[:-1])
    except ArithmeticError:  # no number, or one too long for Decimal
        return None
    return int(value) if value.is_finite() and abs(value) <= sys.maxsize and value == int(value) else None
