"""Indices mean what they mean in a list, and PyTorch's collation passes our types through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from loaders import Batch, BatchRequest, Sample, collate
from loaders.core.batch import as_indices, register_collation

INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)


@given(st.integers(0, 9), st.lists(st.integers(-12, 12) | st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_indices_are_those_of_a_list(length: int, indices: list[int]) -> None:
    items = list(range(length))
    try:
        expected = [items[i] for i in indices]
    except IndexError:
        with pytest.raises(IndexError, match=f"out of range for {length} samples"):
            as_indices(indices, length)
    else:
        result = as_indices(indices, length)
        assert result.dtype == np.int64
        assert result.flags.c_contiguous
        assert result.tolist() == expected


@given(st.sampled_from(INTEGERS), st.lists(st.integers(0, 127), max_size=6), st.booleans())
def test_every_integer_type_and_byte_order(dtype: type[Any], indices: list[int], swapped: bool) -> None:
    array = np.array(indices, np.dtype(dtype).newbyteorder("S" if swapped else "="))
    assert as_indices(array, 128).tolist() == indices
    assert as_indices(array[::-1], 128).tolist() == indices[::-1]


def test_invalid_indices() -> None:
    for value in (2**63, 2**64 - 1):  # an unsigned index must not wrap
        with pytest.raises(IndexError, match=str(value)):
            as_indices(np.array([0, value], np.uint64), 5)
    others: list[Any] = [[0.0], ["1"], [True], [None], [1 + 0j], np.zeros((1, 1), int), np.int64(3), [[]], b"12"]
    for bad in (*others, torch.tensor(1)):
        with pytest.raises(TypeError, match="indices must be"):
            as_indices(bad, 5)


def test_tensors_ranges_requests_and_empty_sequences() -> None:
    assert as_indices(torch.tensor([2, -1], dtype=torch.int32), 5).tolist() == [2, 4]
    assert as_indices(range(4, 0, -2), 5).tolist() == [4, 2]
    assert as_indices(BatchRequest(np.array([-5, 0])), 5).tolist() == [0, 0]
    empty: Any
    for empty in ([], (), np.array([]), torch.tensor([]), range(0)):
        result = as_indices(empty, 0)
        assert (result.dtype, result.shape) == (np.dtype(np.int64), (0,)), empty


def a_batch(seed: int, count: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 4, 5), dtype=torch.uint8, generator=generator)
    return Batch(images, torch.arange(count) + 10 * seed)


@pytest.mark.parametrize("join", [collate, default_collate])
def test_batches_are_joined_and_samples_stacked(join: Any) -> None:
    first, second = a_batch(1, 3), a_batch(2, 2)
    joined = join([first, second])
    assert isinstance(joined, Batch)
    assert torch.equal(joined.images, torch.cat([first.images, second.images]))
    assert joined.labels.tolist() == [10, 11, 12, 20, 21]
    assert join([first]).images.data_ptr() == first.images.data_ptr()  # not copied
    stacked = join([Sample(image, int(label)) for image, label in zip(*first, strict=True)])
    assert isinstance(stacked, Batch)
    assert torch.equal(stacked.images, first.images)
    assert torch.equal(stacked.labels, first.labels)
    assert stacked.labels.dtype == torch.int64


def test_other_types_are_left_to_pytorch() -> None:
    items = [{"x": 1, "y": torch.zeros(2)}, {"x": 2, "y": torch.ones(2)}]
    result, expected = collate(items), default_collate(items)
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[key], expected[key]) for key in expected)


def test_without_pytorch_s_hook_registration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert register_collation()
    monkeypatch.delattr("torch.utils.data._utils.collate.default_collate_fn_map")
    assert not register_collation()
