"""Sources by the names of their datasets."""

from __future__ import annotations

from pathlib import Path

from bench.errors import DataError, UsageError
from bench.sources.base import Source, SourceOptions
from bench.sources.cifar10 import Cifar10
from bench.sources.digits import Digits
from bench.sources.folder import PREFIX, Folder
from bench.sources.imagenette import Imagenette, Imagenette160, Imagenette320
from bench.sources.tiny_imagenet import TinyImageNet

SOURCES: dict[str, type[Source]] = {
    source.name: source for source in (Digits, Cifar10, TinyImageNet, Imagenette, Imagenette320, Imagenette160)
}


def open_source(name: str, data_dir: Path, options: SourceOptions | None = None) -> Source:
    """The source of one of `SOURCES`, below ``data_dir``, or of ``folder:PATH``; a ``UsageError`` for any other."""
    if name == PREFIX:
        raise UsageError("folder: names no folder; write folder:PATH of your images")
    if name.startswith(PREFIX):
        return Folder(Path(name.removeprefix(PREFIX)), options)
    if name not in SOURCES:
        raise UsageError(f"no dataset is called {name!r}; there are: {', '.join(SOURCES)}, and folder:PATH")
    return SOURCES[name](data_dir, options)


def why_missing(name: str, data_dir: Path) -> str | None:
    """Why a dataset cannot be read, for a list of all; None if it is there."""
    try:
        return open_source(name, data_dir).missing()
    except DataError as error:  # nobody may look there
        return str(error)
