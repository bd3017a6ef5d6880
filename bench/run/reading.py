"""Both splits of a store, open for a run with the streams that read them; may be closed and opened anew."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Any, Self

from bench.config import RunConfig
from bench.run.stores import Wanted
from bench.train.batching import BatchStream
from loaders import StoreDataset


class Reading:
    """Opens datasets and their streams together, and says how long that takes."""

    train: StoreDataset
    test: StoreDataset
    stream: BatchStream
    test_stream: BatchStream

    def __init__(self, config: RunConfig, wanted: Wanted) -> None:
        self._config = config
        self._wanted = wanted
        self._life = contextlib.ExitStack()
        self._open = False

    def open(self) -> float:
        """Open both splits; gives the seconds that it took. Worker processes start with the first batch.

        Raises:
            LoaderError: the store or its backend cannot be used.
        """
        config = self._config
        started = time.perf_counter()
        with contextlib.ExitStack() as life:
            self.train = life.enter_context(self._wanted.open("train"))
            self.test = life.enter_context(self._wanted.open("test"))
            seconds = time.perf_counter() - started
            # No page-locked batches: the transfer copies each one into page-locked memory of its own, where the time is
            # seen; PyTorch's thread would make one copy more, into new memory, beside every clock.
            how: dict[str, Any] = {
                "workers": config.workers,
                "start_method": config.start_method,
                "prefetch": config.prefetch,
                "size": config.image_size,
            }
            self.stream = life.enter_context(BatchStream(self.train, **how))
            self.test_stream = life.enter_context(BatchStream(self.test, **how))
            self._life = life.pop_all()
            self._open = True
        return seconds

    def close(self) -> float:
        """Close both splits in every process; gives the seconds that it took."""
        started = time.perf_counter()
        self._open = False
        self._life.close()
        return time.perf_counter() - started

    def elsewhere_read_bytes(self) -> int | None:
        """What a server outside the store has read of the training split so far, where there is one that tells."""
        return self.train.reader.read_bytes() if self._open else None

    def worker_pids(self) -> list[int]:
        """Process ids of the workers of both streams, as far as they have started."""
        return [*self.stream.worker_pids(), *self.test_stream.worker_pids()] if self._open else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._life.__exit__(kind, error, trace)
