"""One run and its record: of a training, or of the data path alone."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from bench.cli import options
from bench.cli.arguments import store_spec
from bench.cli.output import say
from bench.cli.signals import end_by_exception
from bench.config import RateConfig, RunConfig, Settings, build
from bench.errors import BenchError
from bench.progress import bar

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it pay
    from bench.records import Record


def _recorded(
    kind: type[Settings],
    work: Callable[..., Any],
    *,
    loader: options.Loader,
    dataset: options.Dataset,
    overwrite: options.Overwrite = False,
    option: options.LoaderOptions = None,
    resize: options.Resize = None,
    on_corrupt: options.Corrupt = "fail",
    test_share: options.TestShare = 0.2,
    data_dir: options.DataDir = options.DATA,
    store_dir: options.StoreDir = None,
    out_dir: options.RecordDir = options.RUNS,
    debug: options.Debug = False,
    **settings: Any,
) -> Any:
    """Do the work under a number of its own and keep its record, whatever became of it."""
    from bench.run.devices import resolve_device
    from bench.run.draft import RunFailedError
    from bench.run.repeats import keep, numbered

    reading = {"resize": resize, "on_corrupt": on_corrupt, "test_share": test_share}
    spec, public = store_spec(loader, dataset, option, settings.get("limit"), data_dir, store_dir, reading)
    repeat = settings.get("repeat")
    settings |= {"image_size": spec.image_size(settings.get("image_size")), "repeat": repeat or 0, "options": public}
    settings = {name: value for name, value in settings.items() if value is not None}
    settings |= {"device": resolve_device(settings["device"]), "source": spec.source.options.given()}
    config = numbered(build(kind, loader=loader, dataset=spec.source.name, **settings), repeat, overwrite, out_dir)
    end_by_exception()
    try:
        record = work(config, spec, bar, say)
    except RunFailedError as error:
        keep(error.record, overwrite, out_dir)
        raise
    kept = keep(record, overwrite, out_dir)
    if kept.run_id != record.run_id:
        say(f"another process took repeat {record.config.repeat} meanwhile; this record is repeat {kept.config.repeat}")
    if kept.status == "unavailable":
        raise BenchError(f"loader {kept.loader.name} is unavailable: {kept.error}")
    return kept


def _with_settings(kind: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the parameters of `_recorded` and an option for each described field, ``kind``'s own first."""
    described, keyword = [], inspect.Parameter.KEYWORD_ONLY
    for name in sorted(kind.model_fields, key=Settings.model_fields.__contains__):
        field = kind.model_fields[name]
        annotation: Any = field.annotation
        default = field.default
        if name in ("repeat", "accelerator", "speeds"):
            # Without a number, a repetition gets the first that is free; the others are given as text.
            annotation, default = int | None if name == "repeat" else str | None, None
        if field.description is not None:
            option = Annotated[annotation, options.setting(name, kind)]
            described.append(inspect.Parameter(name, keyword, default=default, annotation=option))
    parameters = inspect.signature(_recorded, eval_str=True).parameters.values()
    loader, dataset, *others = [p for p in parameters if p.kind is keyword]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command.__dict__["__signature__"] = inspect.Signature([loader, dataset, *described, *others])
        return command

    return decorate


@_with_settings(RunConfig)
def run(**values: Any) -> None:
    """Train on one loader and dataset, and write the record. Prepares a store that is missing."""
    from bench.report.metrics import METRICS
    from bench.run.runner import run as train

    record: Record = _recorded(RunConfig, train, **values)
    seconds, speed, fetched, busy, feed = (
        METRICS[key].of(record) for key in ("epoch_s", "images_per_s", "fetch_pct", "au_pct", "feed_rate")
    )
    what, kept = f"{values['loader']} on {values['dataset']}", f"record {record.run_id}.json"
    config = record.config
    if isinstance(config, RunConfig) and (emulated := config.accelerator) is not None:
        said = [] if busy is None else [f"{emulated.words} busy for {busy:.1f}%"]
        said += [] if feed is None else [f"feed rate {feed:,.0f} images/s at {100 * config.busy:g}%"]
        say(f"{what}: {'; '.join([*said, kept])}")
        return
    last = record.epochs[-1]
    say(
        f"{what}: {seconds:.3f} s an epoch, {speed:,.0f} images/s, {fetched:.1f}% waiting for data, "
        f"accuracy {last.test_accuracy:.4f}, macro-F1 {last.test_macro_f1:.4f}; {kept}"
    )


@_with_settings(RateConfig)
def rate(**values: Any) -> None:
    """Measure the data path alone, beside the format's fastest plain idiom."""
    from bench.report.metrics import METRICS
    from bench.run.runner import rate as measure

    record: Record = _recorded(RateConfig, measure, **values)
    mine, raw, ratio = (METRICS[key].of(record) for key in ("loader_rate", "raw_rate", "efficiency"))
    text = f"{values['loader']} on {values['dataset']}: {mine:,.0f} images/s"
    if record.rates is not None and raw is not None:
        text += f", {ratio:.2f} of the plain idiom's {raw:,.0f} ({record.rates.idiom})"
        if mine is not None and record.rates.reused is not None:
            reused = statistics.median(record.rates.reused)
            text += f", {mine / reused:.2f} of its {reused:,.0f} into memory that is used again"
    say(text)
