"""Each format's fastest plain idiom: the limit that a loader's rate is held against.

A module is named as its loader and has ``idiom(dataset)``: a context manager that gives a function from indices to
images (uint8, fresh memory, as they lie there: ``[B, C, H, W]`` or, decoded, ``[B, H, W, C]``) and labels (int64).
It opens what it needs once, as the loader does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Read = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.int64]]]
