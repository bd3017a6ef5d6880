"""Writes a file whole or not at all: on a disk that fills up, what stood there before still stands."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> Path:
    """Write under another name beside it, in a folder that exists, then put it into place at once; return the path.

    Raises:
        OSError: it cannot be written; the caller knows what for.
    """
    partial = path.with_name(f".{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        return partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
