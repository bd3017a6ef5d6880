"""Arguments and options that several commands take, each with its name and its help in one place.

Typer reads them from a command's signature, which also holds their defaults. What one command alone takes stands in its
signature.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.config import Device, Model, StartMethod

DATA, RUNS = Path("data"), Path("results/runs")


def _debug(on: bool) -> bool:
    if on:
        os.environ["BENCH_DEBUG"] = "1"
    return on


Debug = Annotated[bool, typer.Option("--debug", callback=_debug, help="Show the traceback of an error.")]

# What is worked on, and where it lies.
Loader = Annotated[str, typer.Argument(help="Name of a loader; see `bench loaders`.")]
Dataset = Annotated[str, typer.Argument(help="Name of a dataset; see `bench datasets`.")]
LoaderOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="K=V", help="Loader option; may be repeated.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Take at most so many samples of each split.")]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="BENCH_DATA", help="Holds one folder a dataset.")]
StoreDir = Annotated[Path | None, typer.Option("--store-dir", help="Holds the stores; default DATA_DIR/stores.")]
RecordDir = Annotated[Path, typer.Option("--out", help="Folder for the record.")]

# How a source of images of many sizes is taken.
Resize = Annotated[int | None, typer.Option("--resize", help="Store larger images of many sizes with this short side.")]
Corrupt = Annotated[
    Literal["fail", "skip"], typer.Option("--on-corrupt", help="What to do about files that cannot be decoded.")
]
TestShare = Annotated[
    float, typer.Option("--test-share", help="Share of each class to hold out where a folder is not split.")
]
ImageSize = Annotated[
    int | None, typer.Option("--image-size", help="Side of the square crops of images of many sizes; default 160.")
]

# How it is read and trained on.
Network = Annotated[Model, typer.Option("--model")]
BatchSize = Annotated[int, typer.Option("--batch-size")]
Seed = Annotated[int, typer.Option("--seed", help="Fixes order, augmentation and initial weights.")]
Workers = Annotated[int, typer.Option("--workers", help="Worker processes; 0 reads in the training process.")]
Start = Annotated[StartMethod, typer.Option("--start-method", help="How worker processes start.")]
Prefetch = Annotated[int, typer.Option("--prefetch", help="Batches read ahead, by a thread or by each worker.")]
Threads = Annotated[int, typer.Option("--threads", help="Threads of PyTorch's operators; 0: one per core.")]
DeviceName = Annotated[Device, typer.Option("--device")]
Repeat = Annotated[
    int | None,
    typer.Option("--repeat", help="Number of this repetition; default: the first without a record in --out."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the record that --repeat names.")]

# What is made of records or of an audit.
TableFormats = Annotated[str | None, typer.Option("--format", help="What --out gets: md, csv, latex; default all.")]
Language = Annotated[Literal["en", "lv"], typer.Option("--language", help="Of all text.")]
Mix = Annotated[bool, typer.Option("--mix-environments", help="Let records of different machines share tables.")]
