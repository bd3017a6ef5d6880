"""The command line: the only module that exits, and with bench.progress the only one that prints."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from bench.config import CacheState, Device, Model, RateConfig, RunConfig, Settings, StartMethod, build
from bench.errors import BenchError, UsageError
from bench.progress import Bar, Doing, Steps, err

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it pay
    from bench.records import Foreign, Record
    from bench.report.table import Table
    from bench.sources.base import SourceOptions
    from bench.stores import Wanted

app = typer.Typer(
    help="Which storage format should feed my PyTorch image classifier, on my machine, and what does each cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
out = Console(soft_wrap=not sys.stdout.isatty(), highlight=False, width=None if sys.stdout.isatty() else 240)

Loader = Annotated[str, typer.Argument(help="Name of a loader; see `bench loaders`.")]
Dataset = Annotated[str, typer.Argument(help="Name of a dataset; see `bench datasets`.")]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="K=V", help="Loader option; may be repeated.")]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="BENCH_DATA", help="Holds one folder a dataset.")]
StoreDir = Annotated[Path | None, typer.Option("--store-dir", help="Holds the stores; default DATA_DIR/stores.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the record.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Take at most so many samples of each split.")]
BatchSize = Annotated[int, typer.Option("--batch-size")]
Seed = Annotated[int, typer.Option("--seed", help="Fixes order, augmentation and initial weights.")]
Workers = Annotated[int, typer.Option("--workers", help="Worker processes; 0 reads in the training process.")]
Start = Annotated[StartMethod, typer.Option("--start-method", help="How worker processes start.")]
Prefetch = Annotated[int, typer.Option("--prefetch", help="Batches read ahead, by a thread or by each worker.")]
Threads = Annotated[int, typer.Option("--threads", help="Threads of PyTorch's operators; 0: one per core.")]
DeviceName = Annotated[Device, typer.Option("--device")]
ImageSize = Annotated[
    int | None, typer.Option("--image-size", help="Side of the square crops of images of many sizes; default 160.")
]
Resize = Annotated[int | None, typer.Option("--resize", help="Store larger images of many sizes with this short side.")]
Corrupt = Annotated[
    Literal["fail", "skip"], typer.Option("--on-corrupt", help="What to do about files that cannot be decoded.")
]
TestShare = Annotated[
    float, typer.Option("--test-share", help="Share of each class to hold out where a folder is not split.")
]
Repeat = Annotated[int, typer.Option("--repeat", help="Number of this repetition; part of the record's name.")]
Spoken = Annotated[Literal["en", "lv"], typer.Option("--language", help="Of all text.")]
Mix = Annotated[bool, typer.Option("--mix-environments", help="Let records of different machines share tables.")]


class _InterruptedError(Exception):
    """Ctrl-C or a polite kill; typer would end the program without a word."""


def _command(work: Callable[..., None], *, hidden: bool = False) -> Callable[..., None]:
    """Register a command."""

    @functools.wraps(work)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **options)
        except KeyboardInterrupt:
            raise _InterruptedError from None

    app.command(hidden=hidden)(guarded)
    return work


def _debug(on: bool) -> bool:
    if on:
        os.environ["BENCH_DEBUG"] = "1"
    return on


Debug = Annotated[bool, typer.Option("--debug", callback=_debug, help="Show the traceback of an error.")]
DATA, RUNS = Path("data"), Path("results/runs")


@_command
def loaders(debug: Debug = False) -> None:
    """List the loaders, their options, and why one cannot run here."""
    from bench.doctor import why_unavailable
    from loaders import UnavailableError, load, loader_names

    for name in loader_names():
        reason = why_unavailable(name)
        out.print(f"{name}: {'unavailable: ' + reason if reason else 'available'}", markup=False)
        with contextlib.suppress(UnavailableError):  # a class that cannot be imported has no options to show
            for option, field in load(name).Options.model_fields.items():
                kind = str(field.annotation).removeprefix("typing.").removeprefix("<class '").removesuffix("'>")
                out.print(f"    {option} = {field.default} ({kind}) {field.description or ''}", markup=False)


@_command
def datasets(data_dir: DataDir = DATA, debug: Debug = False) -> None:
    """List the datasets and which of them are there."""
    from bench.sources.registry import SOURCES, open_source

    for name in SOURCES:
        source = open_source(name, data_dir)
        out.print(f"{name}: {source.summary}", markup=False)
        out.print(f"    {source.missing() or 'present'}", markup=False)


@_command
def doctor(
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read all stores and compare their hashes.")] = False,
    debug: Debug = False,
) -> None:
    """Tell what this machine can run, what is missing and why. Exits 1 if a store is damaged."""
    from bench import doctor as rounds

    findings = list(rounds.examine(data_dir))
    if verify:
        findings += rounds.verify(_stores(data_dir, store_dir), Bar())
    for finding in findings:
        out.print(f"{finding.state:8} {finding.what}{': ' if finding.detail else ''}{finding.detail}", markup=False)
    if any(finding.state == "damaged" for finding in findings):
        raise typer.Exit(1)


@_command
def fetch(
    dataset: Dataset,
    data_dir: DataDir = DATA,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Make a twin in the official layout.")] = False,
    fraction: Annotated[float, typer.Option("--fraction", help="Share of the official count in the twin.")] = 1.0,
    debug: Debug = False,
) -> None:
    """Download a dataset's official files, or make a synthetic twin of them."""
    from bench.sources.fetch import fetch as download
    from bench.sources.registry import open_source

    source = open_source(dataset, data_dir)
    if not synthetic and fraction != 1.0:
        raise UsageError("--fraction goes with --synthetic; the official files come whole")
    with Steps() as steps:
        if synthetic:
            source.make_twin(fraction, steps)
        else:
            download(source, steps)
    out.print(
        f"{dataset}: {'a synthetic twin' if synthetic else 'the official files'} in {source.folder}", markup=False
    )


