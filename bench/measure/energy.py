"""A device's energy: by its own counter where it has one, else its sampled power over time."""

from __future__ import annotations

from typing import Literal

Source = Literal["counter", "sampled power", "counter and sampled power"]


class EnergyMeter:
    """Adds up joules from readings of a counter and of the power.

    The counter stands for every stretch between two readings that it can be trusted in; where it is missing or has gone
    back (the driver was loaded anew), the integral of the power over that stretch does.
    """

    def __init__(self) -> None:
        self._joules = 0.0
        self._by_power: float | None = None  # of the stretch since the last reading of the total
        self._last_power: tuple[float, float] | None = None
        self._last_counter: float | None = None
        self._began = self._unknown = False
        self._sources: set[str] = set()

    @property
    def source(self) -> Source | None:
        """What the total rests on so far; ``None`` before anything was added."""
        if len(self._sources) > 1:
            return "counter and sampled power"
        return "counter" if "counter" in self._sources else "sampled power" if self._sources else None

    def power(self, seconds: float, watts: float | None) -> None:
        """Note the power at a time; linear between two of them."""
        if watts is None:
            return
        if self._last_power is not None:
            then, before = self._last_power
            self._by_power = (self._by_power or 0.0) + (seconds - then) * (watts + before) / 2
        self._last_power = (seconds, watts)

    def total(self, counter_j: float | None) -> float | None:
        """Joules from the first reading on.

        Args:
            counter_j: what the counter shows now; ``None`` where there is none.

        Returns:
            ``None`` once a stretch has neither a counter nor power.
        """
        first, self._began = not self._began, True
        stretch, self._by_power = self._by_power, None
        last, self._last_counter = self._last_counter, counter_j
        if counter_j is not None and last is not None and counter_j >= last:
            self._add(counter_j - last, "counter")
        elif first:  # where counting begins
            self._unknown = counter_j is None and self._last_power is None
        elif stretch is not None:
            self._add(stretch, "sampled power")
        else:
            self._unknown = True
        return None if self._unknown else self._joules

    def _add(self, joules: float, source: str) -> None:
        self._joules += joules
        self._sources.add(source)
