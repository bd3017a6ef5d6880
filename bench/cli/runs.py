"""One run and its record: of a training, or of the data path alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bench.cli.arguments import source_options, wanted_store
from bench.cli.options import (
    DATA,
    RUNS,
    BatchSize,
    Corrupt,
    DataDir,
    Dataset,
    Debug,
    DeviceName,
    ImageSize,
    Limit,
    Loader,
    LoaderOptions,
    Network,
    Overwrite,
    Prefetch,
    RecordDir,
    Repeat,
    Resize,
    Seed,
    Start,
    StoreDir,
    TestShare,
    Threads,
    Workers,
)
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.config import CacheState, RateConfig, RunConfig, Settings, build
from bench.errors import BenchError
from bench.progress import Bar

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it pay
    from bench.records import Record
    from bench.run.stores import Wanted

C = TypeVar("C", bound=Settings)


def run(
    loader: Loader,
    dataset: Dataset,
    model: Network = "convnet",
    epochs: Annotated[int, typer.Option("--epochs")] = 3,
    batch_size: BatchSize = 128,
    seed: Seed = 0,
    workers: Workers = 0,
    start_method: Start = "fork",
    prefetch: Prefetch = 0,
    threads: Threads = 0,
    device: DeviceName = "auto",
    cache: Annotated[
        CacheState, typer.Option("--cache", help="warm: an untimed pass first; cold: evicted first.")
    ] = "warm",
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 0.1,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Memory format of the network.")] = False,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 mixed precision.")] = False,
    deterministic: Annotated[bool, typer.Option(help="PyTorch's deterministic algorithms.")] = True,
    label_smoothing: Annotated[float, typer.Option("--label-smoothing", help="Share spread over all classes.")] = 0.0,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network.")] = False,
    cuda_graphs: Annotated[bool, typer.Option("--cuda-graphs", help="Capture a step and replay it.")] = False,
    in_flight: Annotated[int, typer.Option("--in-flight", help="Batches on a CUDA device at once.")] = 2,
    ceiling_steps: Annotated[int, typer.Option("--ceiling-steps", help="Steps without a data path; 0: none.")] = 50,
    rate_batches: Annotated[int, typer.Option("--rate-batches", help="Batches without training; 0: none.")] = 200,
    repeat: Repeat = None,
    overwrite: Overwrite = False,
    image_size: ImageSize = None,
    option: LoaderOptions = None,
    limit: Limit = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    out_dir: RecordDir = RUNS,
    debug: Debug = False,
) -> None:
    """Train on one loader and dataset, and write the record. Prepares a store that is missing."""
    from bench.report.metrics import METRICS
    from bench.run.runner import run as train

    wanted, settings = _subject(locals())
    config = build(
        RunConfig,
        **settings,
        model=model,
        epochs=epochs,
        cache=cache,
        lr=lr,
        channels_last=channels_last,
        amp=amp,
        deterministic=deterministic,
        label_smoothing=label_smoothing,
        compile=compiled,
        cuda_graphs=cuda_graphs,
        in_flight=in_flight,
        ceiling_steps=ceiling_steps,
        rate_batches=rate_batches,
    )
    record = _recorded(config, repeat, overwrite, out_dir, lambda config: train(config, wanted, Bar(), say))
    seconds, speed, fetched = (METRICS[key].of(record) for key in ("epoch_s", "images_per_s", "fetch_pct"))
    last = record.epochs[-1]
    say(
        f"{loader} on {dataset}: {seconds:.3f} s an epoch, {speed:,.0f} images/s, {fetched:.1f}% waiting for data, "
        f"accuracy {last.test_accuracy:.4f}, macro-F1 {last.test_macro_f1:.4f}; record {record.run_id}.json"
    )


def rate(
    loader: Loader,
    dataset: Dataset,
    batch_size: BatchSize = 128,
    batches: Annotated[int, typer.Option("--batches", help="Batches a repetition; 0: the whole split.")] = 0,
    repeats: Annotated[int, typer.Option("--repeats")] = 5,
    seed: Seed = 0,
    workers: Workers = 0,
    start_method: Start = "fork",
    prefetch: Prefetch = 0,
    threads: Threads = 0,
    device: DeviceName = "auto",
    repeat: Repeat = None,
    overwrite: Overwrite = False,
    image_size: ImageSize = None,
    option: LoaderOptions = None,
    limit: Limit = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    out_dir: RecordDir = RUNS,
    debug: Debug = False,
) -> None:
    """Measure the data path alone, beside the format's fastest plain idiom."""
    from bench.report.metrics import METRICS
    from bench.run.rate import rate as measure

    wanted, settings = _subject(locals())
    config = build(RateConfig, **settings, batches=batches, repeats=repeats)
    record = _recorded(config, repeat, overwrite, out_dir, lambda config: measure(config, wanted, Bar(), say))
    mine, raw, ratio = (METRICS[key].of(record) for key in ("loader_rate", "raw_rate", "efficiency"))
    text = f"{loader} on {dataset}: {mine:,.0f} images/s"
    if record.rates is not None and raw is not None:
        text += f", {ratio:.2f} of the plain idiom's {raw:,.0f} ({record.rates.idiom})"
    say(text)


def _subject(given: Mapping[str, Any]) -> tuple[Wanted, dict[str, Any]]:
    """Of the arguments of either command: the loader over the dataset, and what all configurations have."""
    from bench.run.runner import resolve_device

    how = source_options(given["resize"], given["on_corrupt"], given["test_share"])
    loader, dataset, option, limit = given["loader"], given["dataset"], given["option"], given["limit"]
    wanted, options = wanted_store(loader, dataset, option, limit, given["data_dir"], given["store_dir"], how)
    translated = {
        "dataset": wanted.source.name,
        "image_size": wanted.image_size(given["image_size"]),
        "source": how.given(),
        "options": options,
        "repeat": given["repeat"] or 0,
        "device": resolve_device(given["device"]).type,
    }
    return wanted, {name: given[name] for name in Settings.model_fields if name in given} | translated


def _recorded(config: C, repeat: int | None, overwrite: bool, folder: Path, work: Callable[[C], Record]) -> Record:
    """Do the work under a number of its own and keep its record, whatever became of it."""
    from bench.run.repeats import keep, numbered
    from bench.run.runner import RunFailedError

    config = numbered(config, repeat, overwrite, folder)
    end_by_exception()
    try:
        record = work(config)
    except RunFailedError as error:
        keep(error.record, overwrite, folder)
        raise
    kept = keep(record, overwrite, folder)
    if kept.run_id != record.run_id:
        say(f"a record of repeat {record.config.repeat} came meanwhile; this one is repeat {kept.config.repeat}")
    if kept.status == "unavailable":
        raise BenchError(f"loader {kept.loader.name} is unavailable: {kept.error}")
    return kept
