"""Failures of the machine told apart from those of the user's code."""

from __future__ import annotations

import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch

from lrfinder.engine.runtime.failures import dead_worker, environment_failure, out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        MemoryError(),
    ],
)
def test_allocators_that_gave_up(error):
    failure = environment_failure(error)
    assert failure.exit_status == 4
    assert "out of memory" in str(failure)


def test_errors_that_are_the_user_s_own():
    def from_a_socket():
        raise ConnectionResetError("peer")

    with pytest.raises(ConnectionResetError) as raised:
        from_a_socket()
    for error in (raised.value, RuntimeError("shapes don't match"), ValueError("out of memory"), EOFError()):
        assert environment_failure(error) is None


def test_a_torn_queue_is_a_dead_worker():
    reader, writer = multiprocessing.Pipe(duplex=False)
    writer.close()
    with pytest.raises(EOFError) as raised:
        reader.recv()
    assert "DataLoader worker died" in str(environment_failure(raised.value))


DEATH = RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly")
ADVICE = (
    "workers are often killed for lack of memory or of shared memory (/dev/shm): use fewer of them; "
    "num_workers=0 in the DataLoader shows an error in the data set itself"
)


def ended(pid, exitcode):
    return SimpleNamespace(pid=pid, exitcode=exitcode)


@pytest.mark.parametrize(
    ("workers", "batch", "told"),
    [
        ([ended(12, -9), ended(13, 0), ended(14, None)], 7, "died when batch 7 was due (pid 12, SIGKILL)"),
        ([ended(12, 3), ended(13, -11)], 0, "died when batch 0 was due (pid 12, exit status 3, 13, SIGSEGV)"),
        ([ended(12, -40)], None, "died (pid 12, signal 40)"),
        ([], None, "died (pid 12, 13)"),
    ],
)
def test_a_dead_worker_is_told_by_its_process_and_how_it_ended(workers, batch, told):
    failure = dead_worker(DEATH, batch, workers)
    assert str(failure) == f"a DataLoader worker {told}"
    assert failure.hint == ADVICE
    assert failure.exit_status == 4


def test_a_death_is_waited_for_as_long_as_it_takes_to_be_seen(monkeypatch):
    class Ending:
        pid = 12
        asked = 0

        @property
        def exitcode(self):
            self.asked += 1
            return -9 if self.asked > 20 else None

    assert str(dead_worker(DEATH, None, [Ending()])) == "a DataLoader worker died (pid 12, SIGKILL)"
    monkeypatch.setattr("lrfinder.engine.runtime.failures._SEEN_DEAD_S", 0.05)
    began = time.monotonic()
    assert str(dead_worker(DEATH, None, [ended(12, None)])) == "a DataLoader worker died (pid 12, 13)"
    assert 0.05 <= time.monotonic() - began < 1.0


def test_a_worker_that_is_killed_as_torch_itself_tells_it():
    torch_s = RuntimeError("DataLoader worker (pid 99) is killed by signal: Killed. ")
    assert str(dead_worker(torch_s, 3)) == "a DataLoader worker died when batch 3 was due (pid 99)"
    assert str(environment_failure(torch_s, batch=3)) == str(dead_worker(torch_s, 3))
    hung = RuntimeError("DataLoader timed out after 5 seconds\nmore")
    assert str(dead_worker(hung, 3)) == "DataLoader timed out after 5 seconds when batch 3 was due"
    assert str(dead_worker(hung, None)) == "DataLoader timed out after 5 seconds"
    assert dead_worker(hung, None).hint == ADVICE
    assert dead_worker(ValueError("DataLoader timed out"), None) is None
    assert dead_worker(ValueError("DataLoader worker (pid 1)"), None) is None


@pytest.mark.parametrize(
    ("modules", "is_dead"),
    [
        (["mine", "multiprocessing.connection"], True),
        (["multiprocessing.connection", "mine"], False),  # what came from the queue failed in the user's own hands
        (["multiprocessing.queues", "multiprocessing.connection", None], False),
    ],
)
def test_a_broken_queue_is_told_from_the_user_s_own_sockets_by_where_it_broke(modules, is_dead):
    call = "raise ConnectionResetError('peer')"
    scope = {}
    for name in reversed(modules):
        scope = {"inner": scope.get("made"), **({} if name is None else {"__name__": name})}
        exec(f"def made():\n    {call}", scope)  # noqa: S102 - a function of a module by that name
        call = "inner()"
    with pytest.raises(ConnectionResetError) as raised:
        scope["made"]()
    # The frame of this test comes first in the traceback.
    assert (dead_worker(raised.value, None) is not None) is is_dead
    if is_dead:
        assert str(dead_worker(raised.value, 5)) == "a DataLoader worker died when batch 5 was due (pid unknown)"
        assert str(dead_worker(raised.value, 5, [ended(8, -9)])).endswith("(pid 8, SIGKILL)")


def test_what_memory_failures_say():
    failure = environment_failure(torch.OutOfMemoryError("\n  CUDA out of memory. Tried to allocate 20 GiB.\nmore"))
    assert str(failure) == "out of memory: CUDA out of memory. Tried to allocate 20 GiB."
    assert failure.hint == (
        "use a smaller batch (`--batch-size N`), a smaller model, or another device (`--device cpu`)"
    )
    assert str(environment_failure(MemoryError())) == "out of memory: MemoryError"
    assert out_of_memory(RuntimeError("not enough memory: you tried to allocate 4 bytes"))
