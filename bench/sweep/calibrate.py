"""How long training steps take on this machine, measured with a few of them, for the estimate of a sweep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.config import RunConfig

SMALL = 8
"""Samples in the batch that a processor is timed with first; one that is quick gets the full batch then."""
QUICK_S = 0.5
"""A full batch is timed if its step is expected to take less."""
ENOUGH_S = 0.5
FEWEST_BLOCKS = 2
"""Blocks of two steps are timed for so long, or so many of them."""


class Workload(BaseModel):
    """What decides how long a training step takes: settings of a run, and shape and number of classes of its images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: RunConfig
    shape: tuple[int, int, int]
    classes: int

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for workloads whose steps take equally long."""
        config = self.config
        how = (config.device, config.threads, config.channels_last, config.amp, config.deterministic)
        steps = (config.compile, config.cuda_graphs, config.in_flight)
        return (config.model, config.batch_size, *how, *steps, self.shape, self.classes)


class Calibration(BaseModel):
    """Seconds: of a process until it can begin, and of a training step, by workload and divided by its samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: float
    sample_s: tuple[float, ...]


def calibrate(workloads: Sequence[Workload], started: float) -> Calibration:
    """Time a few steps of each workload.

    Args:
        workloads: what to time.
        started: Unix time at which this process was asked for.
    """
    import torch

    import bench.run.runner  # noqa: F401 - what every run imports before it begins

    start_s = time.time() - started
    default = torch.get_num_threads()
    return Calibration(start_s=start_s, sample_s=tuple(_sample_s(workload, default) for workload in workloads))


def _sample_s(workload: Workload, default_threads: int) -> float:
    import torch

    from bench.run.runner import fix_arithmetic
    from bench.train.trainer import Trainer
    from loaders import SplitInfo

    config, shape = workload.config, workload.shape
    torch.set_num_threads(default_threads)
    fix_arithmetic(config)
    half = (0.5,) * shape[0]
    split = SplitInfo(count=0, shape=shape, pixels_sha256="", labels_sha256="", mean=half, std=half)
    trainer = Trainer(config, split, workload.classes, steps=10)

    def step_s(batch_size: int) -> float:
        trainer.warm_up([batch_size], steps=1)
        end = time.perf_counter() + ENOUGH_S
        blocks: list[float] = []
        while len(blocks) < FEWEST_BLOCKS or time.perf_counter() < end:
            blocks.append(trainer.ceiling(batch_size, 2) / 2)
        return min(blocks)  # what else the machine does makes a step longer, at times many times

    if config.device == "cpu" and config.batch_size > SMALL:
        seconds = step_s(SMALL) / SMALL
        if seconds * config.batch_size > QUICK_S:
            return seconds
    return step_s(config.batch_size) / config.batch_size
