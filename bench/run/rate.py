"""The data path alone: how fast a loader delivers batches, against its format's fastest plain idiom."""

from __future__ import annotations

from bench.config import RateConfig
from bench.records import CachePart, Record
from bench.run.delivered import check_samples
from bench.run.draft import Draft, complete, prepared
from bench.run.reading import stream_of
from bench.run.runner import Say, fix_arithmetic, loader_rates
from bench.run.stores import Progress, Wanted
from loaders.reading.stream import cut, epoch_order


def rate(config: RateConfig, wanted: Wanted, progress: Progress, say: Say) -> Record:
    """Draw batches in random order and consume them; loader and idiom in turns, after a pass that compares the two.

    Returns:
        A record with ``rates`` and no epochs, or one of a loader that is unavailable here.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    fix_arithmetic(config)
    return complete(config, wanted, lambda draft: _measure(config, wanted, progress, say, draft))


def _measure(config: RateConfig, wanted: Wanted, progress: Progress, say: Say, draft: Draft) -> None:
    info = prepared(wanted, progress, draft)
    batches = cut(epoch_order(info.splits["train"].count, config.seed, 0), config.batch_size)
    with wanted.open("train") as dataset, stream_of(dataset, config) as stream:
        rates = loader_rates(config, dataset, stream, config.batches, config.repeats, say)
        check_samples(dataset, stream, batches[: config.batches or None])
        draft.loader = draft.loader.model_copy(update={"way": dataset.way})
    draft.cache = CachePart(wanted="warm", state="unverified", evidence=None)
    draft.rates = rates
