"""Both splits of a store, open for a run with the streams that read them; may be closed and opened anew."""

from __future__ import annotations

import contextlib
import time

from bench.config import Settings
from bench.run.stores import StoreSpec
from loaders import BatchStream, StoreDataset


def stream_of(dataset: StoreDataset, config: Settings) -> BatchStream:
    """The dataset's batches, read as the settings say."""
    # No page-locked batches: the transfer copies each one into page-locked memory of its own, where the time is seen;
    # PyTorch's thread would make one copy more, into new memory, beside every clock.
    settings = config.model_dump(include={"workers", "start_method", "prefetch"})
    return BatchStream(dataset, **settings, size=config.image_size)


class Reading(contextlib.ExitStack):
    """Opens both datasets and their streams, and closes them at its end or by `close`; then it may open them anew."""

    def __init__(self, config: Settings, spec: StoreSpec) -> None:
        super().__init__()
        self._config, self._spec = config, spec
        self._streams: list[BatchStream] = []

    def open(self) -> float:
        """Open both splits; gives the seconds that it took. Worker processes start with the first batch.

        Raises:
            LoaderError: the store or its backend cannot be used.
        """
        started = time.perf_counter()
        self.train = self.enter_context(self._spec.open("train"))
        self.test = self.enter_context(self._spec.open("test"))
        seconds = time.perf_counter() - started
        self.stream = self.enter_context(stream_of(self.train, self._config))
        self.test_stream = self.enter_context(stream_of(self.test, self._config))
        self._streams = [self.stream, self.test_stream]
        return seconds

    def worker_pids(self) -> list[int]:
        """Process ids of the workers of both streams, as far as they have started."""
        return [pid for stream in self._streams for pid in stream.worker_pids()]
