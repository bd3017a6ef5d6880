"""Repetitions of a run by hand: each has a number of its own, and none replaces another unasked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from bench.config import Settings
from bench.errors import UsageError
from bench.records import Record, TakenError, write_record

C = TypeVar("C", bound=Settings)


def numbered(config: C, repeat: int | None, overwrite: bool, out: Path) -> C:
    """The configuration with its number, before anything is done: ``repeat``, or the first without a record in ``out``.

    Raises:
        UsageError: the number has a record, or there is nothing to overwrite for want of a number.
    """
    if repeat is None:
        if overwrite:
            raise UsageError("--overwrite goes with --repeat, which says whose record is to be replaced")
        return _next_free(config, out)
    if not overwrite and os.path.lexists(path := out / f"{config.run_id}.json"):
        raise UsageError(
            f"--repeat {repeat}: {path} is there already; leave it out for the next free number, or add --overwrite"
        )
    return config


def keep(record: Record, overwrite: bool, out: Path) -> Record:
    """Write a record, and give it as it was written: if its number was taken meanwhile, under the next free one.

    Raises:
        BenchError: the folder cannot be written.
    """
    while True:
        try:
            write_record(record, out, replace=overwrite)
            return record
        except TakenError:
            config = _next_free(record.config, out)
            record = record.model_copy(update={"config": config, "run_id": config.run_id})


def _next_free(config: C, out: Path) -> C:
    while os.path.lexists(out / f"{config.run_id}.json"):
        config = config.model_copy(update={"repeat": config.repeat + 1})
    return config
