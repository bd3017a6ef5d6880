"""Memory for batches that is used again once nobody has the batch any more: fresh pages would have to be cleared."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from numpy.typing import NDArray

_MOST, _MOST_BYTES = 16, 256 << 20
"""How many arrays are kept for use again, and their bytes together; one beyond them is given away for good."""
_NOBODY = 2
"""References to an array that only its finder holds: the variable and the argument of ``getrefcount``."""
_arrays: deque[NDArray[np.uint8]] = deque()  # the last one given away comes first: it may still be in a cache


def batch_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Uninitialised uint8 memory for one batch, the receiver's own for as long as anything refers to it.

    A tensor made of it, a view of that and whatever shares its memory all hold a reference to the array, so that one
    with no other reference is free. Threads may call this at once: an array that is taken from the deque is nobody
    else's to find.
    """
    for _ in range(len(_arrays)):
        try:
            array = _arrays.popleft()
        except IndexError:  # another thread looks at the others
            break
        if array.shape == shape and sys.getrefcount(array) == _NOBODY:
            _arrays.appendleft(array)
            return array
        _arrays.append(array)
    array = np.empty(shape, np.uint8)
    _arrays.appendleft(array)
    while len(_arrays) > _MOST or sum(each.nbytes for each in list(_arrays)) > _MOST_BYTES:
        _arrays.pop()
    return array
