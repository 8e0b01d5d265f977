"""Make trials on Ray: on a local instance that is started and ended here, or on a cluster that there is.

Each trial is a task that is bound to a node, so that it is known where it runs, and takes whole devices of it: CUDA
devices, or cores if the model is trained on the CPU.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from lrfinder.api.training.dispatch import Dispatcher, Lost, Node, Outcome
from lrfinder.api.training.failure import Failure
from lrfinder.api.training.group import run_together
from lrfinder.api.training.home import Home
from lrfinder.api.training.trial import Plan, Trial, TrialSpec
from lrfinder.api.training.trial_maker import trial_maker
from lrfinder.api.training.upload import Upload
from lrfinder.engine.distributed.environment import step_timeout_s
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.errors import EnvironmentFailure, LrfinderError, UsageError
from lrfinder.store import Source

STORE_BYTES = 80 * 2**20  # of shared memory for a local instance: a trial's result has some kilobytes
LONGEST_TEMPORARY = 40  # characters: Ray puts sockets 65 characters below, and the system's limit is 107
FOLDER = "lrfinder-ray-"
MOST_SAID = 300  # characters of what Ray says of a failure


class RayTrials:
    """Makes trials of the model file of `source` on Ray. Use as a context manager: leaving it cancels what runs.

    `address` is one that `ray.init` takes; None: that in RAY_ADDRESS, or else an instance on this machine, which is
    started, and ended with its processes and files. A Ray that this process has joined already is used as it is.
    """

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        address: str | None = None,
        devices_per_trial: int = 1,
        processes: int | None = None,
        upload: bool = False,
    ) -> None:
        """With `processes` so many make each trial together, and share its devices.

        With `upload` the files that git tracks are sent; how many, and their size, is said before that.

        Raises UsageError if the model's device is one of several by number: Ray says which one a trial gets.
        """
        device, _, index = source.device.partition(":")
        if index:
            raise UsageError(
                f"--device {source.device}: Ray chooses the device of each trial", hint=f"--device {device}"
            )
        self._source, self._seed = source, seed
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._share, self._processes = devices_per_trial, processes
        self._upload = upload
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            upload = Upload.of(self._source) if self._upload else None
            home = Home.here(self._source, upload)
            stack.enter_context(_joined(self._address, upload))
            source = self._source if upload is None else upload.source
            self._cluster = RayCluster(home, source, self._share, self._processes)
            stack.callback(self._cluster.cancel)
            self._dispatcher = Dispatcher(self._cluster, devices_per_trial=self._share)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def run(self, plans: Sequence[Plan], until: float | None = None) -> Iterator[Trial]:
        """Yield the trials as they end. Raises what `Dispatcher.run` does."""
        given: dict[str, Any] = {"source": self._cluster.source, "seed": self._seed, "until": until}
        given |= {"threads": self._cluster.threads, "processes": self._processes, "step_timeout_s": step_timeout_s()}
        return self._dispatcher.run([TrialSpec(plan=plan, **given) for plan in plans])


class RayCluster:
    """The nodes of the Ray that this process has joined, and the tasks on them: a `Cluster` of the dispatcher."""

    def __init__(self, home: Home, source: Source, share: int, processes: int | None = None) -> None:
        """Raises UsageError if no node has `share` devices, or if they are GPUs and not one for each of `processes`."""
        import ray

        self._home = home
        there = ray.nodes()
        self._device = _device(source.device, there)
        self.source, cores_of_trial = source, float(share)
        takes: dict[str, Any] = {"num_cpus": share}
        if self._device == "GPU":
            self.source = replace(source, device="cuda")  # a node without its driver must not train on its CPU
            cores = [node["Resources"].get("CPU", 0) / gpus for node in there if (gpus := node["Resources"].get("GPU"))]
            cores_of_trial = min(cores, default=1) * share
            takes = {"num_cpus": 0, "num_gpus": share}
            if processes not in {None, share}:
                raise UsageError(
                    f"each of {processes} processes trains on a GPU of its own, and a trial gets {share}",
                    hint="leave --devices-per-trial out",
                )
        self.threads = max(1, int(cores_of_trial / (processes or 1)))  # of each process
        # Ray's own default: a process that has used one CUDA device can't use another, so each makes one trial there.
        self._task = ray.remote(max_retries=0, **takes)(_attempt)
        self._tasks: dict[int, Any] = {}
        self._ended: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()
        nodes = self.nodes()
        most = max((node.devices for node in nodes.values()), default=0)
        if most < share:
            kind = "GPUs" if self._device == "GPU" else "cores"
            raise UsageError(
                f"no node of the cluster has {share} {kind} for a trial: {len(nodes)} are there, with at most {most}",
                hint="use fewer --devices-per-trial" if most else "`ray status` says what there is",
            )

    def nodes(self) -> Mapping[str, Node]:
        """Return the nodes that are alive, with their GPUs or cores. Raises EnvironmentFailure if Ray has failed."""
        import ray

        with _failures("the cluster doesn't answer"):
            return {
                node["NodeID"]: Node(
                    f"node {node['NodeManagerHostname']} ({node['NodeID'][:8]})",
                    int(node["Resources"].get(self._device, 0)),
                )
                for node in ray.nodes()
                if node["Alive"]
            }

    def start(self, number: int, spec: TrialSpec, node: str) -> None:
        """Start a task for a trial on a node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node, soft=False)
        with _failures("a trial could not be started"):
            task = self._task.options(scheduling_strategy=place).remote(spec, self._home)
            self._tasks[number] = task
            task.future().add_done_callback(lambda done: self._ended.put((number, done)))

    def next_end(self, seconds: float) -> tuple[int, Outcome] | None:
        """Wait for a task to end; a signal interrupts that."""
        try:
            number, done = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        del self._tasks[number]
        return number, _outcome(done)

    def cancel(self) -> None:
        """End the tasks that run."""
        import ray

        for task in self._tasks.values():
            with contextlib.suppress(Exception):  # it has ended, or the cluster is gone
                ray.cancel(task, force=True)
        self._tasks.clear()


