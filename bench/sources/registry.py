"""Sources by name, imported only when asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.errors import DataError, UsageError
from bench.sources.base import Source, SourceOptions
from bench.sources.folder import PREFIX, Folder

SOURCES: dict[str, str] = {
    "digits": "bench.sources.digits:Digits",
    "cifar10": "bench.sources.cifar10:Cifar10",
    "tiny-imagenet": "bench.sources.tiny_imagenet:TinyImageNet",
    "imagenette": "bench.sources.imagenette:Imagenette",
    "imagenette-320": "bench.sources.imagenette:Imagenette320",
    "imagenette-160": "bench.sources.imagenette:Imagenette160",
}


def open_source(name: str, data_dir: Path, options: SourceOptions | None = None) -> Source:
    """The source of a dataset.

    Args:
        name: one of `SOURCES`, or ``folder:PATH``.
        data_dir: holds one folder a dataset.
        options: how it is taken.

    Raises:
        UsageError: no such dataset, or options that do not fit it.
    """
    if name.startswith(PREFIX):
        path = name.removeprefix(PREFIX)
        if not path:
            raise UsageError("folder: names no folder; write folder:PATH of your images")
        return Folder(Path(path), options)
    if name not in SOURCES:
        raise UsageError(f"no dataset is called {name!r}; there are: {', '.join(SOURCES)}, and folder:PATH")
    module, _, attribute = SOURCES[name].partition(":")
    source: Source = getattr(importlib.import_module(module), attribute)(data_dir, options)
    return source


def why_missing(name: str, data_dir: Path) -> str | None:
    """Why a dataset cannot be read, for a list of all; None if it is there."""
    try:
        return open_source(name, data_dir).missing()
    except DataError as error:  # nobody may look there
        return str(error)
