"""Measures the candidates within a budget of time and draws the conclusion."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from bench.advise.candidates import Candidate, candidates
from bench.advise.trial import BLOCKS, Bench, Trial
from bench.config import RunConfig
from bench.errors import BenchError
from bench.run.stores import with_remedy
from bench.sources.base import LimitedSplit, Source
from bench.stats.intervals import Interval, mean_interval
from loaders import DecodeError, LoaderError
from loaders.images.kinds import decode_picture

FIXED_SAMPLE, RAGGED_SAMPLE = 4096, 512
"""Images of each split that are tried, of one size and of many."""
BASELINE = "filesystem"
"""The candidate that needs no preparation worth the name: against it the others must pay."""
_CEILING_SHARE = 0.08
_FIRST_SHARE = 0.6
"""Of the budget, for trying every candidate; the rest is for measuring the best of them again."""
_FINALISTS, _MORE, _PREPARING_SHARE = 2, 8, 0.3
_PROBES = 32
_LEAST_S = 1.0


class Facts(NamedTuple):
    """The data as a whole.

    Attributes:
        train, test: images.
        raw_bytes: of all decoded images; of many sizes, estimated from a few.
    """

    train: int
    test: int
    raw_bytes: int


class Forecast(NamedTuple):
    """What a candidate would cost with the whole data.

    Attributes:
        trial: what was measured.
        epoch_s: of a training epoch, with its 95% interval over blocks.
        stall_s: the part of it that training waits for data.
        prepare_s: of the preparation.
        store_bytes: of the store.
    """

    trial: Trial
    epoch_s: Interval
    stall_s: float
    prepare_s: float
    store_bytes: float

    def total_s(self, epochs: int) -> float:
        """Of preparation and so many epochs."""
        return self.prepare_s + epochs * self.epoch_s.mean

    def break_even(self, baseline: Forecast | None) -> float | None:
        """Epochs after which it has paid for its preparation; None where never, or without a baseline."""
        saved = 0.0 if baseline is None else baseline.epoch_s.mean - self.epoch_s.mean
        return self.prepare_s / saved if saved > 0 else None


class Advice(NamedTuple):
    """The conclusion.

    Attributes:
        facts: of the data.
        ceiling_s: of an epoch without any data path.
        forecasts: the best way of reading of each candidate, the quickest for `epochs` first.
        epochs: how many are planned.
        refused: candidates that failed, and why.
        untried: candidates for which there was no time.
        notes: what else a user must know.
    """

    facts: Facts
    ceiling_s: float
    forecasts: list[Forecast]
    epochs: int
    refused: list[tuple[Candidate, str]]
    untried: list[Candidate]
    notes: list[str]

    @property
    def baseline(self) -> Forecast | None:
        """What the others must pay against: as it is shown, which may be from a second measurement."""
        return next((f for f in self.forecasts if f.trial.candidate.label == BASELINE), None)


def advise(
    config: RunConfig, source: Source, folder: Path, budget_s: float, epochs: int, doing: Callable[[str], None]
) -> Advice:
    """Try the candidates on a sample.

    Args:
        config: network, batch size, device and size of the crops.
        source: the data.
        folder: where stores would lie; samples are written below it and removed.
        budget_s: seconds that all of it may take.
        epochs: how many are planned.
        doing: told what is being done.

    Raises:
        DataError: the data is missing or damaged.
        BenchError: not even the image files could be tried.
    """
    begun = time.perf_counter()
    end, first_end = begun + budget_s, begun + budget_s * _FIRST_SHARE
    facts = _facts(config, source)
    device = torch.device(config.device)
    pending = list(candidates(source, facts.raw_bytes, device))
    ways = sum(len(candidate.ways) for candidate in pending)
    forecasts: dict[str, Forecast] = {}
    refused: list[tuple[Candidate, str]] = []
    sample = RAGGED_SAMPLE if source.ragged else FIXED_SAMPLE
    ceiling_s: float | None = None
    with _scratch(folder) as place:
        bench = Bench(config, source, place)
        while pending and (not forecasts or time.perf_counter() < first_end - _LEAST_S):
            candidate = pending.pop(0)
            doing(f"preparing a sample for {candidate.label}")
            try:
                sampled = bench.store(candidate, sample)
                if ceiling_s is None:
                    doing("measuring the network alone")
                    ceiling_s = bench.ceiling(sampled, budget_s * _CEILING_SHARE) * facts.train
                best: Trial | None = None
                for way in candidate.ways:
                    left = first_end - time.perf_counter()
                    seconds = max(_LEAST_S, 0.8 * left / max(1, ways))
                    ways -= 1
                    doing(f"trying {candidate.label} {way.words}".rstrip())
                    trial = bench.attempt(candidate, sampled, way, seconds)
                    if best is None or sum(trial.image_s) < sum(best.image_s):
                        best = trial
                    if time.perf_counter() > first_end:
                        break
                assert best is not None
                forecasts[candidate.label] = _forecast(best, facts)
            except LoaderError as error:
                refused.append((candidate, str(error)))
            finally:
                _empty(place)
        if not forecasts or ceiling_s is None:
            raise BenchError(f"nothing could be tried: {'; '.join(why for _, why in refused)}")
        ordered = sorted(forecasts.values(), key=lambda forecast: forecast.total_s(epochs))
        finalists = ordered[:_FINALISTS]
        for number, finalist in enumerate(finalists):
            # The quickest of many trials was lucky, too, and a small sample lies in the processor's cache: what is
            # said of the best must come from measuring them again, with more images.
            left = (end - time.perf_counter()) / (len(finalists) - number)
            more = int(min(_MORE * sample, max(sample, _PREPARING_SHARE * left / finalist.trial.prepare_s / 2)))
            candidate, way = finalist.trial.candidate, finalist.trial.way
            doing(f"measuring {candidate.label} {way.words}".rstrip() + " again, with more images")
            began = time.perf_counter()
            try:
                sampled = bench.store(candidate, more)
                seconds = max(_LEAST_S, 0.8 * (left - (time.perf_counter() - began)))
                again = bench.attempt(candidate, sampled, way, seconds)
                ordered[number] = _forecast(again, facts)
            except LoaderError as error:
                refused.append((candidate, str(error)))
            finally:
                _empty(place)
    ordered[:_FINALISTS] = sorted(ordered[:_FINALISTS], key=lambda forecast: forecast.total_s(epochs))
    names = " and ".join(forecast.trial.candidate.label for forecast in ordered[:_FINALISTS])
    notes = [f"measured a second time, with more images, as the best of the first trials: {names}"]
    return Advice(facts, ceiling_s, ordered, epochs, refused, pending, notes + _notes(ordered, folder))


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for samples, which is removed again."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".advice-", dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _empty(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(exist_ok=True)


def _forecast(trial: Trial, facts: Facts) -> Forecast:
    samples = facts.train + facts.test
    epoch = mean_interval([seconds * facts.train for seconds in trial.image_s]).above_zero
    stall = facts.train * sum(trial.stall_s) / BLOCKS
    return Forecast(trial, epoch, stall, trial.prepare_s * samples, trial.store_bytes * samples)


def _facts(config: RunConfig, source: Source) -> Facts:
    splits = source.splits()
    train, test = len(splits["train"]), len(splits["test"])
    shape = splits["train"].shape
    if shape is not None:
        return Facts(train, test, (train + test) * shape[0] * shape[1] * shape[2])
    sizes = []
    for block in LimitedSplit(splits["train"], _PROBES).blocks():
        for i, file in enumerate(block.files or ()):
            try:
                sizes.append(decode_picture(file, block.names[i])[0].size)
            except DecodeError as error:
                if config.source.get("on_corrupt") != "skip":
                    raise with_remedy(error, source) from None
    return Facts(train, test, round((train + test) * sum(sizes) / max(1, len(sizes))))


def _notes(ordered: list[Forecast], folder: Path) -> list[str]:
    best, notes = ordered[0], []
    free, memory = shutil.disk_usage(folder).free, psutil.virtual_memory().available
    if best.store_bytes > free:
        notes.append(f"the disk has {free / 1e9:,.1f} GB free, too little for it")
    if best.store_bytes > memory:
        notes.append(
            f"it is larger than the {memory / 1e9:,.1f} GB of memory that are free: epochs will read from storage and "
            "may take longer than the sample, which lay in memory, says"
        )
    rivals = [other for other in ordered[1:] if _overlap(best.epoch_s, other.epoch_s)]
    if rivals:
        names = ", ".join(other.trial.candidate.label for other in rivals)
        notes.append(f"within what was measured, these are as quick an epoch: {names}")
    return notes


def _overlap(one: Interval, other: Interval) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
