"""A record in the making: what is known of a run so far, so that a failed one leaves what it had measured."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict

from bench.config import RateConfig, RunConfig
from bench.errors import BenchError, UsageError
from bench.measure.environment import environment
from bench.records import DatasetPart, LoaderPart, Record, StorePart
from bench.run.devices import torch_device
from bench.run.stores import Progress, StoreSpec, prepare
from bench.sentences import sentence
from loaders import DatasetInfo, OptionError, StoreInfo, UnavailableError

T = TypeVar("T")


class RunFailedError(BenchError):
    """A run that ended early; the record says why and holds what had been measured."""

    def __init__(self, record: Record, text: str) -> None:
        """Args: text is the error in full; the record may be published and hides folders and hosts."""
        super().__init__(text)
        self.record = record


class Draft(Record):
    """A record in the making: its parts are None until the run sets them."""

    model_config = ConfigDict(frozen=False)

    def finish(self, status: Literal["ok", "failed", "unavailable"], error: str | None = None) -> Record:
        """The record as it stands."""
        return Record(**{**dict(self), "status": status, "error": error, "finished_at": _now()})


def prepared(spec: StoreSpec, progress: Progress, draft: Draft) -> StoreInfo:
    """Prepare the store unless it is there, and note what it holds and costs."""
    info, _ = prepare(spec, progress)
    counts = {name: split.count for name, split in info.splits.items()}
    skipped = sum(len(split.skipped) for split in info.splits.values())
    draft.dataset = described(info.dataset, counts, info.splits["train"].shape, skipped)
    same = info.model_dump(include={"bytes", "allocated_bytes", "prepare_s", "attempts"})
    draft.store = StorePart(path=spec.relative, bytes_per_image=info.bytes / max(info.samples, 1), **same)
    return info


def described(
    dataset: DatasetInfo, counts: Mapping[str, int], shape: tuple[int, int, int] | None, skipped: int = 0
) -> DatasetPart:
    """Which images a run is about."""
    same, classes = dataset.model_dump(exclude={"classes"}), len(dataset.classes)
    train, test = counts["train"], counts["test"]
    return DatasetPart(**same, classes=classes, train=train, test=test, shape=shape, skipped=skipped)


Steps = Generator[None, None, T]
"""Work that may be left between two of its steps, for others to take a turn; `completed` does it in one go."""


def completed(steps: Steps[T]) -> T:
    """Do all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def complete(config: RunConfig | RateConfig, spec: StoreSpec, work: Callable[[Draft], Steps[None]]) -> Steps[Record]:
    """Do the work that fills a draft, if the loader is available, and give the record.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    unknown = ("error", "dataset", "store", "cache", "setup", "ceiling", "rates", "resources", "digest")
    nothing: dict[str, Any] = dict.fromkeys(unknown)
    draft = Draft(
        run_id=config.run_id,
        status="failed",
        config=config,
        loader=LoaderPart(name=config.loader, options=spec.options.public()),
        environment={
            **environment(torch_device(config.device), spec.store_dir, spec.loader.packages),
            "device": config.device,
        },
        epochs=[],
        flags=[],
        started_at=_now(),
        finished_at="",
        **nothing,
    )
    try:
        if reason := spec.format.reason_unavailable():
            if not spec.source.missing():
                splits = spec.splits()
                counts = {name: len(split) for name, split in splits.items()}
                draft.dataset = described(spec.dataset_info(), counts, splits["train"].shape)
            return draft.finish("unavailable", reason)
        if misfit := spec.misfit(config):
            raise UsageError(misfit[1])
        yield from work(draft)
    except UnavailableError as error:
        return draft.finish("unavailable", publishable(str(error), spec))
    except (UsageError, OptionError):
        raise
    except Exception as error:
        text = sentence(error)
        # Its frames hold the network and batches, on the device too; what it says stays.
        traceback.clear_frames(error.__traceback__)
        raise RunFailedError(draft.finish("failed", publishable(text, spec)), text) from error
    return draft.finish("ok")


def publishable(text: str, spec: StoreSpec) -> str:
    """An error as a record may show it: no folder of this machine, and nothing that options keep to themselves."""
    hidden = {str(spec.store_dir): "STORES", str(spec.source.folder): f"DATA/{spec.source.name}"}
    hidden |= {str(Path.cwd()): ".", str(Path.home()): "~"}
    hidden |= dict.fromkeys(spec.options.private(), "…")
    for secret in sorted(hidden, key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, hidden[secret])
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # names may have bytes that are no text


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
