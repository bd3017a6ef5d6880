"""Many runs from one TOML file, and the hidden command that does one step of them."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.arguments import check_limit, store_folder
from bench.cli.options import DATA, RUNS, DataDir, Debug, Limit, StoreDir
from bench.cli.output import out, say
from bench.cli.reports import report
from bench.cli.signals import end_by_exception
from bench.progress import err
from bench.shipped import shipped_sweep


def sweep(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="Describes the runs; `demo` and others come with the program.")
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for the records; default results/runs/NAME.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with an estimate; run nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do all runs anew, finished ones too.")] = False,
    limit: Limit = None,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    debug: Debug = False,
) -> None:
    """Do all runs of a TOML file in rounds, each in a process of its own unless it says otherwise; then report.

    Goes on where it was stopped.

    Exits 1 if a run failed; a loader that cannot run here is a row with its reason.
    """
    from bench.sweep.config import read_sweep
    from bench.sweep.engine import Sweep
    from bench.sweep.plan import Folders, make_plan
    from bench.sweep.screen import Screen

    check_limit(limit)
    file = read_sweep(shipped_sweep(config))
    folder = out_dir or RUNS / file.config.name
    folders = Folders(data_dir.absolute(), store_folder(data_dir, store_dir))
    plan = make_plan(file, folders, limit)
    end_by_exception()
    if dry_run:
        from bench.sweep.estimate import dry_run_lines

        for line in dry_run_lines(file, plan, folders, folder):
            say(line)
        return
    with Screen(out) as screen:
        work = Sweep(file, plan, folders, folder.absolute(), screen)
        try:
            work.run(fresh=fresh)
        finally:  # after Ctrl-C, too
            screen.say(f"{file.config.name}: {work.summary()}")
    with contextlib.suppress(typer.Exit):  # older records in the folder are not this sweep's failures
        report(folder)
    for line in work.failed:
        err.print(f"failed: {line}")
    if work.failed:
        raise typer.Exit(1)


def job() -> None:
    """Do one step of a sweep, which `bench sweep` describes on standard input."""
    from bench.sweep.job import perform

    end_by_exception()
    perform(sys.stdin.read())
