"""Writes a file whole or not at all: on a disk that fills up, what stood there before still stands."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> Path:
    """Write under another name beside it, then put it into place at once.

    Args:
        path: where to, in a folder that exists; replaced if it is there.
        content: what; text is written as UTF-8, its lines ending as they do.

    Returns:
        The path.

    Raises:
        OSError: it cannot be written; the caller knows what for.
    """
    partial = path.with_name(f".{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        return partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
