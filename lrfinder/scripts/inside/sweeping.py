"""One run of the script for a sweep: a rate for each update, a message for each loss, and the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.runtime.memory import most_memory
from lrfinder.errors import error_text
from lrfinder.formatting import format_count
from lrfinder.options import FINITE_WEIGHTS, Stop
from lrfinder.scripts.inside import refusals
from lrfinder.scripts.inside.ending import end_process
from lrfinder.scripts.inside.facts import LoaderWatch, facts_of, names_of
from lrfinder.scripts.inside.followed import FollowedOptimizer
from lrfinder.scripts.inside.held_back import DECIDED_AFTER, HeldBack
from lrfinder.scripts.inside.losses import GradientWatch, LossWatch
from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.patience import (
    MOST_BACKWARDS,
    MOST_GRADIENTS,
    MOST_GRADIENTS_S,
    MOST_ROUNDS,
    MOST_SKIPPED,
    MOST_WITHOUT_LOSS,
    Patience,
)
from lrfinder.scripts.inside.rates import StepHooks, listed, ratio_of_rates
from lrfinder.scripts.inside.step_times import StepTimes
from lrfinder.scripts.inside.weights import all_finite, largest_of

LEAST_IN_A_ROW = 10  # updates before another optimizer of the same names: no two take turns so seldom
RUINED = 1e3  # times the largest weight of the beginning: a loss that the script leaves out is not finite then


class ScriptRun:
    """Sets rate i before update i, and sends the loss that follows it: the one of the next batch, before its update.

    A loss that isn't finite or has diverged ends the process, and so does the loss after the last update, unless
    batches were held back that are to be judged then. `drift` is added to the rise that counts as divergence; None: no
    rise ends the run.

    One of several `processes` judges no loss: who takes the messages of all does that. At its end it waits to be
    killed, so that no other one fails because this one is gone.
    """

    def __init__(
        self,
        messages: Messages,
        rates: list[float],
        *,
        which: str | None,
        scale_others: bool,
        drift: float | None,
        judged: bool,
        different: int | None,
        processes: int | None,
        began: float,
        training_begins: Callable[[], None],
    ) -> None:
        """`judged`: the weights at the end are to be judged by data held back, if some of them would come twice.

        On how many updates' batches it trains, over and over, says `different`; None: on all that come.
        `began` is when the process started, by `time.monotonic`.
        `training_begins` is called at the first backward(), or before the first step if there was none.
        """
        self.rates = rates
        self._last = len(rates) - 1  # the index of the last one, which is held
        self._messages, self._which, self._drift = messages, which, drift
        self._scales_others = scale_others
        self._processes, self._parent = processes, os.getppid()
        self._began, self._training_begins = began, training_begins
        self._training = False
        self._patience = Patience()
        self._backwards = 0  # in all
        self._rule: DivergenceRule | None = None
        self._updates = self._losses = self._skipped = self._skipped_in_a_row = self._without_loss = 0
        self._unmeasured = False  # there is a loss before the step under way that was not taken yet
        self._skipping = False  # the step under way, or the last one, is left out by the gradient scaler
        self._shared: float | None = None  # the loss that another optimizer's step has just used
        self._takes_turns = self._turns_told = False  # another optimizer steps between steps of the followed one
        self._times = StepTimes()
        self._owner = os.getpid()
        self._rounds = 0  # since the last backward()
        self._first_size = 0.0  # of the largest weight
        self._loaders = LoaderWatch(drawn=self._round_seen)
        self._gradients = GradientWatch(self._gradient_seen)
        self._held_back = HeldBack(len(rates), wanted=judged, different=different)
        self._losses_seen = LossWatch(
            followed=lambda: None if self._hooks.followed is None else self._hooks.followed.optimizer,
            backward_seen=self._backward_seen,
            zeroed=self._round_seen,
            step_skipped=self._step_skipped,
        )
        self._hooks = StepHooks(
            which,
            seen=self._optimizer_seen,
            before=self._before,
            after=self._after,
            of_others=self._other_stepped,
            scale_others=scale_others,
        )

    def ended_by_itself(self, error: BaseException | None) -> NoReturn:
        """End, since the script has ended: by `error`, or None."""
        status = error.code if isinstance(error, SystemExit) else None
        failed = error is not None and (not isinstance(error, SystemExit) or status not in {None, 0})
        if self._held_back.judging or (self._losses == len(self.rates) and not failed):
            self.end(Stop.COMPLETED)  # every rate was tried; the loss after the last one is missing
        if not failed and not self._hooks.names:
            calls = f"it ended after {self._backwards} calls of backward()"
            self.refuse(refusals.no_optimizer(calls) if self._backwards else refusals.NO_TRAINING)
        if not failed and self._hooks.names and self._hooks.followed is None:
            self.refuse(refusals.no_such_optimizer(self._which, self._known))
        if not failed and (size := self._ruined_size()):
            self.end(Stop.NON_FINITE, f"the script ended itself {self._when()}, and its weights reach {size:.0e}")
        if not failed:
            self.end(Stop.OUT_OF_DATA, f"the script ended after {format_count(self._updates, 'update')}")
        what = f"exit status {status}"
        if error is not None and not isinstance(error, SystemExit):
            what = f"{type(error).__name__}: {error_text(error)}"
        self.end(Stop.FAILED, " ".join(what.split())[:1000])

    def refuse(self, why: str) -> NoReturn:
        """End, since the script can't be swept as it was started."""
        self.end(Stop.FAILED, why, refused=True)

    def end(self, stop: Stop, why: str = "", *, refused: bool = False, held_out: float | None = None) -> NoReturn:
        """Report how the run ended, and end the process.

        `held_out` is the loss of what was held back, at the weights of the end.
        """
        told = {"why": why, "refused": refused, "held_out": held_out, "idle": self._idle()}
        self._messages.send("end", stop=stop.value, **told, **self._state())
        end_process(killed_by=None if self._processes is None else self._parent)

    def _idle(self) -> str:
        """Name the optimizers that the script has made for other weights, and that have made no step."""
        if self._hooks.followed is None:
            return ""
        others = self._losses_seen.made.others_than(self._hooks.followed.optimizer)
        return listed([names_of(other) for other in others if id(other) not in self._hooks.names])

    def _state(self) -> dict[str, Any]:
        """Return what is known of the run so far."""
        return {
            "updates": self._updates,
            "skipped": self._skipped,
            "memory": self._memory(),
            "fresh": self._held_back.fresh and self._updates > DECIDED_AFTER,
            "own_rate_moved": self._hooks.followed is not None and self._hooks.followed.moved,
            **self._times.told(),
        }

    def _memory(self) -> int:
        followed = self._hooks.followed
        parameters = [] if followed is None else followed.optimizer.param_groups[0]["params"]
        return most_memory(parameters[0].device if parameters else torch.device("cpu"))

    # What the hooks call, in the order of an update.

    def _begin_training(self) -> None:
        if not self._training and os.getpid() == self._owner:
            self._training = True
            self._gradients.forget()
            self._training_begins()

    def _backward_seen(self) -> None:
        if not self._training:
            self._begin_training()
        self._backwards += 1
        self._rounds = 0
        if self._losses_seen.calls > MOST_BACKWARDS:
            self._many_backwards_seen()

    def _many_backwards_seen(self) -> None:
        if self._hooks.inside_step or os.getpid() != self._owner:
            return
        most = self._patience.too_many_backwards(self._losses_seen.calls)
        if most is None:
            return
        if self._hooks.followed is not None:
            self.end(
                Stop.FAILED, f"{most} calls of backward() without a step after {format_count(self._updates, 'update')}"
            )
        if self._hooks.names:
            self.refuse(refusals.no_such_optimizer(self._which, self._known))
        self.refuse(refusals.no_optimizer(f"{MOST_BACKWARDS} calls of backward()"))

    def _gradient_seen(self, calls: int, spent_s: float) -> None:
        """Take note of gradients that the script takes without backward(): it may do so for ever."""
        if not self._training and os.getpid() == self._owner and calls > MOST_GRADIENTS and spent_s > MOST_GRADIENTS_S:
            instead = f"{calls} calls of torch.autograd.grad or torch.func, none of backward()"
            self.refuse(refusals.no_optimizer(instead))

    def _round_seen(self) -> None:
        """Take note of a batch, or of gradients that are zeroed: some scripts go on so for ever if losses are NaN."""
        self._rounds += 1
        if self._rounds % MOST_ROUNDS == 0 and os.getpid() == self._owner and (size := self._ruined_size()):
            why = f"the script trains on no batch any more {self._when()}, and its weights reach {size:.0e}"
            self.end(Stop.NON_FINITE, why)

    def _ruined_size(self) -> float | None:
        """Return the size of the largest weight if no loss can be finite there; else None."""
        followed = self._hooks.followed
        size = largest_of(followed.optimizer) if followed is not None and self._losses else 0.0
        return None if size <= RUINED * (self._first_size or 1.0) else size

    def _step_skipped(self) -> None:
        self._skipped += 1
        self._skipped_in_a_row += 1
        loss = self._losses_seen.peek()
        if loss is not None and not math.isfinite(loss) and self._hooks.followed is not None:
            self._loss(loss)
        if self._skipped_in_a_row > MOST_SKIPPED:
            self.end(Stop.NON_FINITE, f"the loss scaler skipped {MOST_SKIPPED} updates in a row {self._when()}")

    def _optimizer_seen(self, optimizer: torch.optim.Optimizer, names: tuple[str, ...]) -> None:
        known = self._known
        self._begin_training()
        followed = self._hooks.followed
        if self._which not in {None, *names}:
            return
        if (followed is None or self._scales_others) and not FollowedOptimizer.has_rate(optimizer):
            self.refuse(refusals.no_rate(listed([names])))
        if followed is None:
            return
        same_names = names == self._hooks.names[id(followed.optimizer)]
        if same_names and self._updates >= LEAST_IN_A_ROW:  # the next fold, or the next of several settings
            self.end(
                Stop.OUT_OF_DATA, f"the script began another training after {format_count(self._updates, 'update')}"
            )
        if self._scales_others:
            ratio = ratio_of_rates(FollowedOptimizer(optimizer), followed)
            self._messages.send("scaled", called=listed([names]), ratio=ratio)
            return
        if same_names:
            self.refuse(refusals.many_trainings(known, self._made))
        self.refuse(refusals.several_optimizers(self._which, known))

    def _other_stepped(self, _optimizer: torch.optim.Optimizer) -> None:
        self._losses_seen.steps += 1
        self._shared = self._losses_seen.take()
        began = self._hooks.followed is not None
        # Those that are scaled make the same update, unless they have a loss of their own.
        self._takes_turns |= began and not (self._scales_others and self._shared is None)
        if not began:
            steps = self._losses_seen.steps
            spent_s = self._patience.too_many_of_others(steps)
            if spent_s is not None:
                self.refuse(refusals.not_its_turn(self._which, self._known, steps=steps, spent_s=spent_s))

    def _before(
        self, followed: FollowedOptimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._takes_turns and not self._turns_told:  # at once: a run may end without a word
            self._turns_told = True
            self._messages.send("takes_turns")
        watch = self._losses_seen
        watch.steps += 1
        self._patience.most_backwards = max(self._patience.most_backwards, watch.calls)
        closure = None
        if kwargs or len(args) > 1:  # args[0] is the optimizer itself
            closure = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
        found = getattr(followed.optimizer, "found_inf", None)  # set by a scaler whose optimizer skips by itself
        self._skipping = found is not None and bool(found)
        self._unmeasured = closure is not None and watch.counted > 0
        if closure is None:
            self._measure_before(followed)
            followed.set(self.rates[min(self._updates, self._last)])
            return None
        followed.set(self.rates[min(self._updates, self._last)])
        first = watch.first_of(closure, lambda batches, loss: self._measured(followed, batches, loss))
        if kwargs.get("closure"):
            return args, {**kwargs, "closure": first}
        return (args[0], first, *args[2:]), kwargs

    def _measure_before(self, followed: FollowedOptimizer) -> None:
        """Take what backward() was called on before a step: of this optimizer, or of another one on the same loss."""
        batches, loss = self._losses_seen.counted, self._losses_seen.take()
        loss = self._shared if loss is None else loss
        if loss is not None:
            self._measured(followed, batches, loss)
            return
        self._without_loss += 1
        if self._without_loss >= MOST_WITHOUT_LOSS:
            self.refuse(refusals.NO_LOSS)

    def _after(self, followed: FollowedOptimizer) -> None:
        if self._unmeasured:  # the step has called no closure
            self._measure_before(followed)
        watch = self._losses_seen
        if watch.calls or watch.settled:
            watch.forget()
        self._shared = None
        if self._held_back.judging:
            self._held_back.stay()
            return
        self._times.ends.append(time.monotonic())
        if self._skipping:
            self._step_skipped()
            return
        self._updates += 1
        self._skipped_in_a_row = 0
        if self._held_back.deciding or self._updates == len(self.rates):
            self._hold_back(followed)

    def _hold_back(self, followed: FollowedOptimizer) -> None:
        """Hold back what the weights are to be judged by, or begin to judge them."""
        alone = len(self._hooks.names) == 1  # another optimizer may have trained on what is held back
        if self._held_back.deciding:
            self._held_back.updated(self._updates, self._loaders.last if alone else None)
        if self._updates == len(self.rates) and self._held_back.ready and alone:
            self._held_back.judge(weight for group in followed.optimizer.param_groups for weight in group["params"])

    # What is known of the losses.

    def _report(self, followed: FollowedOptimizer, batches: int) -> None:
        """Send what is trained before the first loss; `batches` make an update."""
        if self._processes is not None and _world_size() != self._processes:
            self.refuse(refusals.no_group(self._processes))
        self._first_size = largest_of(followed.optimizer)
        ratios, called = followed.learn_ratios(), listed([self._hooks.names[id(followed.optimizer)]])
        if min(ratios) < 0:
            self.refuse(refusals.climbs(called, ratios.index(min(ratios))))
        facts = facts_of(followed.optimizer, ratios, max(1, batches), self._loaders)
        setup_s = time.monotonic() - self._began
        self._messages.send("first", setup_s=setup_s, own_rate=followed.own_rate, called=called, **facts)

    def _measured(self, followed: FollowedOptimizer, batches: int, loss: float) -> None:
        """Take the loss before a step, the mean over `batches`."""
        self._unmeasured = False
        if not self._losses:
            self._report(followed, batches)
        self._loss(loss)
        held_out = self._held_back.mean(loss) if self._held_back.judging else None
        if held_out is not None:
            self.end(Stop.COMPLETED, held_out=None if math.isnan(held_out) else held_out)

    def _loss(self, loss: float) -> None:
        """Take the loss of a batch before its update: the one after the update before."""
        if self._losses > self._updates:  # the last update was skipped: its loss is known already
            if not math.isfinite(loss):
                self._not_finite(loss)
            return
        self._losses += 1
        if self._processes is not None:
            why = "" if math.isfinite(loss) else self._why_not_finite(loss)
            self._messages.send("loss", loss=loss, why=why, **self._state())
        elif not math.isfinite(loss):
            self._messages.send("loss", loss=loss, updates=self._updates)
            self._not_finite(loss)
        else:
            self._messages.send_loss(loss, self._updates)
            if self._rule is None:
                drift = math.inf if self._drift is None else self._drift
                self._rule = DivergenceRule(least_rise=LEAST_SHARE * abs(loss) + drift)
            if self._rule.observe(loss):
                self.end(Stop.DIVERGED, self._rule.reason)
        if self._updates == len(self.rates) and not self._held_back.judging:
            self.end(Stop.COMPLETED)

    def _not_finite(self, loss: float) -> NoReturn:
        self.end(Stop.NON_FINITE, self._why_not_finite(loss))

    def _why_not_finite(self, loss: float) -> str:
        followed = self._hooks.followed
        finite = followed is None or all_finite(followed.optimizer)
        return f"the loss is {loss} {self._when()}" + (f": {FINITE_WEIGHTS}" if finite else "")

    @property
    def _made(self) -> str:
        return format_count(self._updates, "update")

    def _when(self) -> str:
        if self._updates == 0:
            return "before any update"
        return f"after the update at rate {self.rates[self._updates - 1]:.3g}"

    @property
    def _known(self) -> str:
        """The optimizers that have made a step."""
        return listed(list(self._hooks.names.values()))


def _world_size() -> int:
    group = torch.distributed
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1
