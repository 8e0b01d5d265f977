"""Make trials in this process, and in others beside it if that is measured to be faster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.model_file import load_source_problem
from lrfinder.api.training.auto_parallel import AutoParallel
from lrfinder.engine.distributed.orders import Begin
from lrfinder.engine.distributed.team import current_team
from lrfinder.engine.micro_batches import micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.run_queue import RunQueue
from lrfinder.engine.runtime.device import choose_device
from lrfinder.paths import cwd
from lrfinder.records import RunPlan, ShortRun
from lrfinder.store import Source


@contextlib.contextmanager
def in_process(
    source: Source, observers: Sequence[Observer], *, seed: int, alone: bool
) -> Iterator[Callable[[Sequence[RunPlan]], Iterable[ShortRun]]]:
    """Import the model file and return a function that makes runs and yields each as it ends; all here, if `alone`."""
    import torch

    home = cwd()  # the model file may leave it
    problem = load_source_problem(source, seed=seed)
    device = choose_device(source.device)
    team = current_team()
    if team is not None:
        team.tell(Begin(None, source.device))
    batching = micro_batching_for(problem, None, device, team=team)
    with contextlib.ExitStack() as stack:
        elsewhere = None
        if not alone and team is None:
            threads = torch.get_num_threads()
            elsewhere = stack.enter_context(
                AutoParallel(source, seed=seed, threads=threads, device=device, folder=home)
            )
        listeners = Broadcast(observers)
        runs = RunQueue(problem, seed=seed, device=device, observer=listeners, batching=batching, elsewhere=elsewhere)
        yield stack.enter_context(runs).run_all
