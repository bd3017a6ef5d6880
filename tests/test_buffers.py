"""Memory of batches is the receiver's own while anything refers to it, and is used again afterwards."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from loaders.core import buffers
from loaders.core.buffers import batch_memory

SHAPE = (4, 3, 8, 8)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    buffers._arrays.clear()
    yield
    buffers._arrays.clear()


def address(array: Any) -> int:
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data_ptr())


HOLDERS: dict[str, Any] = {
    "tensor": torch.from_numpy,
    "view": lambda array: torch.from_numpy(array)[0],
    "channels last": lambda array: torch.from_numpy(array).permute(0, 2, 3, 1),
    "array of a tensor": lambda array: torch.from_numpy(array).numpy()[1:2],
    "part of the array": lambda array: array[1:].reshape(-1)[3:9],
    "storage": lambda array: torch.from_numpy(array).untyped_storage(),
    "memoryview": memoryview,
    "tensor over DLPack": torch.utils.dlpack.from_dlpack,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_it_stays_the_holder_s_own(hold: Any) -> None:
    first = address(batch_memory(SHAPE))
    assert address(batch_memory(SHAPE)) == first  # nobody had kept it
    held = hold(batch_memory(SHAPE))
    assert address(batch_memory(SHAPE)) != first
    del held
    assert first in {address(array) for array in (batch_memory(SHAPE), batch_memory(SHAPE))}


def test_another_shape_is_other_memory_and_the_last_one_given_away_comes_first() -> None:
    small, large = batch_memory(SHAPE), batch_memory((5, *SHAPE[1:]))
    assert (small.shape, large.shape) == (SHAPE, (5, *SHAPE[1:]))
    held = [batch_memory(SHAPE) for _ in range(3)]
    last = address(held[-1])
    del held
    assert address(batch_memory(SHAPE)) == last


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [batch_memory(SHAPE) for _ in range(40)]
    assert len(buffers._arrays) == 16
    assert len({address(array) for array in held}) == 40
    monkeypatch.setattr(buffers, "_MOST_BYTES", 2 * held[0].nbytes)
    batch_memory((1, 1))
    assert len(buffers._arrays) == 2
    monkeypatch.setattr(buffers, "_MOST_BYTES", 0)
    assert batch_memory(SHAPE).shape == SHAPE
    assert not buffers._arrays


def test_two_threads_never_get_the_same() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(3000):
            array = batch_memory((64,))
            array[:] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_goes_to_another_process_is_a_copy() -> None:
    tensor = torch.from_numpy(batch_memory(SHAPE)).fill_(7)
    copy = pickle.loads(pickle.dumps(tensor))  # noqa: S301 - one's own
    tensor.fill_(8)
    assert (copy == 7).all()
