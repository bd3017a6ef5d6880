"""A thread that repeats a call at an interval."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Repeated:
    """Calls a function every ``interval`` seconds from a thread, from entering to leaving, until it raises."""

    def __init__(self, call: Callable[[], None], interval: float, name: str) -> None:
        self._call, self._interval = call, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what the function raised."""
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._stop.wait(self._interval):
                self._call()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
