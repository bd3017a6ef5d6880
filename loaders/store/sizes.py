"""The file with height, width and `Kind` of each image of a split of many sizes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def sizes_name(split: str) -> str:
    """Name of a split's file: little-endian int32 ``[n, 3]``."""
    return f"{split}.sizes"


def write_sizes(parts: Iterable[NDArray[np.int32]], folder: Path, split: str) -> str:
    """Write the file from parts, ``[k, 3]`` each; returns its name."""
    with (folder / sizes_name(split)).open("wb") as file:
        for part in parts:
            file.write(part.astype("<i4", copy=False).tobytes())
    return sizes_name(split)


def map_sizes(location: Path, split: str) -> NDArray[np.int32]:
    """The file as a memory map: of ten million images only the requested ones are read."""
    return np.asarray(np.memmap(location / sizes_name(split), "<i4", mode="r").reshape(-1, 3))
