"""One run of the script for a sweep: a rate for each update, a message for each loss, and the end."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.runtime.memory import most_memory
from lrfinder.options import FINITE_WEIGHTS, Stop
from lrfinder.scripts.inside.facts import LoaderWatch, facts_of, names_of
from lrfinder.scripts.inside.followed import FollowedOptimizer
from lrfinder.scripts.inside.held_back import DECIDED_AFTER, HeldBack
from lrfinder.scripts.inside.losses import GradientWatch, LossWatch
from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.rates import StepHooks, listed

MOST_BACKWARDS = 300  # calls of backward() without a step: nobody accumulates so many batches,
MOST_TIMES = 30  # or so many times as before another step: one for each move of an episode
MOST_GRADIENTS, MOST_GRADIENTS_S = 1000, 20.0  # taken by torch.autograd.grad, before any backward() or step
MOST_SKIPPED = 100  # steps in a row that a gradient scaler leaves out: by then it has halved itself down to nothing
MOST_OTHER_STEPS, MOST_OTHER_S = 50, 30.0  # before the first one of the optimizer that was named: both are over then
LEAST_IN_A_ROW = 10  # updates before another optimizer of the same names: no two take turns so seldom
MOST_ROUNDS = 100  # batches drawn and gradients zeroed without a backward(), until the weights are looked at
RUINED = 1e3  # times the largest weight of the beginning: a loss that the script leaves out is not finite then
MOST_WITHOUT_LOSS = 10  # steps for which no backward() was seen
PAUSE = 3.0  # medians: a longer time between two steps is not training but evaluation, sampling or saving
WAIT_S = 0.1  # between two looks of a process that waits to be killed
_WORKERS_END_S = 2.0
_leave = os._exit  # as it was before it is watched


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
        self._messages, self._which, self._drift = messages, which, drift
        self._processes, self._parent = processes, os.getppid()
        self._began, self._training_begins = began, training_begins
        self._training = False
        self._backwards = self._most_backwards = 0  # in all, and before one step
        self._rule: DivergenceRule | None = None
        self._updates = self._losses = self._skipped = self._skipped_in_a_row = self._without_loss = 0
        self._skipping = False  # the step under way, or the last one, is left out by the gradient scaler
        self._first_other: float | None = None  # when another optimizer than the followed one made a step first
        self._shared: float | None = None  # the loss that another optimizer's step has just used
        self._takes_turns = self._turns_told = False  # another optimizer steps between steps of the followed one
        self._times: list[float] = []  # at the end of each step
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
            which, seen=self._optimizer_seen, before=self._before, after=self._after, of_others=self._other_stepped
        )

    def ended_by_itself(self, error: BaseException | None) -> NoReturn:
        """End, since the script has ended: by `error`, or None."""
        status = error.code if isinstance(error, SystemExit) else None
        failed = error is not None and (not isinstance(error, SystemExit) or status not in {None, 0})
        if self._held_back.judging or (self._losses == len(self.rates) and not failed):
            self.end(Stop.COMPLETED)  # every rate was tried; the loss after the last one is missing
        if not failed and not self._hooks.names:
            self._no_optimizer(f"it ended after {self._backwards} calls of backward()")
        if not failed and self._hooks.names and self._hooks.followed is None:
            self._no_such_optimizer()
        if not failed:
            self.end(Stop.OUT_OF_DATA, f"the script ended after {_count(self._updates)}")
        what = f"exit status {status}" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        self.end(Stop.FAILED, " ".join(what.split())[:1000])

    def refuse(self, why: str) -> NoReturn:
        """End, since the script can't be swept as it was started."""
        self.end(Stop.FAILED, why, refused=True)

    def end(self, stop: Stop, why: str = "", *, refused: bool = False, held_out: float | None = None) -> NoReturn:
        """Report how the run ended, and end the process: nothing of the script's runs on, no `finally`, no atexit.

        `held_out` is the loss of what was held back, at the weights of the end.
        """
        told = {"why": why, "refused": refused, "held_out": held_out, "idle": self._idle()}
        self._messages.send("end", stop=stop.value, **told, **self._state())
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the script may have closed or replaced it
                stream.flush()
        _end_workers()
        while self._processes is not None and os.getppid() == self._parent:
            time.sleep(WAIT_S)
        _leave(0)

    def _idle(self) -> str:
        """Name the optimizers that the script has made for other weights, and that have made no step."""
        if self._hooks.followed is None:
            return ""
        others = self._losses_seen.made.others_than(self._hooks.followed.optimizer)
        return listed([names_of(other) for other in others if id(other) not in self._hooks.names])

    def _state(self) -> dict[str, Any]:
        """Return what is known of the run so far."""
        gaps = [later - earlier for earlier, later in zip(self._times, self._times[1:], strict=False)]
        median = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
        return {
            "updates": self._updates,
            "skipped": self._skipped,
            "memory": self._memory(),
            "fresh": self._held_back.fresh and self._updates > DECIDED_AFTER,
            "own_rate_moved": self._hooks.followed is not None and self._hooks.followed.moved,
            "stepping_s": sum(gaps),
            "pausing_s": sum(gap - median for gap in gaps if gap > PAUSE * median),
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
        self._begin_training()
        self._backwards += 1
        self._rounds = 0
        if self._losses_seen.calls <= MOST_BACKWARDS or self._hooks.inside_step or os.getpid() != self._owner:
            return
        most = max(MOST_BACKWARDS, MOST_TIMES * self._most_backwards)
        if self._losses_seen.calls <= most:
            return
        if self._hooks.followed is not None:
            self.end(Stop.FAILED, f"{most} calls of backward() without a step after {_count(self._updates)}")
        if self._hooks.names:
            self._no_such_optimizer()
        self._no_optimizer(f"{MOST_BACKWARDS} calls of backward()")

    def _gradient_seen(self, calls: int, spent_s: float) -> None:
        """Take note of gradients that the script takes without backward(): it may do so for ever."""
        if not self._training and os.getpid() == self._owner and calls > MOST_GRADIENTS and spent_s > MOST_GRADIENTS_S:
            self._no_optimizer(f"{calls} calls of torch.autograd.grad or torch.func, none of backward()")

    def _round_seen(self) -> None:
        """Take note of a batch, or of gradients that are zeroed: some scripts go on so for ever if losses are NaN."""
        self._rounds += 1
        followed = self._hooks.followed
        if self._rounds % MOST_ROUNDS or followed is None or os.getpid() != self._owner:
            return
        size = _largest(followed.optimizer)
        if not size <= RUINED * self._first_size:
            why = f"the script trains on no batch any more {self._when()}, and its weights reach {size:.0e}"
            self.end(Stop.NON_FINITE, why)

    def _step_skipped(self) -> None:
        self._skipped += 1
        self._skipped_in_a_row += 1
        loss = self._losses_seen.peek()
        if loss is not None and not math.isfinite(loss) and self._hooks.followed is not None:
            self._loss(loss)
        if self._skipped_in_a_row > MOST_SKIPPED:
            self.end(Stop.NON_FINITE, f"the loss scaler skipped {MOST_SKIPPED} updates in a row {self._when()}")

    def _optimizer_seen(self, optimizer: torch.optim.Optimizer, names: tuple[str, ...]) -> None:
        known = list(self._hooks.names.values())
        self._begin_training()
        followed = self._hooks.followed
        if self._which not in {None, *names}:
            return
        if followed is None:
            if not FollowedOptimizer.has_rate(optimizer):
                self.refuse(f"{listed([names])} has no rate: there is no lr in its param groups")
            return
        if names == self._hooks.names[id(followed.optimizer)]:
            if self._updates >= LEAST_IN_A_ROW:  # the next fold, or the next of several settings
                self.end(Stop.OUT_OF_DATA, f"the script began another training after {_count(self._updates)}")
            self.refuse(
                f"the script has several optimizers that no name tells apart: {listed(known)}. If it makes one for "
                f"each of many trainings, none of these is long enough to be swept: {_count(self._updates)}"
            )
        if self._which is None:
            self.refuse(f"the script has several optimizers: {listed(known)}; name one by --which")
        self.refuse(f"--which {self._which} names several optimizers: {listed(known)}")

    def _other_stepped(self, _optimizer: torch.optim.Optimizer) -> None:
        self._losses_seen.steps += 1
        self._shared = self._losses_seen.take()
        self._takes_turns = self._hooks.followed is not None
        if not self._takes_turns:
            now = time.monotonic()
            self._first_other = now if self._first_other is None else self._first_other
            if self._losses_seen.steps > MOST_OTHER_STEPS and now - self._first_other > MOST_OTHER_S:
                known, spent = listed(list(self._hooks.names.values())), now - self._first_other
                self.refuse(
                    f"no optimizer called {self._which} has made a step in {self._losses_seen.steps} steps of others, "
                    f"{spent:.0f} s of training; there is {known}. If it comes later, make what it waits for shorter"
                )

    def _before(
        self, followed: FollowedOptimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._takes_turns and not self._turns_told:  # at once: a run may end without a word
            self._turns_told = True
            self._messages.send("takes_turns")
        watch = self._losses_seen
        watch.steps += 1
        batches = watch.counted
        self._most_backwards = max(self._most_backwards, watch.calls)
        loss = watch.take()
        closure = kwargs.get("closure") or (args[1] if len(args) > 1 else None)  # args[0] is the optimizer itself
        if loss is None and closure is None:
            loss = self._shared  # several optimizers on one loss
        found = getattr(followed.optimizer, "found_inf", None)  # set by a scaler whose optimizer skips by itself
        self._skipping = found is not None and bool(found)
        if loss is not None:
            self._measured(followed, batches, loss)
            followed.set(self._rate)
            return None
        followed.set(self._rate)
        if closure is None:
            self._without_loss += 1
            if self._without_loss >= MOST_WITHOUT_LOSS:
                self.refuse(f"{MOST_WITHOUT_LOSS} steps, and no backward() was seen: there is no loss to read")
            return None
        return self._with_first_loss(followed, closure, args, kwargs)

    def _with_first_loss(
        self, followed: FollowedOptimizer, closure: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the step's arguments with a closure whose first evaluation, at the weights before the step, counts."""
        first = True

        def evaluate(*more: Any, **keywords: Any) -> Any:
            nonlocal first
            self._losses_seen.forget()
            result = closure(*more, **keywords)
            if first:
                first = False
                batches, loss = self._losses_seen.counted, self._losses_seen.peek()
                if loss is None and isinstance(result, torch.Tensor | float):
                    loss = float(result)
                if loss is not None:
                    self._measured(followed, batches, loss)
            return result

        if kwargs.get("closure"):
            return args, {**kwargs, "closure": evaluate}
        return (args[0], evaluate, *args[2:]), kwargs

    def _after(self, followed: FollowedOptimizer) -> None:
        self._losses_seen.forget()
        self._shared = None
        if self._held_back.judging:
            self._held_back.stay()
            return
        self._times.append(time.monotonic())
        if self._skipping:
            self._step_skipped()
            return
        self._updates += 1
        self._skipped_in_a_row = 0
        alone = len(self._hooks.names) == 1  # another optimizer may have trained on what is held back
        self._held_back.updated(self._updates, self._loaders.last if alone else None)
        if self._updates == len(self.rates) and self._held_back.ready and alone:
            self._held_back.judge(weight for group in followed.optimizer.param_groups for weight in group["params"])

    # What is known of the losses.

    @property
    def _rate(self) -> float:
        return self.rates[min(self._updates, len(self.rates) - 1)]

    def _report(self, followed: FollowedOptimizer, batches: int) -> None:
        """Send what is trained before the first loss; `batches` make an update."""
        if self._losses:
            return
        if self._processes is not None and _world_size() != self._processes:
            self.refuse(
                f"it hasn't joined its {self._processes} processes to a group of so many by "
                "torch.distributed.init_process_group: each would train a model of its own"
            )
        self._first_size = _largest(followed.optimizer)
        facts = facts_of(followed.optimizer, followed.learn_ratios(), max(1, batches), self._loaders)
        setup_s, called = time.monotonic() - self._began, listed([self._hooks.names[id(followed.optimizer)]])
        self._messages.send("first", setup_s=setup_s, own_rate=followed.own_rate, called=called, **facts)

    def _measured(self, followed: FollowedOptimizer, batches: int, loss: float) -> None:
        """Take the loss before a step, the mean over `batches`."""
        self._report(followed, batches)
        self._loss(loss)
        held_out = self._held_back.mean(loss) if self._held_back.judging else None
        if held_out is not None:
            self.end(Stop.COMPLETED, held_out=None if math.isnan(held_out) else held_out)

    def _loss(self, loss: float) -> None:
        """Take the loss of a batch before its update: the one after the update before."""
        if self._losses and self._losses > self._updates:  # the last update was skipped: its loss is known already
            if not math.isfinite(loss):
                self._not_finite(loss)
            return
        if self._processes is not None:
            why = "" if math.isfinite(loss) else self._why_not_finite(loss)
            self._messages.send("loss", loss=loss, why=why, **self._state())
            self._losses += 1
        else:
            self._messages.send("loss", loss=loss, updates=self._updates)
            self._losses += 1
            self._judge(loss)
        if self._updates == len(self.rates) and not self._held_back.judging:
            self.end(Stop.COMPLETED)

    def _judge(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._not_finite(loss)
        if self._rule is None:
            drift = math.inf if self._drift is None else self._drift
            self._rule = DivergenceRule(least_rise=LEAST_SHARE * abs(loss) + drift)
        if self._rule.observe(loss):
            self.end(Stop.DIVERGED, self._rule.reason)

    def _not_finite(self, loss: float) -> NoReturn:
        self.end(Stop.NON_FINITE, self._why_not_finite(loss))

    def _why_not_finite(self, loss: float) -> str:
        followed = self._hooks.followed
        weights = [] if followed is None else [p for g in followed.optimizer.param_groups for p in g["params"]]
        finite = all(bool(weight.detach().isfinite().all()) for weight in weights)
        return f"the loss is {loss} {self._when()}" + (f": {FINITE_WEIGHTS}" if finite else "")

    def _when(self) -> str:
        if self._updates == 0:
            return "before any update"
        return f"after the update at rate {self.rates[self._updates - 1]:.3g}"

    def _no_optimizer(self, calls: str) -> NoReturn:
        self.refuse(
            f"{calls} and no step of a torch optimizer: the script updates its weights by hand, or with an optimizer "
            "that is not a torch.optim.Optimizer",
        )

    def _no_such_optimizer(self) -> NoReturn:
        known = listed(list(self._hooks.names.values()))
        self.refuse(f"no optimizer called {self._which} makes a step; there is {known}")


def _largest(optimizer: torch.optim.Optimizer) -> float:
    """Return the size of the largest weight; NaN if one is."""
    weights = [weight.detach() for group in optimizer.param_groups for weight in group["params"] if weight.numel()]
    return float(torch.stack([weight.abs().max().float().cpu() for weight in weights]).max())


def _world_size() -> int:
    group = torch.distributed
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def _count(updates: int) -> str:
    return f"{updates} update" + ("" if updates == 1 else "s")


def _end_workers() -> None:
    """End the loader's workers and other children, which would wait for this process."""
    workers = multiprocessing.active_children()
    with contextlib.suppress(ValueError):  # not the main thread, which handles signals
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise that a worker was killed
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + _WORKERS_END_S
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
