"""One run and its record: of a training, or of the data path alone."""

from __future__ import annotations

import inspect
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
    from bench.run.draft import RunFailedError
    from bench.run.repeats import keep, numbered
    from bench.run.runner import resolve_device

    reading = {"resize": resize, "on_corrupt": on_corrupt, "test_share": test_share}
    spec, public = store_spec(loader, dataset, option, settings["limit"], data_dir, store_dir, reading)
    repeat = settings["repeat"]
    settings |= {"image_size": spec.image_size(settings["image_size"]), "repeat": repeat or 0, "options": public}
    settings |= {"device": resolve_device(settings["device"]).type, "source": spec.source.options.given()}
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
        if name == "repeat":  # without a number, a repetition gets the first that is free
            annotation, default = int | None, None
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
    seconds, speed, fetched = (METRICS[key].of(record) for key in ("epoch_s", "images_per_s", "fetch_pct"))
    last = record.epochs[-1]
    say(
        f"{values['loader']} on {values['dataset']}: {seconds:.3f} s an epoch, {speed:,.0f} images/s, "
        f"{fetched:.1f}% waiting for data, accuracy {last.test_accuracy:.4f}, macro-F1 {last.test_macro_f1:.4f}; "
        f"record {record.run_id}.json"
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
    say(text)
