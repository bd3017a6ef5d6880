"""Crops made on a device are, byte for byte, those made on the host; here the device is the CPU."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from loaders.formats.gpu_mmap.crops import LIMIT, device_crops, taps, triangle
from loaders.images.crops import central_boxes, random_boxes, resize_into

Images = list[NDArray[np.uint8]]


def some_images(sizes: list[tuple[int, int]], seed: int, contrast: bool = False) -> Images:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return [np.where(image > 127, 255, 0).astype(np.uint8) for image in images] if contrast else images


def on_host(images: Images, boxes: NDArray[np.int64], size: int) -> torch.Tensor:
    out = np.empty((len(images), size, size, 3), np.uint8)
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        resize_into(images[i][top : top + height, left : left + width], out[i])
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def on_device(
    images: Images, boxes: NDArray[np.int64], size: int, limit: int = LIMIT, device: str = "cpu"
) -> torch.Tensor:
    lengths = np.array([image.size for image in images], np.int64)
    rest = np.full(-int(lengths.sum()) % 8, 255, np.uint8)
    flat = torch.from_numpy(np.concatenate([*(image.reshape(-1) for image in images), rest])).to(device)
    widths = np.array([image.shape[1] for image in images], np.int64)
    return device_crops(flat, np.cumsum(lengths) - lengths, widths, boxes, size, limit)


def sizes_of(images: Images) -> NDArray[np.int64]:
    return np.array([image.shape[:2] for image in images], np.int64)


sides = st.one_of(st.integers(1, 12), st.integers(1, 350))
some_sizes = st.lists(st.tuples(sides, sides), min_size=1, max_size=6)


@settings(deadline=None, max_examples=40)
@given(some_sizes, st.sampled_from([1, 2, 7, 24, 32, 64, 97, 224]), st.integers(0, 2**32 - 1), st.booleans())
@example([(1, 1)], 1, 0, False)
@example([(1, 1)], 224, 0, False)
@example([(1, 700), (700, 1)], 32, 0, True)
@example([(3000, 2), (2, 3000), (24, 24)], 24, 0, True)
@example([(224, 224)], 224, 0, False)  # a plain copy
@example([(224, 31), (31, 224)], 224, 0, False)  # one pass of the two
def test_crops_are_the_host_s(sizes: list[tuple[int, int]], size: int, seed: int, contrast: bool) -> None:
    images = some_images(sizes, seed, contrast)
    whole = np.array([(0, 0, *each) for each in sizes], np.int64)
    drawn = random_boxes(sizes_of(images), seed, 1, np.arange(len(images)))
    for boxes in (whole, central_boxes(sizes_of(images)), drawn):
        crops = on_device(images, boxes, size)
        assert crops.shape == (len(images), 3, size, size)
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(crops, on_host(images, boxes, size))


def test_every_length_is_resized_alike() -> None:
    """Each length has weights of its own: a rounding error would show in one of some hundred."""
    images = some_images([(2, length) for length in range(1, 520)], 0)
    boxes = np.array([(0, 0, *image.shape[:2]) for image in images], np.int64)
    for size in (24, 57, 224):
        assert torch.equal(on_device(images, boxes, size), on_host(images, boxes, size)), size


@settings(deadline=None, max_examples=15)
@given(some_sizes, st.integers(1, 2**22), st.integers(0, 2**32 - 1))
def test_the_limit_changes_no_byte(sizes: list[tuple[int, int]], limit: int, seed: int) -> None:
    images = some_images(sizes, seed)
    boxes = random_boxes(sizes_of(images), seed, 0, np.arange(len(images)))
    assert torch.equal(on_device(images, boxes, 40, limit), on_device(images, boxes, 40))


def test_weights_are_those_of_the_source() -> None:
    """Two pixels of three, by hand: 0.6 and 0.2 of 0.8, in the 14 bits at which 0.75 still fits 16."""
    found = triangle(torch.tensor([4]), 2, int(taps(np.array([4]), 2)[0]))
    assert found.first.tolist() == [[0, 1]]
    assert found.bits.tolist() == [16]
    # The triangle spans two pixels to each side of 1 and of 3: 3/4, 3/4, 1/4 of 7/4.
    assert found.weights[:, 0, 0].tolist() == [round(2**16 * w / 7) for w in (3, 3, 1)] + [0, 0]
    none = np.empty(0, np.int64)
    assert device_crops(torch.zeros(16, dtype=torch.uint8), none, none, none.reshape(0, 4), 8).shape == (0, 3, 8, 8)


class Watch(TorchDispatchMode):
    """Counts operations and the bytes that their results hold."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.held = self.peak = 0
        self._users: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += not func.is_view
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            self._taken(storage.data_ptr(), storage.nbytes())
            weakref.finalize(result, self._given_back, storage.data_ptr(), storage.nbytes())
        return result

    def _taken(self, pointer: int, size: int) -> None:
        self._users[pointer] = self._users.get(pointer, 0) + 1
        self.held += size if self._users[pointer] == 1 else 0
        self.peak = max(self.peak, self.held)

    def _given_back(self, pointer: int, size: int) -> None:
        self._users[pointer] -= 1
        self.held -= size if not self._users[pointer] else 0


