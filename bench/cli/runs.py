"""One run and its record: of a training, or of the data path alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from bench.cli.arguments import source_options, wanted_store
from bench.cli.options import (
    DATA,
    RUNS,
    Corrupt,
    DataDir,
    Dataset,
    Debug,
    Loader,
    LoaderOptions,
    Overwrite,
    RecordDir,
    Resize,
    StoreDir,
    TestShare,
    setting,
)
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.config import RateConfig, RunConfig, Settings, build
from bench.errors import BenchError
from bench.progress import bar

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it pay
    from bench.records import Record

Command = Callable[..., None]


def _recorded(
    kind: type[Settings],
    work: Callable[..., Any],
    *,
    loader: Loader,
    dataset: Dataset,
    overwrite: Overwrite = False,
    option: LoaderOptions = None,
    resize: Resize = None,
    on_corrupt: Corrupt = "fail",
    test_share: TestShare = 0.2,
    data_dir: DataDir = DATA,
    store_dir: StoreDir = None,
    out_dir: RecordDir = RUNS,
    debug: Debug = False,
    **settings: Any,
) -> Any:
    """Do the work under a number of its own and keep its record, whatever became of it."""
    from bench.run.draft import RunFailedError
    from bench.run.repeats import keep, numbered
    from bench.run.runner import resolve_device

    how = source_options(resize, on_corrupt, test_share)
    wanted, options = wanted_store(loader, dataset, option, settings["limit"], data_dir, store_dir, how)
    repeat = settings["repeat"]
    settings |= {"image_size": wanted.image_size(settings["image_size"]), "repeat": repeat or 0}
    settings |= {"device": resolve_device(settings["device"]).type, "source": how.given(), "options": options}
    config = build(kind, loader=loader, dataset=wanted.source.name, **settings)
    config = numbered(config, repeat, overwrite, out_dir)
    end_by_exception()
    try:
        record = work(config, wanted, bar, say)
    except RunFailedError as error:
        keep(error.record, overwrite, out_dir)
        raise
    kept = keep(record, overwrite, out_dir)
    if kept.run_id != record.run_id:
        say(f"another process took repeat {record.config.repeat} meanwhile; this record is repeat {kept.config.repeat}")
    if kept.status == "unavailable":
        raise BenchError(f"loader {kept.loader.name} is unavailable: {kept.error}")
    return kept


def _with_settings(kind: type[Settings]) -> Callable[[Command], Command]:
    """Give a command the parameters of `_recorded`, and an option for each field that ``kind`` describes.

    The fields that ``kind`` alone has come first.
    """

    def parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    options = []
    for name in sorted(kind.model_fields, key=Settings.model_fields.__contains__):
        field = kind.model_fields[name]
        # Without a number, a repetition gets the first that is free.
        value: tuple[Any, Any] = (int | None, None) if name == "repeat" else (field.annotation, field.default)
        if field.description is not None:
            options.append(parameter(name, value[1], Annotated[value[0], setting(name, kind)]))
    given = inspect.signature(_recorded, eval_str=True).parameters.values()
    loader, dataset, *others = [p for p in given if p.kind is p.KEYWORD_ONLY]

    def decorate(command: Command) -> Command:
        command.__dict__["__signature__"] = inspect.Signature([loader, dataset, *options, *others])
        return command

    return decorate


@_with_settings(RunConfig)
def run(**given: Any) -> None:
    """Train on one loader and dataset, and write the record. Prepares a store that is missing."""
    from bench.report.metrics import METRICS
    from bench.run.runner import run as train

    record: Record = _recorded(RunConfig, train, **given)
    seconds, speed, fetched = (METRICS[key].of(record) for key in ("epoch_s", "images_per_s", "fetch_pct"))
    last = record.epochs[-1]
    say(
        f"{given['loader']} on {given['dataset']}: {seconds:.3f} s an epoch, {speed:,.0f} images/s, "
        f"{fetched:.1f}% waiting for data, accuracy {last.test_accuracy:.4f}, macro-F1 {last.test_macro_f1:.4f}; "
        f"record {record.run_id}.json"
    )


@_with_settings(RateConfig)
def rate(**given: Any) -> None:
    """Measure the data path alone, beside the format's fastest plain idiom."""
    from bench.report.metrics import METRICS
    from bench.run.rate import rate as measure

    record: Record = _recorded(RateConfig, measure, **given)
    mine, raw, ratio = (METRICS[key].of(record) for key in ("loader_rate", "raw_rate", "efficiency"))
    text = f"{given['loader']} on {given['dataset']}: {mine:,.0f} images/s"
    if record.rates is not None and raw is not None:
        text += f", {ratio:.2f} of the plain idiom's {raw:,.0f} ({record.rates.idiom})"
    say(text)