@_command
def prepare(
    loader: Loader,
    dataset: Dataset,
    option: Options = None,
    limit: Limit = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    force: Annotated[bool, typer.Option("--force", help="Make the store anew.")] = False,
    debug: Debug = False,
) -> None:
    """Write a loader's store of a dataset."""
    from bench.stores import prepare as make

    how = _source_options(resize, on_corrupt, test_share)
    wanted, _ = _wanted(loader, dataset, option, limit, data_dir, store_dir, how)
    info, written = make(wanted, Bar(), force=force)
    for note in wanted.source.notes() if not wanted.source.missing() else ():
        out.print(f"{wanted.source.name}: {note}", markup=False)
    skipped = [name for split in info.splits.values() for name in split.skipped]
    if skipped:
        few = ", ".join(skipped[:3]) + (", …" if len(skipped) > 3 else "")
        out.print(f"{wanted.relative}: left out {len(skipped):,} files that cannot be decoded: {few}", markup=False)
    state = f"prepared in {info.prepare_s:.2f} s" if written else "is already prepared"
    out.print(f"{wanted.relative} {state}: {info.samples:,} images, {info.allocated_bytes / 1e6:.1f} MB", markup=False)


@_command
def run(
    loader: Loader,
    dataset: Dataset,
    model: Annotated[Model, typer.Option("--model")] = "convnet",
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
    repeat: Repeat = 0,
    image_size: ImageSize = None,
    option: Options = None,
    limit: Limit = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    out_dir: Out = RUNS,
    debug: Debug = False,
) -> None:
    """Train on one loader and dataset, and write the record. Prepares a store that is missing."""
    from bench.runner import resolve_device
    from bench.runner import run as train

    how = _source_options(resize, on_corrupt, test_share)
    wanted, options = _wanted(loader, dataset, option, limit, data_dir, store_dir, how)
    config = build(
        RunConfig,
        **_settings(locals()),
        dataset=wanted.source.name,
        image_size=wanted.image_size(image_size),
        source=how.given(),
        options=options,
        device=resolve_device(device).type,
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
    record = _recorded(lambda: train(config, wanted, Bar(), _say), out_dir)
    mean = sum(epoch.wall_s for epoch in record.epochs) / len(record.epochs)
    fetched = sum(epoch.fetch_s for epoch in record.epochs) / sum(epoch.wall_s for epoch in record.epochs)
    last = record.epochs[-1]
    out.print(
        f"{loader} on {dataset}: {mean:.3f} s an epoch, {last.images / mean:,.0f} images/s, {fetched:.1%} waiting for "
        f"data, accuracy {last.test_accuracy:.4f}, macro-F1 {last.test_macro_f1:.4f}; record {record.run_id}.json",
        markup=False,
    )


@_command
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
    repeat: Repeat = 0,
    image_size: ImageSize = None,
    option: Options = None,
    limit: Limit = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    out_dir: Out = RUNS,
    debug: Debug = False,
) -> None:
    """Measure the data path alone, beside the format's fastest plain idiom."""
    import statistics

    from bench.rate import rate as measure
    from bench.runner import resolve_device

    how = _source_options(resize, on_corrupt, test_share)
    wanted, options = _wanted(loader, dataset, option, limit, data_dir, store_dir, how)
    config = build(
        RateConfig,
        **_settings(locals()),
        dataset=wanted.source.name,
        image_size=wanted.image_size(image_size),
        source=how.given(),
        options=options,
        device=resolve_device(device).type,
        batches=batches,
        repeats=repeats,
    )
    rates = _recorded(lambda: measure(config, wanted, Bar(), _say), out_dir).rates
    assert rates is not None
    text = f"{loader} on {dataset}: {statistics.median(rates.loader):,.0f} images/s"
    if rates.raw is not None:
        ratio = statistics.median(a / b for a, b in zip(rates.loader, rates.raw, strict=True))
        text += f", {ratio:.2f} of the plain idiom's {statistics.median(rates.raw):,.0f} ({rates.idiom})"
    out.print(text, markup=False)


