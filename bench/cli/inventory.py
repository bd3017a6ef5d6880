"""What there is: loaders, datasets, and what this machine can run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bench.cli.arguments import store_folder
from bench.cli.options import DATA, DataDir, Debug, StoreDir
from bench.cli.output import entry
from bench.cli.signals import end_by_exception
from bench.progress import bar

_LONG_IMPORT_S = 2.0


def loaders(debug: Debug = False) -> None:
    """List the loaders, their options, and why one cannot run here."""
    from bench.run.doctor import why_unavailable
    from loaders import BUILT_IN, UnavailableError, load, loader_names

    for name in loader_names():
        started = time.perf_counter()
        with contextlib.suppress(UnavailableError):
            load(name)
        seconds = time.perf_counter() - started
        reason = why_unavailable(name)
        entry(f"{name}: {'unavailable: ' + reason if reason else 'available'}")
        if seconds > _LONG_IMPORT_S and name not in BUILT_IN:
            entry(f"importing it took {seconds:.1f} s, which every command that uses it waits for", 4)
        with contextlib.suppress(UnavailableError):  # a class that cannot be imported has no options to show
            for option, field in load(name).Options.model_fields.items():
                entry(_described(option, field), 4)


def _described(name: str, field: FieldInfo) -> str:
    """An option: its default, what it may be, whether the store depends on it, and what it does."""
    default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    extra = field.json_schema_extra
    store = "; shapes the store" if isinstance(extra, dict) and extra.get("store") else ""
    return f"{name} = {default} ({_kind(field.annotation)}{store}) {field.description or ''}".rstrip()


def _kind(annotation: Any) -> str:
    """A type as a command line knows it: ``raw | jpeg``, ``int``, ``str``."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    members = [each for each in get_args(annotation) if each is not type(None)]
    if members:
        return " | ".join(map(_kind, members))
    kinds = {bool: "true | false", SecretStr: "str", Path: "path"}
    return kinds.get(annotation) or str(getattr(annotation, "__name__", annotation))


def datasets(data_dir: DataDir = DATA, debug: Debug = False) -> None:
    """List the datasets and which of them are there."""
    from bench.sources.registry import SOURCES, open_source, why_missing

    for name in SOURCES:
        entry(f"{name}: {open_source(name, data_dir).summary}")
        entry(why_missing(name, data_dir) or "present", 4)


def doctor(
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read all stores and compare their hashes.")] = False,
    debug: Debug = False,
) -> None:
    """Tell what this machine can run, what is missing and why. Exits 1 if a store is damaged."""
    from bench.run import doctor as rounds

    end_by_exception()
    findings = list(rounds.examine(data_dir))
    if verify:
        findings += rounds.verify(store_folder(data_dir, store_dir), bar)
    for finding in findings:
        entry(f"{finding.state:8} {finding.what}{': ' if finding.detail else ''}{finding.detail}", hang=9)
    if any(finding.state == "damaged" for finding in findings):
        raise typer.Exit(1)
