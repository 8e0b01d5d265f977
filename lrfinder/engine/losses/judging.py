"""In which mode held-out data are judged: in one that gives the same kind of loss as training does."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from lrfinder.engine.losses.evaluation import PLAIN, Across, Way, evaluate, state_around
from lrfinder.engine.runtime.failures import out_of_memory
from lrfinder.errors import error_text
from lrfinder.formatting import format_loss
from lrfinder.options import OTHER_KIND
from lrfinder.records import FRESH_FACTOR, losses_differ
from lrfinder.task.problem import BuiltProblem

TRAINING = Way("training mode", training=True, gradients=True)
WAYS = (PLAIN, Way("evaluation mode with gradients", gradients=True), TRAINING)  # the first that gives the same counts
COMPARED = 4  # batches, if those losses differ

_Judge = Callable[..., float]


class Judging:
    """How held-out data are judged. It is settled before any update, and stays.

    `across`: several processes judge their parts; None: this one judges all.
    """

    def __init__(self, across: Across | None = None) -> None:
        self.across = across
        self.way: Way | None = None
        self._why = ""  # the ways before this one were left out
        self._in_training: tuple[float, ...] = ()  # the held-out losses in training mode, before any update
        self._apart = ""

    def loss(
        self,
        trial: BuiltProblem,
        batches: Sequence[Any],
        *,
        device: torch.device,
        seed: int,
        split: Callable[[Any], list[tuple[float, Any]]] | None = None,
    ) -> float:
        """Return the mean loss over `batches`: see `evaluate`. Raises what the user's code raises in every mode.

        Until it is settled, `settle` is called if evaluation mode fails.
        """
        judge = partial(evaluate, trial, device=device, seed=seed, split=split, across=self.across)
        if self.way is not None:
            return judge(batches, way=self.way)
        try:
            return judge(batches)
        except Exception as error:
            if out_of_memory(error):
                raise
        return self.settle(judge, batches)

    @property
    def description(self) -> str | None:
        """The mode, and why it isn't the usual one; None if nothing has been judged yet."""
        if self.way is None:
            return None
        return f"{self.way.words}: {self._why}" if self._why else self.way.words

    @property
    def note(self) -> str:
        """A sentence for people, empty if the mode is the usual one and held-out data are of the same kind."""
        mode = f"held-out data are judged in {self.description}" if self._why else ""
        return "; ".join(filter(None, (mode, self._apart)))

    def compare(self, first: float) -> None:
        """Look whether held-out data give the same kind of loss as training data, whose `first` loss is known."""
        known = [loss for loss in self._in_training if math.isfinite(loss)]
        if not any(known) or not math.isfinite(first):  # losses of 0 alone are of samples that are right already
            return
        mean, scatter = math.fsum(known) / len(known), max(known) - min(known)
        # Losses near zero are many times apart by chance alone.
        if losses_differ(mean, first, factor=FRESH_FACTOR) and abs(mean - first) > scatter:
            losses = f"before any update it is {format_loss(mean)} in training mode, too, and in training "
            self._apart = f"{OTHER_KIND}: {losses}{format_loss(first)}"

    def settle(self, judge: _Judge, batches: Sequence[Any], structures: str = "") -> float:
        """Settle it by the losses of `batches` in evaluation and in training mode, and return their mean loss.

        `structures`: what the model returns in each mode, if that differs; then training mode is taken.
        """
        trained = _training_loss(judge, batches[:1])
        if trained is not None:
            self._in_training = (trained, *(_training_loss(judge, [batch]) or trained for batch in batches[1:COMPARED]))
        first_error: Exception | None = None
        for way in WAYS:
            try:
                loss = judge(batches, way=way)
                same = way is TRAINING or trained is None or (not structures and alike([loss], [trained]))
                why = structures
                if not same and not structures:
                    same, why = _compared(judge, batches[:COMPARED], way)
            except Exception as error:
                if out_of_memory(error):
                    raise
                first_error = first_error or error
                why = f"in {way.words} it fails ({type(error).__name__}: {error_text(error).strip()[:80]})"
                same = False
            if same:
                self.way = way
                return loss
            self._why = self._why or why
        assert first_error is not None  # noqa: S101 - the training mode is taken if it doesn't fail
        first_error.add_note(
            "This was the judging of held-out data before any update. It failed in evaluation mode without and with "
            "gradients, and in training mode."
        )
        raise first_error


