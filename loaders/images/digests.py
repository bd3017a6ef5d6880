"""The hash of one image, and its first bytes, which a store keeps for each sample."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def image_digest(image: NDArray[np.uint8], *, ragged: bool) -> bytes:
    """The sha256 of a contiguous uint8 image: ``[C, H, W]``, or if ragged height, width and ``[H, W, 3]``."""
    digest = hashlib.sha256(np.array(image.shape[:2], "<i4").data if ragged else b"")
    digest.update(image.data)
    return digest.digest()


def shortened(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of digests, uint8 ``[n, 32]``."""
    return np.ascontiguousarray(digests[:, :8]).view("<u8")[:, 0].astype(np.uint64, copy=False)


def checksums_of(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The shortened digests of images of one size, uint8 ``[n, C, H, W]``, contiguous."""
    digests = bytearray().join(image_digest(image, ragged=False) for image in images)
    return shortened(np.frombuffer(digests, np.uint8).reshape(-1, 32))