@_command
def advise(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, folder:PATH, or the path of a folder.")],
    budget: Annotated[float, typer.Option("--budget", help="Seconds that it may take.")] = 180.0,
    epochs: Annotated[int, typer.Option("--epochs", help="How many you plan.")] = 30,
    model: Annotated[Model, typer.Option("--model")] = "convnet",
    batch_size: BatchSize = 128,
    threads: Threads = 0,
    device: DeviceName = "auto",
    image_size: ImageSize = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    debug: Debug = False,
) -> None:
    """Tell which loader, encoding and workers suit your data here, and what that costs, from a sample of it."""
    from bench.advise import words
    from bench.advise.advise import advise as measure
    from bench.runner import fix_arithmetic, resolve_device
    from bench.sources.registry import SOURCES

    if budget < 10:
        raise UsageError(f"--budget must be at least 10 seconds, not {budget:g}")
    if epochs < 1:
        raise UsageError(f"--epochs must be at least 1, not {epochs}")
    if dataset not in SOURCES and ":" not in dataset and Path(dataset).is_dir():
        dataset = f"folder:{dataset}"
    how = _source_options(resize, on_corrupt, test_share)
    first, _ = _wanted("filesystem", dataset, None, None, data_dir, store_dir, how)
    config = build(
        RunConfig,
        loader="filesystem",
        dataset=first.source.name,
        model=model,
        batch_size=batch_size,
        threads=threads,
        device=resolve_device(device).type,
        image_size=first.image_size(image_size),
        source=how.given(),
    )
    if reason := first.source.missing():
        raise BenchError(reason)
    fix_arithmetic(config)
    with Doing() as doing:
        advice = measure(config, first.source, first.store_dir, budget, epochs, doing)
    best = advice.forecasts[0].trial.candidate
    given = [f"{name}={value}" for name, value in best.options.items()]
    wanted, _ = _wanted(best.loader, dataset, given, None, data_dir, store_dir, how)
    out.print(words.table(advice))
    for line in words.sentences(advice, config, wanted, dataset):
        out.print(line, markup=False)


