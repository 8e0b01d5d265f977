"""Failures of the machine told apart from those of the user's code."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from lrfinder.engine.failures import environment_failure


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
