"""Profiles of real devices: how fast they train a network on batches that lie on them already."""

from __future__ import annotations

import datetime
import re
import statistics

import torch

from bench.accelerators import Accelerator
from bench.config import RunConfig
from bench.measure.environment import cpu_model
from bench.train.trainer import Trainer
from loaders import SplitInfo

BLOCKS = 3


def profile(config: RunConfig, shape: tuple[int, int, int], classes: int, steps: int) -> Accelerator:
    """Measure the compute ceiling of a run's network and settings on its device, with made-up images ``(C, H, W)``.

    The speed is the median of `BLOCKS` blocks of ``steps`` steps.
    """
    split = SplitInfo(count=0, shape=shape, pixels_sha256="", labels_sha256="", mean=(0.5,) * 3, std=(0.25,) * 3)
    trainer = Trainer(config, split, classes, steps)
    trainer.warm_up([config.batch_size])
    seconds = statistics.median(trainer.ceiling(config.batch_size, steps) for _ in range(BLOCKS))
    device = torch.cuda.get_device_name() if config.device == "cuda" else cpu_model()
    precision = "bf16" if config.amp else "fp32"
    side, today = f"{shape[2]}x{shape[1]}", datetime.datetime.now(datetime.UTC).date()
    name = re.sub(r"[^a-z0-9]+", "-", f"{device} {config.model} {side} {config.batch_size} {precision}".lower())
    ways = [way for way in ("channels_last", "compile", "cuda_graphs") if getattr(config, way)]
    what = ", ".join([f"{config.model} at {side}", f"batch {config.batch_size}", precision, *ways])
    return Accelerator(
        name=name.strip("-"),
        images_per_s=float(f"{steps * config.batch_size / seconds:.5g}"),
        source=f"measured on {device}: {what}, torch {torch.__version__}, {today}",
    )
