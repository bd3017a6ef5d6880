"""Decodes JPEG files on the device by nvJPEG, whose pixels differ a little from those of every decoder on the host."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders.batch import Batch, Indices
from loaders.crops import Boxes
from loaders.device import Device
from loaders.device_crops import device_crops
from loaders.device_fill import pieces
from loaders.errors import BackendError, DecodeError
from loaders.hostpages import host_view

_AT_ONCE = 256 * 2**20
"""Bytes of decoded images of many sizes that await their crops."""
_OF_THE_DEVICE = (torch.OutOfMemoryError, torch.AcceleratorError)
"""Runtime errors that no file causes."""


class DeviceDecoder:
    """JPEG files in the host's memory, or in its page cache, and labels on a device that decodes the files.

    PyTorch takes the files as a list, so that this is the one way of ``gpu_mmap`` that costs Python for each sample.
    """

    def __init__(
        self,
        device: Device,
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        labels: torch.Tensor,
        sizes: Callable[[Indices], NDArray[np.int64]],
        channels: int,
        what: str,
    ) -> None:
        """Try the decoder, so that one that is missing is told at once.

        Args:
            device: decodes.
            data: all files end to end.
            offsets: ``[n + 1]``, where each begins.
            labels: int64 ``[n]``, on the device.
            sizes: gives height and width ``[B, 2]`` that these images must have.
            channels: of all images.
            what: of which split they are, for error messages.

        Raises:
            BackendError: there is no such decoder.
        """
        self._device, self._data, self._offsets, self._labels = device, host_view(data), offsets, labels
        self._sizes, self._channels, self._what = sizes, channels, what
        example = np.frombuffer(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8)), np.uint8).copy()
        try:
            device.decode([torch.from_numpy(example)], 3)
        except _OF_THE_DEVICE:
            raise
        except (RuntimeError, ImportError, AttributeError) as error:
            raise BackendError(
                f"this torchvision cannot decode on the device ({_first_line(error)}); use --option decoder=fast"
            ) from None

    def images(self, indices: Indices) -> list[torch.Tensor]:
        """Whole images, uint8 ``[C, H, W]`` each.

        Raises:
            DecodeError: a file that nvJPEG does not read, or an image of another size than it should have.
        """
        if not len(indices):
            return []
        bounds = zip(self._offsets[indices].tolist(), self._offsets[indices + 1].tolist(), strict=True)
        files = [self._data[start:end] for start, end in bounds]
        try:
            images = self._device.decode(files, self._channels)
        except _OF_THE_DEVICE:
            raise
        except RuntimeError as error:
            raise self._which(indices, files, error) from None
        for index, image, (height, width) in zip(indices.tolist(), images, self._sizes(indices).tolist(), strict=True):
            if image.shape != (self._channels, height, width):
                shown = f"{image.shape[2]}x{image.shape[1]} pixels"
                raise self._damaged(index, f"it is {shown} instead of {width}x{height}")
        return images

    def flat(self, indices: Indices) -> torch.Tensor:
        """Whole images ``[H, W, C]`` end to end."""
        return torch.cat([image.permute(1, 2, 0).reshape(-1) for image in self.images(indices)])

    def planes(self, indices: Indices) -> torch.Tensor:
        """Whole images ``[C, H, W]`` end to end."""
        return torch.cat([image.reshape(-1) for image in self.images(indices)])

    def read(self, indices: Indices) -> Batch:
        """A batch of images of one size."""
        height, width = self._sizes(np.zeros(1, np.int64))[0].tolist()
        images = self.images(indices)
        empty = torch.empty((0, self._channels, height, width), dtype=torch.uint8, device=self._device.where)
        return Batch(torch.stack(images) if images else empty, self._labels_of(indices))

    def crops(self, indices: Indices, sizes: NDArray[np.int64], boxes: Boxes, size: int) -> Batch:
        """A batch of square crops; as `loaders.gathering.RaggedGather.crops`."""
        parts = [torch.empty((0, 3, size, size), dtype=torch.uint8, device=self._device.where)]
        lengths = 3 * sizes.prod(axis=1)
        for start, stop in pieces(lengths, _AT_ONCE):
            part = slice(start, stop)
            offsets = np.cumsum(lengths[part]) - lengths[part]
            parts.append(device_crops(self.flat(indices[part]), offsets, sizes[part, 1], boxes[part], size))
        images = torch.cat(parts) if len(parts) > 2 else parts[-1]
        return Batch(images, self._labels_of(indices))

    def _labels_of(self, indices: Indices) -> torch.Tensor:
        return self._labels.index_select(0, torch.from_numpy(indices).to(self._labels.device))

    def _which(self, indices: Indices, files: list[torch.Tensor], error: RuntimeError) -> DecodeError:
        """The error of all, told of the one that causes it."""
        for index, file in zip(indices.tolist(), files, strict=True):
            try:
                self._device.decode([file], self._channels)
            except RuntimeError as own:
                return self._damaged(index, _first_line(own))
        return self._damaged(int(indices[0]), f"it or another of its batch: {_first_line(error)}")

    def _damaged(self, index: int, why: str) -> DecodeError:
        return DecodeError(
            f"image {index} of {self._what} cannot be decoded on the device: {why}; use --option decoder=fast"
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