def test_memory_is_bounded_and_steps_are_few() -> None:
    images = some_images([(90, 120)] * 64, 0)
    boxes = random_boxes(sizes_of(images), 0, 0, np.arange(64))
    peaks, operations = {}, {}
    for count, limit in ((64, 2**28), (64, 2**23), (16, 2**28)):
        with Watch() as watch:
            crops = on_device(images[:count], boxes[:count], 64, limit)
        peaks[count, limit] = watch.peak - crops.nbytes
        operations[count, limit] = watch.operations
    assert peaks[64, 2**23] < 2**23 < peaks[64, 2**28]
    # As many for a batch of four times the size, if memory suffices: nothing is done image by image.
    assert operations[64, 2**28] <= operations[16, 2**28] + 30 < 300, operations


_OTHER_KERNELS = """
import torch
from tests.test_device_crops import on_device, on_host, sizes_of, some_images
from loaders.images.crops import central_boxes
print(torch.backends.cpu.get_cpu_capability())
images = some_images([(5 + i, 240 - i) for i in range(0, 230, 3)], 0)
boxes = central_boxes(sizes_of(images))
assert torch.equal(on_device(images, boxes, 57), on_host(images, boxes, 57))
"""


def test_the_host_s_crops_do_not_depend_on_its_instructions() -> None:
    running = {
        capability: subprocess.Popen(
            [sys.executable, "-c", _OTHER_KERNELS],
            env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for capability in ("default", "avx2")
    }
    output = {capability: process.communicate() for capability, process in running.items()}
    for capability, process in running.items():
        assert process.returncode == 0, output[capability][1]
    assert output["default"][0].strip().lower() == "default"  # not every processor has AVX2


@pytest.mark.cuda
def test_crops_on_a_cuda_device_are_the_host_s() -> None:
    images = some_images([(length, 520 - length) for length in range(1, 520)], 0)
    whole = np.array([(0, 0, *image.shape[:2]) for image in images], np.int64)
    drawn = random_boxes(sizes_of(images), 0, 0, np.arange(len(images)))
    every, few = slice(None), slice(None, None, 40)  # at a small limit each image is a slice, and each slice many steps
    for size, (part, boxes, limit) in itertools.product(
        (24, 57, 224), ((every, whole, LIMIT), (every, drawn, LIMIT), (few, drawn, 2**20))
    ):
        crops = on_device(images[part], boxes[part], size, limit, "cuda")
        assert crops.device.type == "cuda"
        assert torch.equal(crops.cpu(), on_host(images[part], boxes[part], size))
