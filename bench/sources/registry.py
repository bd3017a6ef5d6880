"""Sources by name, imported only when asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.errors import UsageError
from bench.sources.base import Source

SOURCES: dict[str, str] = {
    "digits": "bench.sources.digits:Digits",
    "cifar10": "bench.sources.cifar10:Cifar10",
    "tiny-imagenet": "bench.sources.tiny_imagenet:TinyImageNet",
}


def open_source(name: str, data_dir: Path) -> Source:
    """The source of a dataset.

    Raises:
        UsageError: no such dataset.
    """
    if name not in SOURCES:
        raise UsageError(f"no dataset is called {name!r}; there are: {', '.join(SOURCES)}")
    module, _, attribute = SOURCES[name].partition(":")
    source: Source = getattr(importlib.import_module(module), attribute)(data_dir)
    return source
