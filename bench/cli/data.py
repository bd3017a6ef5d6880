"""Data before anything is trained on it: official files or twins of them, and stores."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.arguments import store_spec
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.errors import UsageError
from bench.progress import bar, steps


def fetch(
    dataset: options.Dataset,
    data_dir: options.DataDir = options.DATA,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Make a twin in the official layout.")] = False,
    fraction: Annotated[float, typer.Option("--fraction", help="Share of the official count in the twin.")] = 1.0,
    debug: options.Debug = False,
) -> None:
    """Download a dataset's official files, or make a synthetic twin of them."""
    from bench.sources.fetch import fetch as download
    from bench.sources.registry import open_source

    source = open_source(dataset, data_dir)
    if not synthetic and fraction != 1.0:
        raise UsageError("--fraction goes with --synthetic; the official files come whole")
    end_by_exception()
    with steps() as report:
        if synthetic:
            source.make_twin(fraction, report)
        else:
            download(source, report)
    say(f"{dataset}: {'a synthetic twin' if synthetic else 'the official files'} in {source.folder}")


def prepare(
    loader: options.Loader,
    dataset: options.Dataset,
    option: options.LoaderOptions = None,
    limit: options.Limit = None,
    resize: options.Resize = None,
    on_corrupt: options.Corrupt = "fail",
    test_share: options.TestShare = 0.2,
    data_dir: options.DataDir = options.DATA,
    store_dir: options.StoreDir = None,
    force: Annotated[bool, typer.Option("--force", help="Make the store anew.")] = False,
    debug: options.Debug = False,
) -> None:
    """Write a loader's store of a dataset."""
    from bench.run.stores import prepare as make

    reading = {"resize": resize, "on_corrupt": on_corrupt, "test_share": test_share}
    spec, _ = store_spec(loader, dataset, option, limit, data_dir, store_dir, reading)
    end_by_exception()
    info, written = make(spec, bar, force=force)
    for note in spec.source.notes() if not spec.source.missing() else ():
        say(f"{spec.source.name}: {note}")
    if skipped := [name for split in info.splits.values() for name in split.skipped]:
        few = ", ".join(skipped[:3]) + (", …" if len(skipped) > 3 else "")
        say(f"{spec.relative}: left out {len(skipped):,} files that cannot be decoded: {few}")
    state = f"prepared in {info.prepare_s:.2f} s" if written else "is already prepared"
    say(f"{spec.relative} {state}: {info.samples:,} images, {info.allocated_bytes / 1e6:.1f} MB")
