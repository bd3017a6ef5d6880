"""Each loader, dataset, limit and stored option has a store of its own, prepared once from the source as it is."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import DataError
from bench.run.stores import StoreSpec, prepare
from bench.sources.base import Contents, Source, SourceOptions
from bench.sources.digits import ArraySplit
from bench.sources.registry import open_source
from loaders import LoaderOptions, StoreError, load
from loaders.core.options import store_option
from loaders.store.manifest import MANIFEST
from loaders.testing import INFO, RaggedSamples, in_fork, make_splits
from tests.stores import write_folder


class Folder(Source):
    """A source whose files can change or go."""

    name = "samples"
    summary = "samples"
    archive = None
    fingerprint = "1"
    gone: str | None = None

    def missing(self) -> str | None:
        return self.gone

    @property
    def _contents(self) -> Contents:
        info = INFO.model_copy(update={"fingerprint": self.fingerprint})
        splits = {name: ArraySplit(split.images, split.labels) for name, split in make_splits().items()}
        return Contents(info, {**splits}, [])

    def make_twin(self, fraction: float, report: Any) -> None:
        raise NotImplementedError


class Steps:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.done = self.ended = 0

    @contextlib.contextmanager
    def __call__(self, step: str, total: int) -> Iterator[Callable[[int], None]]:
        self.begun.append((step, total))
        try:
            yield self.advance
        finally:
            self.ended += 1

    def advance(self, samples: int) -> None:
        self.done += samples


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


def spec(source: Source, folder: Path, loader: str = "mmap", limit: int | None = None, **options: Any) -> StoreSpec:
    found = load(loader)
    return StoreSpec(found, found.Options.model_validate(options), source, limit, folder)


LOCATIONS: dict[str, tuple[str, int | None, dict[str, Any]]] = {
    "samples/mmap": ("mmap", None, {"encoding": "raw", "threads": 3}),
    "samples/mmap-encoding=jpeg": ("mmap", None, {"encoding": "jpeg"}),
    "samples-limit64/memory": ("memory", 64, {}),
    "samples-limit64/gpu_mmap-encoding=jpeg": ("gpu_mmap", 64, {"mode": "pinned", "encoding": "jpeg"}),
}


def test_locations(source: Folder, tmp_path: Path) -> None:
    for location, (loader, limit, options) in LOCATIONS.items():
        here = spec(source, tmp_path / "stores", loader, limit, **options)
        assert (here.location, here.relative) == (tmp_path / "stores" / location, location)


@pytest.mark.parametrize(("name", "limit"), [("x" * 255, 7), ("x" + "\u732b" * 84, None), ("y" * 240, 7)])
def test_names_too_long_for_a_file_system_are_cut_and_stay_apart(tmp_path: Path, name: str, limit: int | None) -> None:
    write_folder(RaggedSamples(20, seed=1), tmp_path / name)
    places = set()
    for options in ({}, {"test_share": 0.3}, {"resize": 16, "on_corrupt": "skip", "test_share": 0.123456789}):
        photos = open_source(f"folder:{tmp_path / name}", tmp_path, SourceOptions.model_validate(options))
        want = spec(photos, tmp_path / "stores", limit=limit, encoding="raw")
        info, written = prepare(want)
        assert written and not prepare(want)[1]
        assert info.dataset.name == f"folder:{name}"
        assert all(len(part.encode()) <= 255 for part in want.location.parts)
        places.add(want.location)
    assert len(places) == 3


def test_options_too_long_for_a_file_system_are_cut_and_stay_apart(source: Folder, tmp_path: Path) -> None:
    class Options(LoaderOptions):
        place: str = store_option("")

    class Elsewhere(load("mmap")):  # type: ignore[misc]
        name = "elsewhere"

    Elsewhere.Options = Options
    made = [StoreSpec(Elsewhere, Options(place="p" * 300 + end), source, None, tmp_path).location for end in "ab"]
    assert made[0] != made[1]
    for location in made:
        location.parent.mkdir(exist_ok=True)
        for sibling in ("partial", "journal", "lock", "old"):
            location.with_name(f".{location.name}.{sibling}").mkdir()


def test_a_store_folder_that_cannot_be(source: Folder, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="File name too long; choose a --store-dir with a shorter path"):
        prepare(spec(source, tmp_path / ("x" * 300)))


def test_a_store_is_prepared_once(source: Folder, tmp_path: Path) -> None:
    want, steps = spec(source, tmp_path), Steps()
    first, written = prepare(want, steps)
    assert written
    assert (steps.begun, steps.done, steps.ended) == ([("prepare samples/mmap", 54)], 54, 1)
    inode = want.location.stat().st_ino
    assert prepare(want, steps) == (first, False)
    assert (steps.done, want.location.stat().st_ino) == (54, inode)
    again, written = prepare(want, steps, force=True)
    assert written
    assert again.splits == first.splits
    assert want.location.stat().st_ino != inode


def test_a_limit_has_a_store_of_its_own(source: Folder, tmp_path: Path) -> None:
    whole, _ = prepare(spec(source, tmp_path))
    cut, written = prepare(spec(source, tmp_path, limit=20))
    assert written
    assert {name: split.count for name, split in cut.splits.items()} == {"train": 20, "test": 13}
    assert (cut.dataset.limit, whole.dataset.limit) == (20, None)
    assert prepare(spec(source, tmp_path)) == (whole, False)
    with spec(source, tmp_path, limit=20).open("train") as dataset:
        chosen = np.arange(20) * 41 // 20
        assert np.array_equal(dataset.batch(range(20)).images, make_splits()["train"].images[chosen])


def test_a_source_that_is_gone_is_not_needed_and_one_that_changed_is_noticed(source: Folder, tmp_path: Path) -> None:
    want = spec(source, tmp_path)
    prepare(want)
    source.gone = "gone"
    assert not prepare(want)[1]
    source.gone, source.fingerprint = None, "2"
    with pytest.raises(StoreError) as caught:
        prepare(want)
    assert str(caught.value) == (
        f"{want.location} was prepared from other files than {source.folder} now holds; "
        "run the same `bench prepare` with --force"
    )
    prepare(want, force=True)
    assert not prepare(want)[1]


def test_a_missing_source_says_so_and_leaves_nothing(source: Folder, tmp_path: Path) -> None:
    source.gone = "samples is not in the data folder; run `bench fetch samples`"
    with pytest.raises(DataError, match="run `bench fetch samples`"):
        prepare(spec(source, tmp_path / "stores"))
    assert not (tmp_path / "stores").exists()


def test_a_damaged_store_is_not_replaced_unasked(source: Folder, tmp_path: Path) -> None:
    want = spec(source, tmp_path)
    prepare(want)
    (want.location / "test.labels").write_bytes(b"")
    with pytest.raises(StoreError, match="has 0 bytes instead of 104"):
        prepare(want)
    assert prepare(want, force=True)[1]


def test_progress_ends_with_a_failure(source: Folder, tmp_path: Path) -> None:
    steps = Steps()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        prepare(spec(source, tmp_path / "file"), steps)
    assert (len(steps.begun), steps.ended) == (1, 1)


def test_an_empty_folder_becomes_a_store_and_another_is_left_alone(source: Folder, tmp_path: Path) -> None:
    want = spec(source, tmp_path)
    want.location.mkdir(parents=True)
    assert prepare(want)[1]
    (want.location / MANIFEST).unlink()
    for force in (False, True):
        with pytest.raises(StoreError, match=r"is no store, .*; remove it|is not a store; remove it"):
            prepare(want, force=force)
    assert (want.location / "train.pixels").exists()


def test_a_forced_preparation_goes_on_from_nothing(
    source: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    want = spec(source, tmp_path)

    class Dying(Steps):
        def advance(self, samples: int) -> None:
            super().advance(samples)
            if self.done > 41:
                os.kill(os.getpid(), signal.SIGKILL)

    def killed() -> None:
        prepare(want, Dying())

    assert in_fork(killed) == -signal.SIGKILL
    assert prepare(want, force=True)[0].attempts == 1
