"""A figure as part of the page."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.report.figures import Picture


class Inline(NamedTuple):
    """A figure with its file as a ``data:`` address; width and height in pixels."""

    key: str
    title: str
    caption: str
    alt: str
    uri: str
    width: int
    height: int


def inline(pictures: Iterable[Picture], drawn: Path | None) -> Iterator[Inline]:
    """The figures as the page holds them.

    Args:
        pictures: what to show.
        drawn: folder that already has each as ``<key>.png``, as `Picture.save` writes it; None: they are drawn now.
    """
    for picture in pictures:
        data = picture.png() if drawn is None else (drawn / f"{picture.key}.png").read_bytes()
        width, height = struct.unpack(">II", data[16:24])  # of a PNG's first chunk
        uri = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        yield Inline(picture.key, picture.title, picture.caption, picture.alt, uri, width, height)
