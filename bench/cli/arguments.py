"""What a command's arguments stand for: folders, sources, loaders over datasets, formats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import build
from bench.errors import UsageError

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it pay
    from bench.run.stores import StoreSpec


def store_folder(data_dir: Path, store_dir: Path | None) -> Path:
    """Where the stores lie."""
    return (store_dir or data_dir / "stores").absolute()


def store_spec(
    loader: str,
    dataset: str,
    pairs: list[str] | None,
    limit: int | None,
    data_dir: Path,
    store_dir: Path | None,
    reading: dict[str, Any],
) -> tuple[StoreSpec, dict[str, Any]]:
    """The loader over the dataset, read by `SourceOptions`; and the given options as they may stand in a record."""
    from bench.run.stores import spec_of
    from bench.sources.base import SourceOptions
    from bench.sources.registry import open_source

    values: dict[str, str] = {}
    for text in pairs or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {text!r} is not of the form name=value")
        values[name] = value
    check_limit(limit)
    source = open_source(dataset, data_dir, build(SourceOptions, **reading))
    return spec_of(loader, source, values, limit, store_folder(data_dir, store_dir))


def check_limit(limit: int | None) -> None:
    """Refuse a ``--limit`` that leaves nothing."""
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")


def check_out(formats: str | None, out_dir: Path | None) -> None:
    """Refuse ``--format`` without ``--out``."""
    if formats is not None and out_dir is None:
        raise UsageError("--format goes with --out; the terminal shows the tables in any case")


def chosen_formats(text: str | None, known: Iterable[str]) -> list[str]:
    """The names of ``--format``, or all."""
    known = list(known)
    if not text:
        return known
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := set(chosen) - set(known):
        raise UsageError(f"--format has no {', '.join(sorted(unknown))}; it has: {', '.join(known)}")
    return chosen
