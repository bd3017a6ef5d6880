"""The data path alone: how fast a loader delivers batches, against its format's fastest plain idiom."""

from __future__ import annotations

import torch

from bench.config import RateConfig
from bench.records import CachePart, Record
from bench.run.delivered import check_samples
from bench.run.rates import measure
from bench.run.runner import Draft, Say, complete, fix_arithmetic
from bench.run.stores import Progress, Wanted, prepare
from bench.train.batching import BatchStream, cut, epoch_order
from loaders import Indices


def rate(config: RateConfig, wanted: Wanted, progress: Progress, say: Say) -> Record:
    """Draw batches in random order and consume them; loader and idiom in turns, after a pass that compares the two.

    Returns:
        A record with ``rates`` and no epochs, or one of a loader that is unavailable here.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    fix_arithmetic(config)
    draft = Draft(config, wanted, torch.device(config.device))
    return complete(draft, wanted, lambda: _measure(config, wanted, progress, say, draft))


def _measure(config: RateConfig, wanted: Wanted, progress: Progress, say: Say, draft: Draft) -> None:
    info, _ = prepare(wanted, progress)
    draft.store(wanted, info)
    count = info.splits["train"].count

    def draw(repeat: int) -> list[Indices]:
        batches = cut(epoch_order(count, config.seed, repeat), config.batch_size)
        return batches[: config.batches] if config.batches else batches

    with (
        wanted.open("train") as dataset,
        BatchStream(
            dataset,
            workers=config.workers,
            start_method=config.start_method,
            prefetch=config.prefetch,
            size=config.image_size,
        ) as stream,
    ):
        # An idiom reads in one process, when it is asked: with workers or read-ahead there is nothing to hold it to.
        alone = not (config.workers or config.prefetch)
        rates = measure(dataset, stream, draw, config.repeats, beside=alone, size=config.image_size, say=say)
        check_samples(dataset, stream, draw(0))
        draft.way(dataset)
    draft.fields["cache"] = CachePart(wanted="warm", state="unverified", evidence=None)
    draft.fields["rates"] = rates
