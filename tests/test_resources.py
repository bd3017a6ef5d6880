"""Peak memory is that of the time since the last reset."""

from __future__ import annotations

import torch

from bench.measure.resources import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
MEGABYTE = 1024 * 1024


def test_the_peak_is_of_the_time_since_the_reset() -> None:
    reset_peak_memory(CPU)
    before = peak_memory(CPU)["process_peak_rss"]
    big = b"x" * (200 * MEGABYTE)
    del big
    assert peak_memory(CPU)["process_peak_rss"] - before > 150 * MEGABYTE
    reset_peak_memory(CPU)
    assert peak_memory(CPU)["process_peak_rss"] - before < 100 * MEGABYTE


def test_the_cpu_has_no_device_memory() -> None:
    assert set(peak_memory(CPU)) == {"process_peak_rss"}
