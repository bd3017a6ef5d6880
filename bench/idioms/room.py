"""Whether an idiom may hold a split a second time, beside the loader that holds it already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from bench.idioms import NoIdiomError


def check_room(needed: int, free: int, what: str) -> None:
    """Take no more than half of what is free: the comparison must not end a run that goes well without it.

    Raises:
        NoIdiomError: more is needed.
    """
    if needed > free // 2:
        raise NoIdiomError(
            f"it would hold the split once more, {needed / 1e9:.2f} GB of the {free / 1e9:.2f} GB that {what} has free"
        )


def check_memory(needed: int) -> None:
    """`check_room` in this machine's memory."""
    check_room(needed, int(psutil.virtual_memory().available), "this machine's memory")


def check_device(needed: int, where: torch.device) -> None:
    """`check_room` on a device."""
    if where.type == "cuda":
        check_room(needed, int(torch.cuda.mem_get_info(where)[0]), "the device")
    else:
        check_memory(needed)


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file, in memory.

    Raises:
        NoIdiomError: there is no room for them.
    """
    check_memory(path.stat().st_size)
    return np.fromfile(path, np.uint8)
