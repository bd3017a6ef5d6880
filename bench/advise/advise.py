"""Measures the candidates within a budget of time and draws the conclusion."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.advise.candidates import BASELINE, Candidate, Way, candidates
from bench.advise.trial import Bench, Sampled, Trial
from bench.config import RunConfig
from bench.errors import BenchError
from bench.run.devices import torch_device
from bench.run.stores import with_remedy
from bench.sources.base import LimitedSplit, Source
from bench.stats.intervals import Interval
from loaders import DecodeError, LoaderError
from loaders.images.kinds import decode_picture

FIXED_SAMPLE, RAGGED_SAMPLE = 4096, 512  # images of each split that are tried, of one size and of many
_CEILING_SHARE = 0.05  # of the budget, for the network alone; and as much again for measuring it a second time
_FIRST_SHARE = 0.6  # of the budget, for trying every candidate; the rest is for measuring the best of them again
_FINALISTS, _MORE, _PREPARING_SHARE = 2, 8, 0.3
_PROBES = 32
_LEAST_S = 1.0  # for measuring one way of reading


class Advice(NamedTuple):
    """The conclusion."""

    ceiling_s: float  # of an epoch without any data path; the quicker of two measurements, before the trials and after
    trials: list[Trial]  # the best way of reading of each candidate, the quickest for `epochs` first
    epochs: int
    refused: list[tuple[Candidate, str]]  # candidates that failed, and why
    untried: list[Candidate]  # candidates for which there was no time
    notes: list[str]  # what else a user must know

    @property
    def baseline(self) -> Trial | None:
        """What the others must pay against: as it is shown, which may be from a second measurement."""
        return next((trial for trial in self.trials if trial.candidate.label == BASELINE), None)

    def busy_percent(self, trial: Trial) -> float:
        """Share of the epoch for which the accelerator computes."""
        return min(100.0, 100 * self.ceiling_s / trial.epoch_s.mean)


def advise(
    config: RunConfig, source: Source, folder: Path, budget_s: float, epochs: int, doing: Callable[[str], None]
) -> Advice:
    """Try the candidates on samples, whose stores lie below ``folder`` and are removed again.

    ``config`` has the network, batch size, device and size of the crops; ``doing`` is told each step.

    Raises:
        DataError: the data is missing or damaged.
        BenchError: not even the image files could be tried.
    """
    end = time.perf_counter() + budget_s
    first_end = end - budget_s * (1 - _FIRST_SHARE)
    pending = list(candidates(source, raw_bytes(config, source), torch_device(config.device)))
    ways = sum(len(candidate.ways) for candidate in pending)
    sample = RAGGED_SAMPLE if source.ragged else FIXED_SAMPLE
    bench = Bench(config, source, folder)
    ceiling_s: float | None = None
    trials: list[Trial] = []
    refused: list[tuple[Candidate, str]] = []

    def attempt(candidate: Candidate, sampled: Sampled, way: Way, seconds: float, again: str = "") -> Trial:
        doing(f"trying {candidate.label} {way.words}".rstrip() + again)
        return bench.attempt(candidate, sampled, way, max(_LEAST_S, 0.8 * seconds))

    # One alone would be no choice: the first leaves time for a second, which is tried in any case.
    while pending and (len(trials) < 2 or time.perf_counter() < first_end - _LEAST_S):
        candidate = pending.pop(0)
        doing(f"preparing a sample for {candidate.label}")
        tried: list[Trial] = []
        try:
            with bench.sampled(candidate, sample) as sampled:
                if ceiling_s is None:
                    doing("measuring the network alone")
                    ceiling_s = bench.ceiling(sampled, budget_s * _CEILING_SHARE)
                for way in candidate.ways:
                    tried.append(attempt(candidate, sampled, way, (first_end - time.perf_counter()) / max(1, ways)))
                    ways -= 1
                    if time.perf_counter() > first_end - (0 if trials else budget_s * _FIRST_SHARE / 2):
                        break
            trials.append(min(tried, key=lambda trial: trial.epoch_s.mean))
        except LoaderError as error:
            refused.append((candidate, str(error)))
    if ceiling_s is None or not trials:
        raise BenchError(f"nothing could be tried: {'; '.join(why for _, why in refused)}")
    trials.sort(key=lambda trial: trial.total_s(epochs))
    finalists, images = trials[:_FINALISTS], sum(map(len, source.splits().values()))
    again: list[str] = []
    for number, best in enumerate(finalists):
        # The quickest of many trials was lucky, too, and a small sample lies in the processor's cache: what is said of
        # the best must come from measuring them again, with more images.
        left = (end - time.perf_counter()) / (len(finalists) - number)
        if left < _LEAST_S:
            break
        more = int(min(_MORE * sample, max(sample, _PREPARING_SHARE * left * images / best.prepare_s / 2)))
        doing(f"preparing a larger sample for {best.candidate.label}")
        began = time.perf_counter()
        try:
            with bench.sampled(best.candidate, more) as sampled:
                ceiling_s = min(ceiling_s, bench.ceiling(sampled, budget_s * _CEILING_SHARE / 2))
                left -= time.perf_counter() - began
                trials[number] = attempt(best.candidate, sampled, best.way, left, " again, with more images")
            again.append(best.candidate.label)
        except LoaderError as error:
            refused.append((best.candidate, str(error)))
    trials[:_FINALISTS] = sorted(trials[:_FINALISTS], key=lambda trial: trial.total_s(epochs))
    return Advice(ceiling_s, trials, epochs, refused, pending, list(_notes(trials, again, ceiling_s, folder)))


def raw_bytes(config: RunConfig, source: Source) -> int:
    """Bytes of all decoded images; of images of many sizes, estimated from a few.

    Raises:
        DecodeError: one of these few is damaged.
    """
    splits = source.splits()
    images, shape = sum(map(len, splits.values())), splits["train"].shape
    if shape is not None:
        return images * math.prod(shape)
    sizes = []
    for block in LimitedSplit(splits["train"], _PROBES).blocks():
        for name, file in zip(block.names, block.files or (), strict=False):
            try:
                sizes.append(decode_picture(file, name)[0].size)
            except DecodeError as error:
                if config.source.get("on_corrupt") != "skip":
                    raise with_remedy(error, source) from None
    return round(images * sum(sizes) / max(1, len(sizes)))


def _notes(trials: list[Trial], again: list[str], ceiling_s: float, folder: Path) -> Iterator[str]:
    if again:
        yield f"measured a second time, with more images, as the best of the first trials: {' and '.join(again)}"
    if ceiling_s > trials[0].epoch_s.mean:
        yield "the network alone took longer than an epoch: the machine is busy with something else; try again"
    best, free, memory = trials[0], shutil.disk_usage(folder).free, psutil.virtual_memory().available
    if best.store_bytes > free:
        yield f"the disk has {free / 1e9:,.1f} GB free, too little for it"
    if best.store_bytes > memory:
        yield (
            f"it is larger than the {memory / 1e9:,.1f} GB of memory that are free: epochs will read from storage and "
            "may take longer than the sample, which lay in memory, says"
        )
    if rivals := [trial.candidate.label for trial in trials[1:] if _overlap(best.epoch_s, trial.epoch_s)]:
        yield f"within what was measured, these are as quick an epoch: {', '.join(rivals)}"


def _overlap(one: Interval, other: Interval) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