class HeldOutLoss:
    """The loss of a trial on held-out batches; to be made before any update.

    A hidden state that the training has left may not fit the held-out batches. Then they are judged with the attributes
    that the modules had before any update; buffers and weights are those of now.
    """

    def __init__(
        self,
        judging: Judging,
        trial: BuiltProblem,
        batches: Sequence[Any],
        *,
        device: torch.device,
        seed: int,
        split: Callable[[Any], list[tuple[float, Any]]],
    ) -> None:
        """`seed` is that of the loss's draws."""
        self.trial, self.batches, self.seed = trial, batches, seed
        self._judging = judging
        self._loss = partial(judging.loss, trial, batches, device=device, seed=seed, split=split)
        across = judging.across
        self._judge = partial(evaluate, trial, device=device, seed=seed, split=split, across=across)
        self._known: float | None = None
        self._stop_watching: Callable[[], None] = lambda: None
        self._returned: dict[bool, Any] = {}  # the structure of the model's first output, by whether it is training
        self._put_attributes_back = state_around(trial).attributes_back()

    def watch_outputs(self, cleanup: contextlib.ExitStack) -> None:
        """Look at what the model returns in both modes until `settle` is called, if it isn't settled."""
        scripted = isinstance(self.trial.model, torch.jit.ScriptModule)  # takes no hooks
        if self._judging.way is None and not scripted:
            hook = self.trial.model.register_forward_hook(self._look)
            cleanup.callback(hook.remove)
            self._stop_watching = hook.remove

    def _look(self, model: nn.Module, _: Any, output: Any) -> None:
        self._returned.setdefault(model.training, _structure(output))

    @property
    def _structures(self) -> str:
        if len(self._returned) < len((True, False)) or _fits(self._returned[False], self._returned[True]):
            return ""
        judged, trained = map(_in_words, (self._returned[False], self._returned[True]))
        return f"in evaluation mode the model returns {judged}, in training mode {trained}"

    def settle_now(self) -> None:
        """Settle how to judge, if it isn't settled. The loss that tells is that of the next call."""
        if self._judging.way is None:
            self._known = self._judging.settle(self._judge, self.batches)

    def settle(self, judged: float, trained: float) -> bool:
        """Settle how to judge, if it isn't settled: before any update the loss is `judged`, that of training `trained`.

        Return False if they differ, so that the data were computed in all modes: then the run must begin again.
        """
        self._stop_watching()
        structures = self._structures
        if self._judging.way is None and not structures and alike([judged], [trained]):
            self._judging.way = PLAIN
        settled = self._judging.way is not None
        if not settled:
            self._judging.settle(self._judge, self.batches, structures)
        self._judging.compare(trained)
        return settled

    def __call__(self) -> float:
        """Return the mean loss with the weights of now."""
        known, self._known = self._known, None
        if known is not None:
            return known
        try:
            return self._loss()
        except Exception as error:
            if out_of_memory(error) or self._judging.way is None:
                raise
            failure = error
        now = state_around(self.trial)
        try:
            self._put_attributes_back()
            return self._loss()
        except Exception:  # noqa: BLE001 - the first one tells more
            failure.add_note(f"This was the judging of held-out data, in {self._judging.way.words}.")
            raise failure from None
        finally:
            now.rewind()


def _structure(output: Any) -> Any:
    """Return what is compared of a model's output: a mapping's keys, a tuple's length, a tensor's dimensions."""
    if isinstance(output, Mapping):
        return frozenset(map(str, output))
    if isinstance(output, tuple):
        return len(output), "tuple"
    return output.ndim if isinstance(output, torch.Tensor) else type(output).__name__


def _fits(judged: Any, trained: Any) -> bool:
    # A mapping may hold more in evaluation mode, such as a cache.
    both = isinstance(judged, frozenset) and isinstance(trained, frozenset)
    return bool(judged >= trained) if both else judged == trained


def _in_words(structure: Any) -> str:
    if isinstance(structure, frozenset):
        return f"a mapping with the keys {', '.join(sorted(structure))[:80]}"
    if isinstance(structure, tuple):
        return f"a tuple of {structure[0]}"
    return f"a tensor of {structure} dimensions" if isinstance(structure, int) else f"a {structure}"


def _training_loss(judge: _Judge, batches: Sequence[Any]) -> float | None:
    """Return the loss in training mode, without gradients if it needs none; None if there is none."""
    for gradients in (False, True):
        try:
            return judge(batches, way=TRAINING._replace(gradients=gradients))
        except Exception as error:  # noqa: BLE001 - training itself shows what is wrong with it
            if out_of_memory(error):
                return None
    return None


def _compared(judge: _Judge, batches: Sequence[Any], way: Way) -> tuple[bool, str]:
    """Return whether `way` gives the same kind of loss as training mode does on each of a few batches, or why not.

    What torch's own layers make of the mode is no other kind of loss: dropout leaves values out, and fresh running
    statistics fit no data. So they may be in training mode both times.
    """
    trained = [judge([batch], way=TRAINING) for batch in batches]
    judged = [judge([batch], way=way) for batch in batches]
    if alike(judged, trained) or alike([judge([batch], way=way._replace(layers=True)) for batch in batches], trained):
        return True, ""
    means = [format_loss(math.fsum(losses) / len(losses)) for losses in (judged, trained)]
    return False, f"in {way.words} the loss of the same data is {means[0]}, in training mode {means[1]}"


def alike(judged: Sequence[float], trained: Sequence[float]) -> bool:
    """Return whether both are finite and their means don't differ, or training's aren't finite either."""
    if not all(map(math.isfinite, judged)):
        return not all(map(math.isfinite, trained))
    if not all(map(math.isfinite, trained)):
        return True
    a, b = math.fsum(judged) / len(judged), math.fsum(trained) / len(trained)
    noise = min(max(losses) - min(losses) for losses in (judged, trained))
    return not losses_differ(a, b, noise=noise)