def _attempt(spec: TrialSpec, home: Home) -> Outcome:
    """Make a trial in a process of Ray's."""
    try:
        if spec.processes is None:
            trial_maker()  # before the folder of the model file is on Python's path
        with home.entered(spec.source):
            return trial_maker()(spec) if spec.processes is None else run_together(spec, spec.processes)
    except BaseException as error:  # noqa: BLE001 - it is raised again where it can be reported
        return Failure.of(error)


def _outcome(done: Future[Any]) -> Outcome:
    import ray.exceptions

    error = done.exception()
    if error is None:
        outcome: Outcome = done.result()
        return outcome
    if isinstance(error, ray.exceptions.RayTaskError):  # before our own function began: a package is missing, say
        return Failure.of(error.cause if isinstance(error.cause, BaseException) else error)
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        said = " ".join(str(error).split())[-MOST_SAID:]  # the cause stands at the end
        return Failure.of(EnvironmentFailure(f"what was uploaded could not be set up on a node: {said}"))
    why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    absent = isinstance(error, ray.exceptions.TaskUnschedulableError)
    return Lost(why, node_too=absent or isinstance(error, ray.exceptions.NodeDiedError), began=not absent)


def _device(name: str, nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return the resource of Ray's that a trial takes: "GPU", or "CPU" if `auto` finds no node with any, too."""
    if name == "auto":
        return "GPU" if any(node["Resources"].get("GPU") for node in nodes) else "CPU"
    if name not in {"cpu", "cuda"}:
        raise UsageError(f"--device {name}: Ray knows cpu and cuda", hint="leave --device out")
    return "CPU" if name == "cpu" else "GPU"


@contextlib.contextmanager
def _joined(address: str, upload: Upload | None = None) -> Iterator[None]:
    """Join the Ray at `address`, or start one for "local"; at the end leave it, or end it and remove its files.

    Raises UsageError if something is to be uploaded to a Ray that this process has joined before.
    """
    import ray

    if ray.is_initialized():
        if upload is not None:
            raise UsageError(
                "upload: Ray takes files only when it is joined, and this process has joined one already",
                hint="call ray.shutdown() before, and name the cluster by RAY_ADDRESS or `on`",
            )
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}  # nothing is reported to Ray's makers, unless the user has said so
    with contextlib.ExitStack() as stack:
        if address == "local":
            options |= {
                "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                "_temp_dir": stack.enter_context(_temporary_folder()),
            }
            # Who knows the token can run code here; without one Ray makes one, and leaves it in the user's home.
            settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            settings["RAY_worker_niceness"] = "0"  # Ray's 15 would let trials starve where others compute, too
        if upload is not None:
            options["runtime_env"] = {"working_dir": stack.enter_context(_archive(upload))}
        stack.callback(ray.shutdown)
        with _set(settings), _failures(f"Ray ({address}) can't be joined"):
            _init(address, options)
        stack.enter_context(_silent())
        yield


@contextlib.contextmanager
def _archive(upload: Upload) -> Iterator[str]:
    """Say what will be sent, and give an archive of it: of a folder Ray would leave out what it finds ignored."""
    sys.stderr.write(f"{upload}\n")
    with tempfile.TemporaryDirectory(prefix="lrfinder-upload-") as folder:
        archive = Path(folder) / "tracked.zip"
        upload.write(archive)
        yield str(archive)


def _init(address: str, options: Mapping[str, Any]) -> None:
    """Join or start Ray. A signal waits until that is done: a Ray that is half there would be left behind."""
    import ray

    try:
        with Interrupts():  # also puts back the handler of SIGTERM, which Ray replaces
            ray.init(address, **options)
    except SystemExit:  # from that handler
        signal.raise_signal(signal.SIGTERM)
        raise


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the logs of nodes that are gone off standard output: Ray prints them there, and has no option for that."""
    from ray._private import worker

    name = "print_to_stdstream"
    prints = getattr(worker, name, None)
    if prints is None:  # it is Ray's own: without it, more is printed than helps
        yield
        return
    setattr(worker, name, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(worker, name, prints)


@contextlib.contextmanager
def _set(settings: Mapping[str, str]) -> Iterator[None]:
    """Set those of the variables of the environment that the user has not set; at the end all are as they were."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in settings.items() if name not in before})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") and name not in before]:
            del os.environ[name]  # also what Ray itself has set


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a folder with a short path for Ray's files; remove it at the end, and what killed commands have left."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > LONGEST_TEMPORARY:
        root = Path("/tmp")  # noqa: S108 - a folder with a name of its own is made in it
    for left in root.glob(f"{FOLDER}*"):
        owner = left.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-", dir=root, ignore_cleanup_errors=True) as made:
        yield made


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Raise what Ray raises as EnvironmentFailure."""
    try:
        yield
    except LrfinderError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:MOST_SAID]
        hint = "the same command carries on, once the cluster is there"
        if "RAY_AUTH_MODE" not in os.environ:
            hint += "; if it asks for a token (~/.ray/auth_token), set RAY_AUTH_MODE=token"
        raise EnvironmentFailure(f"{what}: {type(error).__name__}: {said}", hint=hint) from error
