"""The audit of the hand-written gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.arguments import check_out, chosen_formats
from bench.cli.options import Debug, TableFormats
from bench.cli.output import out, say
from bench.cli.signals import end_by_exception
from bench.errors import UsageError
from bench.progress import err, status


def gradcheck(
    mutants: Annotated[bool, typer.Option("--mutants", help="Plant faults, all to be caught; train nothing.")] = False,
    california: Annotated[bool, typer.Option("--california", help="Train on California housing, downloaded.")] = False,
    device: Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where PyTorch's side computes.")] = "cpu",
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the tables and figures.")] = None,
    formats: TableFormats = None,
    debug: Debug = False,
) -> None:
    """Audit the hand-written gradients against torch.autograd. Exits 1 if anything is not as expected."""
    if mutants and (california or device != "cpu" or out_dir or formats):
        raise UsageError(
            "--mutants goes alone, without --california, --device, --out and --format: it trains and writes nothing, "
            "and the CPU is enough"
        )
    check_out(formats, out_dir)

    from bench.gradients import outcome, tables, write
    from bench.render import terminal
    from bench.run.devices import resolve_device, torch_device

    chosen = chosen_formats(formats, write.FORMATS)
    if out_dir is not None:
        write.check(out_dir)
    end_by_exception()
    made: outcome.Planting | outcome.Outcome
    with status() as doing:
        made = outcome.plant(doing) if mutants else outcome.run(torch_device(resolve_device(device)), california, doing)
    for table, _ in terminal.tables_of(tables.shown(made)):
        out.print(table)
    if out_dir is not None and isinstance(made, outcome.Outcome):
        command = " ".join(
            ["bench gradcheck"]
            + ["--california"] * california
            + ["--device cuda"] * (device == "cuda")
            + [f"--out {out_dir.name if out_dir.is_absolute() else out_dir.as_posix()}"]
            + ([f"--format {formats}"] if formats else [])
        )
        for path in write.write(made, out_dir, chosen, command):
            say(f"wrote {path}")
    for fault in made.faults:
        err.print(f"bench: {fault}")
    say(f"{made.summary}; {made.seconds:.1f} s")
    if made.faults:
        raise typer.Exit(1)
