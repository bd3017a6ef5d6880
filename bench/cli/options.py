"""Arguments and options of several commands; typer reads them, with their defaults, from a command's signature."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.config import Device, Model, RunConfig, Settings

DATA, RUNS = Path("data"), Path("results/runs")


def _debug(on: bool) -> bool:
    if on:
        os.environ["BENCH_DEBUG"] = "1"
    return on


def setting(name: str, kind: type[Settings] = RunConfig) -> Any:
    """The option of a configuration's field; a switch that is on by default gets its opposite, too."""
    field, spelling = kind.model_fields[name], name.replace("_", "-")
    switch = f"/--no-{spelling}" if field.default is True else ""
    return typer.Option(f"--{spelling}{switch}", help=field.description)


Debug = Annotated[bool, typer.Option("--debug", callback=_debug, help="Show the traceback of an error.")]

# What is worked on, and where it lies.
Loader = Annotated[str, typer.Argument(help="Name of a loader; see `bench loaders`.")]
Dataset = Annotated[str, typer.Argument(help="Name of a dataset; see `bench datasets`.")]
LoaderOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="K=V", help="Loader option; may be repeated.")
]
Limit = Annotated[int | None, setting("limit")]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="BENCH_DATA", help="Holds one folder a dataset.")]
StoreDir = Annotated[Path | None, typer.Option("--store-dir", help="Holds the stores; default DATA_DIR/stores.")]
RecordDir = Annotated[Path, typer.Option("--out", help="Folder for the record.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the record that --repeat names.")]

# How a source of images of many sizes is read.
Resize = Annotated[int | None, typer.Option("--resize", help="Store larger images of many sizes with this short side.")]
Corrupt = Annotated[
    Literal["fail", "skip"], typer.Option("--on-corrupt", help="What to do about files that cannot be decoded.")
]
TestShare = Annotated[
    float, typer.Option("--test-share", help="Share of each class to hold out where a folder is not split.")
]

# Settings of a run for commands that take a few of them.
ImageSize = Annotated[int | None, setting("image_size")]
Network = Annotated[Model, setting("model")]
BatchSize = Annotated[int, setting("batch_size")]
Threads = Annotated[int, setting("threads")]
DeviceName = Annotated[Device, setting("device")]

# What is made of records or of an audit.
TableFormats = Annotated[str | None, typer.Option("--format", help="What --out gets: md, csv, latex; default all.")]
Language = Annotated[Literal["en", "lv"], typer.Option("--language", help="Of all text.")]
Mix = Annotated[bool, typer.Option("--mix-environments", help="Let records of different machines share tables.")]