@_command
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds records.")],
    formats: Annotated[
        str | None, typer.Option("--format", help="What to write: md, csv, latex, html, figures; default all.")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", help="Loader that the others are compared with.")
    ] = "filesystem",
    language: Spoken = "en",
    mix: Mix = False,
    gradients: Annotated[
        Path | None, typer.Option("--gradients", help="Folder of `bench gradcheck --out`, shown on the HTML page.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make tables and figures of a folder of records and write them there. Exits 1 if a run failed."""
    from bench.report import write

    wanted = _formats(formats or ",".join(write.FORMATS), write.FORMATS)
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
    made = write.Report(records, command, baseline, language, mix, foreign, gradients)
    _show(made.tables)
    for path in dict.fromkeys(p if p.parent == folder else p.parent for p in write.write(made, folder, wanted)):
        out.print(f"wrote {path}", markup=False)
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


@_command
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Holds records.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Holds records of another machine or commit.")],
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the tables.")] = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="What --out gets: md, csv, latex; default all.")
    ] = None,
    language: Spoken = "en",
    mix: Mix = False,
    debug: Debug = False,
) -> None:
    """Tell what is slower or faster in B than in A beyond the noise, run for run of the same work."""
    from bench.report import compare as comparing

    if formats is not None and out_dir is None:
        raise UsageError("--format goes with --out; the terminal shows the tables in any case")
    wanted = _formats(formats or ",".join(comparing.FORMATS), comparing.FORMATS)
    sides = [(str(folder), _records(folder)[0]) for folder in (a, b)]
    made = comparing.compare(sides[0], sides[1], language, mix)
    _show(made)
    if out_dir is not None:
        command = f"bench compare {a.name} {b.name}{' --mix-environments' * mix}"
        for path in comparing.write(made, out_dir, wanted, command):
            out.print(f"wrote {path}", markup=False)


