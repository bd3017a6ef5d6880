"""Advice on one's own data."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.arguments import store_spec
from bench.cli.output import out, say
from bench.cli.signals import end_by_exception
from bench.config import Model, RunConfig, build
from bench.errors import BenchError, UsageError
from bench.progress import status


def advise(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, folder:PATH, or the path of a folder.")],
    budget: Annotated[float, typer.Option("--budget", help="Seconds that it may take.")] = 180.0,
    epochs: Annotated[int, typer.Option("--epochs", help="How many you plan.")] = 30,
    model: Annotated[Model | None, typer.Option("--model", help="Network to train; default convnet.")] = None,
    accelerator: Annotated[
        str | None, typer.Option("--accelerator", help="Emulate one instead: its images/s, or the name of a profile.")
    ] = None,
    batch_size: options.BatchSize = 128,
    threads: options.Threads = 0,
    device: options.DeviceName = "auto",
    image_size: options.ImageSize = None,
    resize: options.Resize = None,
    on_corrupt: options.Corrupt = "fail",
    test_share: options.TestShare = 0.2,
    data_dir: options.DataDir = options.DATA,
    store_dir: options.StoreDir = None,
    debug: options.Debug = False,
) -> None:
    """Tell which loader, encoding and workers suit your data here, and what that costs, from a sample of it."""
    from bench.advise import words
    from bench.advise.advise import advise as measure
    from bench.advise.candidates import BASELINE
    from bench.run.devices import resolve_device
    from bench.run.runner import fix_arithmetic
    from bench.run.stores import spec_of
    from bench.sources.folder import PREFIX
    from bench.sources.registry import SOURCES

    if budget < 10:
        raise UsageError(f"--budget must be at least 10 seconds, not {budget:g}")
    if epochs < 1:
        raise UsageError(f"--epochs must be at least 1, not {epochs}")
    if dataset not in SOURCES and not dataset.startswith(PREFIX) and (os.sep in dataset or os.path.lexists(dataset)):
        dataset = f"{PREFIX}{dataset}"
    reading = {"resize": resize, "on_corrupt": on_corrupt, "test_share": test_share}
    first, _ = store_spec(BASELINE, dataset, None, None, data_dir, store_dir, reading)
    config = build(
        RunConfig,
        loader=BASELINE,
        dataset=first.source.name,
        model=model or ("convnet" if accelerator is None else None),
        batch_size=batch_size,
        threads=threads,
        device="emulated" if accelerator is not None and device == "auto" else resolve_device(device),
        accelerator=accelerator,
        image_size=first.image_size(image_size),
        source=first.source.options.given(),
    )
    if reason := first.source.missing():
        raise BenchError(reason)
    fix_arithmetic(config)
    end_by_exception()
    with status() as doing:
        advice = measure(config, first.source, first.store_dir, budget, epochs, doing)
    best = advice.trials[0].candidate
    spec, _ = spec_of(best.loader, first.source, best.options, None, first.store_dir)
    out.print(words.table(advice))
    for line in words.sentences(advice, config, spec, dataset):
        say(line)
