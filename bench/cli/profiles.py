"""Profiles of this machine's device, to be emulated anywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.accelerators import OWN, keep
from bench.cli import options
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.config import RunConfig, build
from bench.errors import BenchError, UsageError


def profile(
    model: options.Network = "convnet",
    batch_size: options.BatchSize = 128,
    side: Annotated[int, typer.Option("--image-size", min=8, help="Side of the images in pixels.")] = 32,
    classes: Annotated[int, typer.Option("--classes", min=2, help="Classes that the network tells apart.")] = 10,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps of each of three blocks.")] = 50,
    device: options.DeviceName = "auto",
    threads: options.Threads = 0,
    amp: Annotated[bool, options.setting("amp")] = False,
    channels_last: Annotated[bool, options.setting("channels_last")] = False,
    compiled: Annotated[bool, options.setting("compile")] = False,
    cuda_graphs: Annotated[bool, options.setting("cuda_graphs")] = False,
    debug: options.Debug = False,
) -> None:
    """Measure how fast this device trains, and note it in accelerators.toml, for --accelerator on any machine."""
    from bench.run.devices import resolve_device
    from bench.run.profile import profile as measure
    from bench.run.runner import fix_arithmetic

    where = resolve_device(device)
    if cuda_graphs and where != "cuda":
        raise UsageError("--cuda-graphs is for a CUDA device; leave it out")
    ways = {"amp": amp, "channels_last": channels_last, "compile": compiled, "cuda_graphs": cuda_graphs}
    run = {"model": model, "batch_size": batch_size, "device": where, "threads": threads, "deterministic": False}
    config = build(RunConfig, loader="", dataset="", **run, **ways)
    end_by_exception()
    fix_arithmetic(config)
    made = measure(config, (3, side, side), classes, steps)
    try:
        keep(made)
    except (ValueError, OSError) as error:
        raise BenchError(f"cannot keep the profile in {OWN}: {error}") from error
    say(f"{made.name}: {made.images_per_s:,.10g} images/s, in {OWN}")