@_command
def sweep(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Describes the runs; see configs/.")],
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
    """Do all runs of a TOML file, each in a process of its own, in rounds; then report. Goes on where it was stopped.

    Exits 1 if a run failed; a loader that cannot run here is a row with its reason.
    """
    from bench.sweep.config import read_sweep
    from bench.sweep.engine import Sweep
    from bench.sweep.plan import Folders, make_plan
    from bench.sweep.screen import Screen

    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    file = read_sweep(config)
    folder = out_dir or RUNS / file.config.name
    folders = Folders(data_dir.absolute(), _stores(data_dir, store_dir))
    plan = make_plan(file, folders, limit)
    if dry_run:
        from bench.sweep.estimate import dry_run_lines

        for line in dry_run_lines(file, plan, folders, folder):
            out.print(line, markup=False)
        return
    with Screen(out) as screen:
        work = Sweep(file, plan, folders, folder.absolute(), screen)
        try:
            work.run(fresh=fresh)
        finally:  # after Ctrl-C, too
            screen.say(f"{file.config.name}: {work.summary()}")
    failed = work.summary().failed
    with contextlib.suppress(typer.Exit):  # older records in the folder are not this sweep's failures
        report(folder)
    for line in failed:
        err.print(f"failed: {line}", markup=False)
    if failed:
        raise typer.Exit(1)


@functools.partial(_command, hidden=True)
def job() -> None:
    """Do one step of a sweep, which `bench sweep` describes on standard input."""
    from bench.sweep.job import perform

    perform(sys.stdin.read(), Bar(), _say)


@_command
def gradcheck(
    mutants: Annotated[bool, typer.Option("--mutants", help="Plant faults, all to be caught; train nothing.")] = False,
    california: Annotated[bool, typer.Option("--california", help="Train on California housing, downloaded.")] = False,
    device: Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where PyTorch's side computes.")] = "cpu",
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the tables and figures.")] = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="What --out gets: md, csv, latex; default all.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Audit the hand-written gradients against torch.autograd. Exits 1 if anything is not as expected."""
    if mutants and (california or device != "cpu"):
        raise UsageError("--mutants goes without --california and --device: nothing is trained, and the CPU is enough")
    if formats is not None and out_dir is None:
        raise UsageError("--format goes with --out; the terminal shows the tables in any case")

    from bench.gradients import outcome
    from bench.gradients.report import terminal, write
    from bench.runner import resolve_device

    wanted = _formats(formats or ",".join(write.FORMATS), write.FORMATS)
    command = " ".join(
        ["bench gradcheck"]
        + ["--mutants"] * mutants
        + ["--california"] * california
        + ["--device cuda"] * (device == "cuda")
        + ([f"--out {out_dir.name if out_dir.is_absolute() else out_dir.as_posix()}"] if out_dir else [])
        + ([f"--format {formats}"] if formats else [])
    )
    if out_dir is not None:
        write.check(out_dir)
    made: outcome.Planting | outcome.Outcome
    with Doing() as doing:
        made = outcome.plant(doing) if mutants else outcome.run(resolve_device(device), california, doing)
    for table in terminal.tables_of(made):
        out.print(table)
    if out_dir is not None:
        for path in write.write(made, out_dir, wanted, command):
            out.print(f"wrote {path}", markup=False)
    for fault in made.faults:
        err.print(f"bench: {fault}", markup=False)
    out.print(f"{made.summary()}; {made.seconds:.1f} s", markup=False)
    if made.faults:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: turns errors into one sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except _InterruptedError:
        _fail("interrupted; what was recorded and prepared before is kept", 130)
    except Exception as error:
        from loaders.errors import LoaderError, OptionError
        from loaders.registry import UnknownLoaderError

        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc()
        if isinstance(error, UsageError | OptionError | UnknownLoaderError):
            _fail(str(error), 2)
        if isinstance(error, BenchError | LoaderError):
            _fail(str(error), 1)
        _fail(f"{type(error).__name__}: {error}; this is a fault of the program, --debug shows where", 1)


def _fail(message: str, code: int) -> None:
    err.print(f"bench: {message}", markup=False)
    raise SystemExit(code)


def _terminate(number: int, frame: object) -> None:
    """A polite kill runs the same clean-up as Ctrl-C."""
    raise KeyboardInterrupt


def _stores(data_dir: Path, store_dir: Path | None) -> Path:
    return (store_dir or data_dir / "stores").absolute()


def _source_options(resize: int | None, on_corrupt: Literal["fail", "skip"], test_share: float) -> SourceOptions:
    """How a source of images of many sizes is to be taken."""
    from bench.sources.base import SourceOptions

    return build(SourceOptions, resize=resize, on_corrupt=on_corrupt, test_share=test_share)


def _wanted(
    loader: str,
    dataset: str,
    given: list[str] | None,
    limit: int | None,
    data_dir: Path,
    store_dir: Path | None,
    how: SourceOptions,
) -> tuple[Wanted, dict[str, Any]]:
    """The loader over the dataset, and the given options as they may stand in a record."""
    from bench.sources.registry import open_source
    from bench.stores import Wanted
    from loaders import load
    from loaders.options import parse_options

    values: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {text!r} is not of the form name=value")
        values[name] = value
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    found = load(loader)
    options = parse_options(found.Options, values, loader)
    source = open_source(dataset, data_dir, how)
    public = options.public()
    wanted = Wanted(found, options, source, limit, _stores(data_dir, store_dir))
    return wanted, {name: public[name] for name in values if name in public}


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Of a command's arguments, those that all configurations share and that need no translation."""
    apart = ("options", "device", "dataset", "image_size")
    return {name: given[name] for name in Settings.model_fields if name in given and name not in apart}


def _recorded(work: Callable[[], Record], folder: Path) -> Record:
    """Do the work and keep its record, whatever became of it."""
    from bench.records import write_record
    from bench.runner import RunFailedError

    try:
        record = work()
    except RunFailedError as error:
        write_record(error.record, folder)
        raise
    write_record(record, folder)
    if record.status == "unavailable":
        raise BenchError(f"loader {record.loader.name} is unavailable: {record.error}")
    return record


def _records(folder: Path) -> tuple[list[Record], list[Foreign]]:
    """The records of a folder, and what is none, which is named."""
    from bench.records import Foreign, read_records

    found = list(read_records(folder))
    foreign = [item for item in found if isinstance(item, Foreign)]
    for item in foreign:
        err.print(f"skipped {item.path}: {item.reason}", markup=False)
    records = [item[1] for item in found if not isinstance(item, Foreign)]
    if not records:
        raise BenchError(f"there are no records in {folder}; make some with `bench run … --out {folder}`")
    return records, foreign


def _show(made: Iterable[Table]) -> None:
    """The tables for a terminal, each with its notes."""
    from bench.report import terminal

    for table, notes in terminal.tables_of(made):
        out.print(table)
        for note in notes:
            out.print(f"- {note}", markup=False)


def _formats(given: str, known: Sequence[str]) -> list[str]:
    """The names of ``--format``."""
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := set(wanted) - set(known):
        raise UsageError(f"--format has no {', '.join(sorted(unknown))}; it has: {', '.join(known)}")
    return wanted


def _say(line: str) -> None:
    out.print(line, markup=False)
