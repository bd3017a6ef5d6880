"""Tables and figures of folders of records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.arguments import check_out, chosen_formats
from bench.cli.options import Debug, Language, Mix, TableFormats
from bench.cli.output import out, say
from bench.cli.signals import end_by_exception
from bench.errors import BenchError, UsageError
from bench.progress import err

if TYPE_CHECKING:  # only commands that need them import them
    from bench.records import Foreign, Record
    from bench.render.table import Table


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds records.")],
    formats: Annotated[
        str | None, typer.Option("--format", help="What to write: md, csv, latex, html, figures; default all.")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", help="Loader that the others are compared with.")
    ] = "filesystem",
    language: Language = "en",
    mix: Mix = False,
    gradients: Annotated[
        Path | None, typer.Option("--gradients", help="Folder of `bench gradcheck --out`, shown on the HTML page.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make tables and figures of a folder of records and write them there. Exits 1 if a run failed."""
    from bench.report import write
    from bench.report.report import Report

    wanted = chosen_formats(formats, write.FORMATS)
    end_by_exception()
    records, foreign = _records(folder)
    known = sorted({record.loader.name for record in records})
    if baseline.partition(" ")[0] not in (*known, "filesystem"):
        raise UsageError(f"--baseline {baseline}: no record is of that loader; there are: {', '.join(known)}")
    command = " ".join(
        [f"bench report {folder.name}"]
        + [f"--baseline '{baseline}'"] * (baseline != "filesystem")
        + [f"--language {language}"] * (language != "en")
        + ["--mix-environments"] * mix
        + ([f"--gradients {gradients.name}"] if gradients is not None else [])
    )
    made = Report(records, command, baseline, language, mix, foreign, gradients)
    _show(made.tables, language)
    for path in dict.fromkeys(p if p.parent == folder else p.parent for p in write.write(made, folder, wanted)):
        say(f"wrote {path}")
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Holds records.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Holds records of another machine or commit.")],
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the tables.")] = None,
    formats: TableFormats = None,
    language: Language = "en",
    mix: Mix = False,
    debug: Debug = False,
) -> None:
    """Tell what is slower or faster in B than in A beyond the noise, run for run of the same work."""
    from bench.report import compare as comparing

    check_out(formats, out_dir)
    wanted = chosen_formats(formats, comparing.FORMATS)
    end_by_exception()
    sides = [(str(folder), _records(folder)[0]) for folder in (a, b)]
    made = comparing.compare(sides[0], sides[1], mix)
    _show(made, language)
    if out_dir is not None:
        command = f"bench compare {a.name} {b.name}{' --mix-environments' * mix}"
        for path in comparing.write(made, out_dir, wanted, command, language):
            say(f"wrote {path}")


def _records(folder: Path) -> tuple[list[Record], list[Foreign]]:
    """The records of a folder, and what is none, which is named."""
    from bench.records import Foreign, read_records

    found = list(read_records(folder))
    foreign = [item for item in found if isinstance(item, Foreign)]
    for item in foreign:
        err.print(f"skipped {item.path}: {item.reason}")
    records = [item[1] for item in found if not isinstance(item, Foreign)]
    if not records:
        raise BenchError(f"there are no records in {folder}; make some with `bench run … --out {folder}`")
    return records, foreign


def _show(made: Iterable[Table], language: Literal["en", "lv"]) -> None:
    """The tables for a terminal, each with its notes."""
    from bench.render import terminal

    for table, notes in terminal.tables_of(made, language):
        out.print(table)
        for note in notes:
            say(f"- {note}")
