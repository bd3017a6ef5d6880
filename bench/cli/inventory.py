"""What there is: loaders, datasets, and what this machine can run."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

import typer

from bench.cli.arguments import store_folder
from bench.cli.options import DATA, DataDir, Debug, StoreDir
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.progress import bar

_LONG_IMPORT_S = 2.0


def loaders(debug: Debug = False) -> None:
    """List the loaders, their options, and why one cannot run here."""
    from bench.run.doctor import why_unavailable
    from loaders import UnavailableError, load, loader_names
    from loaders.registry import BUILT_IN

    for name in loader_names():
        started = time.perf_counter()
        with contextlib.suppress(UnavailableError):
            load(name)
        seconds = time.perf_counter() - started
        reason = why_unavailable(name)
        say(f"{name}: {'unavailable: ' + reason if reason else 'available'}")
        if seconds > _LONG_IMPORT_S and name not in BUILT_IN:
            say(f"    importing it took {seconds:.1f} s, which every command that uses it waits for")
        with contextlib.suppress(UnavailableError):  # a class that cannot be imported has no options to show
            for option, field in load(name).Options.model_fields.items():
                kind = str(field.annotation).removeprefix("typing.").removeprefix("<class '").removesuffix("'>")
                say(f"    {option} = {field.default} ({kind}) {field.description or ''}")


def datasets(data_dir: DataDir = DATA, debug: Debug = False) -> None:
    """List the datasets and which of them are there."""
    from bench.sources.registry import SOURCES, open_source, why_missing

    for name in SOURCES:
        say(f"{name}: {open_source(name, data_dir).summary}")
        say(f"    {why_missing(name, data_dir) or 'present'}")


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
        say(f"{finding.state:8} {finding.what}{': ' if finding.detail else ''}{finding.detail}")
    if any(finding.state == "damaged" for finding in findings):
        raise typer.Exit(1)
