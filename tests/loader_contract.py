"""What every loader must do. A loader brings a ``case`` fixture; everything else is here.

Example for a loader in a package of its own::

    class TestMine(LoaderContract):
        @pytest.fixture(params=[Case("mine", {})], ids=str)
        def case(self, request):
            return request.param
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split

from loaders import (
    Format,
    Format,
    Batch,
    BatchRequest,
    Block,
    DatasetInfo,
    StoreDataset,
    LoaderError,
    OptionError,
    Sample,
    StoreError,
    load,
)
from loaders.store.manifest import MANIFEST, write_manifest
from loaders import read_manifest
from tests.ragged_samples import SIZE
from tests.samples import INFO, Kind, any_splits, as_splits


class Case(NamedTuple):
    """A loader, its options and the kind of source it is prepared from.

    Attributes:
        loader: registered name.
        options: as given on a command line.
        source: whether the source has pixels or JPEG files, or pictures of many sizes.
        thorough: also with spawned workers, which take seconds to start.
        goes_on: whether a preparation that was killed goes on.
    """

    loader: str
    options: dict[str, Any]
    source: Kind = "raw"
    thorough: bool = False
    goes_on: bool = True

    def __str__(self) -> str:
        return "-".join([self.loader, self.source, *(f"{k}={v}" for k, v in self.options.items())])


class Prepared(NamedTuple):
    """A store and what it must hold."""

    loader: type[Format[Any]]
    options: dict[str, Any]
    location: Path
    samples: dict[str, Any]

    def open(self, split: str = "train", location: Path | None = None) -> StoreDataset:
        """A dataset over the store."""
        ragged = self.samples["train"].shape is None
        return self.loader(location or self.location, split, self.options, size=SIZE if ragged else None)

    def prepare(
        self,
        location: Path,
        samples: dict[str, Any] | None = None,
        progress: Callable[[int], Any] = lambda _: None,
        dataset: DatasetInfo = INFO,
    ) -> Any:
        """Prepare the same options elsewhere."""
        options = self.loader.Options.model_validate(self.options)
        splits = as_splits(samples or self.samples)
        return self.loader.prepare(splits, location, options, dataset=dataset, progress=progress)


def same(batch: Batch, expected: tuple[torch.Tensor, torch.Tensor]) -> bool:
    """Equal in type, shape and every byte."""
    images, labels = batch.images.cpu(), batch.labels.cpu()
    return (
        images.dtype == torch.uint8
        and labels.dtype == torch.int64
        and torch.equal(images, expected[0])
        and torch.equal(labels, expected[1])
    )


class Breaking:
    """A split that does something drastic after its second block."""

    def __init__(self, samples: Any, act: Callable[[], None]) -> None:
        self._samples, self._act = samples, act
        self.encoding, self.shape = samples.encoding, samples.shape

    def __len__(self) -> int:
        return len(self._samples)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        for number, block in enumerate(self._samples.blocks(start, stop)):
            if number == 2 and stop is None:  # not when a few samples are looked at beforehand
                self._act()
            yield block


class Interruption(BaseException):
    """Stands for Ctrl-C, without pytest's own handling of it."""


def _interrupt() -> None:
    raise Interruption


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_fork(work: Callable[[], None]) -> int:
    """Run in a forked child; its exit status, 0 if nothing was raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


_stores: dict[str, Prepared] = {}


class LoaderContract:
    """Subclass with a ``case`` fixture."""

    @pytest.fixture
    def store(self, case: Case, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
        """The case's store, prepared once and never changed by a test."""
        loader = load(case.loader)
        if reason := loader.unavailable(loader.Options.model_validate(case.options)):
            pytest.skip(f"{case.loader}: {reason}")
        if str(case) not in _stores:
            location = tmp_path_factory.mktemp("stores", numbered=True) / "store"
            prepared = Prepared(loader, case.options, location, any_splits(case.source))
            prepared.prepare(location)
            _stores[str(case)] = prepared
        return _stores[str(case)]

    @pytest.fixture
    def copy(self, store: Prepared, tmp_path: Path) -> Prepared:
        """A store that the test may damage."""
        location = tmp_path / "copy"
        shutil.copytree(store.location, location, symlinks=True)
        return store._replace(location=location)

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_gives_the_source_s_samples(self, store: Prepared, split: str) -> None:
        with store.open(split) as dataset:
            everything = list(range(len(store.samples[split])))
            assert len(dataset) == len(everything)
            assert same(dataset.batch(everything), store.samples[split].expect(everything))
            wanted = dataset.split_info
            images, labels = dataset.whole(everything)
        pixels = hashlib.sha256()
        for image, mine in zip(images, store.samples[split].images, strict=True):
            if wanted.shape is None:
                pixels.update(hashlib.sha256(np.array(image.shape[:2], "<i4").tobytes() + image.tobytes()).digest())
                assert np.array_equal(image, mine)
            else:
                pixels.update(hashlib.sha256(image.transpose(2, 0, 1).tobytes()).digest())
        assert pixels.hexdigest() == wanted.pixels_sha256
        assert hashlib.sha256(labels.tobytes()).hexdigest() == wanted.labels_sha256
        exact = np.concatenate([image.reshape(-1, image.shape[2]) for image in images]) / 255
        assert np.allclose(wanted.mean, exact.mean(axis=0))
        assert np.allclose(wanted.std, exact.std(axis=0))

    def test_random_crops_are_drawn_for_each_sample(self, store: Prepared, case: Case) -> None:
        if not case.source.startswith("ragged"):
            return  # images of one size are cropped by whoever trains on them
        wanted = [5, 40, 5, 0]
        with store.open() as dataset:
            for seed, epoch, size in ((0, 0, SIZE), (0, 1, 9), (7, 1, 80)):
                request = BatchRequest(np.array(wanted), seed, epoch, size, train=True)
                expected = store.samples["train"].expect(wanted, seed, epoch, True, size)
                assert same(dataset.batch(request), expected)
                assert same(
                    dataset.batch(request._replace(train=False)), store.samples["train"].expect(wanted, size=size)
                )
        with (
            store.loader(store.location, "train", store.options) as sizeless,
            pytest.raises(OptionError, match="have many sizes; give size"),
        ):
            sizeless.batch([0])

    @pytest.mark.parametrize(
        "indices",
        [[0], [40], [5, 5, 5], [7, 3, 3, 40, 0, 7], list(range(40, -1, -1)), [-1, -41, 0], []],
        ids=["first", "last", "same", "duplicates", "backwards", "negative", "empty"],
    )
    def test_keeps_order_and_duplicates(self, store: Prepared, indices: list[int]) -> None:
        with store.open() as dataset:
            batch = dataset.batch(indices)
            assert batch.images.shape == (len(indices), *store.samples["train"].batch_shape)
            assert same(batch, store.samples["train"].expect(indices))

    @pytest.mark.parametrize("bad", [[41], [0, -42], [3, 2**40], [-(2**63)]])
    def test_refuses_what_a_list_would(self, store: Prepared, bad: list[int]) -> None:
        with store.open() as dataset:
            with pytest.raises(IndexError, match="out of range for 41 samples"):
                dataset.batch(bad)
            with pytest.raises(IndexError):
                dataset[bad[-1]]

    @pytest.mark.parametrize("bad", [[0.5], ["1"], [[1, 2]], 3])
    def test_refuses_what_is_no_list_of_integers(self, store: Prepared, bad: Any) -> None:
        with store.open() as dataset, pytest.raises(TypeError):
            dataset.batch(bad)

    def test_takes_every_kind_of_index(self, store: Prepared) -> None:
        expected = store.samples["train"].expect([3, 1, 2])
        kinds: list[Any] = [
            [3, 1, 2],
            (3, 1, 2),
            np.array([3, 1, 2], np.int32),
            np.array([3, 1, 2], np.uint8),
            torch.tensor([3, 1, 2]),
            BatchRequest(np.array([3, 1, 2])),
        ]
        with store.open() as dataset:
            for indices in kinds:
                assert same(dataset.batch(indices), expected)
                (batch,) = dataset.__getitems__(indices)
                assert same(batch, expected)

    def test_gives_single_samples(self, store: Prepared) -> None:
        with store.open() as dataset:
            for index in (0, 17, -1):
                sample = dataset[index]
                images, labels = store.samples["train"].expect([index])
                assert isinstance(sample, Sample)
                assert torch.equal(sample.image.cpu(), images[0])
                assert sample.label == int(labels[0])

    def test_works_in_pytorch_s_own_tools(self, store: Prepared) -> None:
        with store.open() as train, store.open("test") as test:
            everything = store.samples["train"].expect(list(range(41)))
            batches: list[Batch] = list(DataLoader(train, batch_size=10))
            assert all(isinstance(batch, Batch) for batch in batches)
            assert same(_joined(batches), everything)
            part = Subset(train, [4, 9, 1])
            assert same(next(iter(DataLoader(part, batch_size=3))), store.samples["train"].expect([4, 9, 1]))
            first, _ = random_split(train, [10, 31], torch.Generator().manual_seed(0))
            assert len(next(iter(DataLoader(first, batch_size=10))).labels) == 10
            both = list(DataLoader(ConcatDataset([test, train]), batch_size=20))
            assert len(both) == 3
            assert torch.equal(_joined(both).labels[13:].cpu(), everything[1])

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_workers_give_the_same_batches(self, store: Prepared, case: Case, method: str) -> None:
        if method == "spawn" and not case.thorough:
            return  # this loader is covered by its thorough case
        with store.open() as dataset:
            if dataset.caps.max_workers == 0:
                pytest.skip("keeps its samples where worker processes cannot reach them")
            dataset.batch([0])  # the handle is open before the fork: workers must not use it
            order = np.random.default_rng(0).permutation(41)
            requests = [BatchRequest(order[i : i + 8]) for i in range(0, 41, 8)]
            loader: Any = DataLoader(
                dataset,
                batch_sampler=requests,  # type: ignore[arg-type]
                num_workers=2,
                multiprocessing_context=method,
            )
            for request, batch in zip(requests, loader, strict=True):
                assert same(batch, store.samples["train"].expect(request.indices.tolist()))
            assert same(dataset.batch([1, 2]), store.samples["train"].expect([1, 2]))

    def test_works_in_workers_alone(self, store: Prepared) -> None:
        dataset = store.open()
        if dataset.caps.max_workers == 0:
            pytest.skip("keeps its samples where worker processes cannot reach them")
        loader: Any = DataLoader(dataset, batch_size=8, num_workers=2, multiprocessing_context="fork")
        assert same(_joined(list(loader)), store.samples["train"].expect(list(range(41))))
        dataset.close()

    def test_survives_a_fork(self, store: Prepared) -> None:
        with store.open() as dataset:
            if dataset.caps.max_workers == 0:
                pytest.skip("keeps its samples where worker processes cannot reach them")
            expected = store.samples["train"].expect([5, 6])
            assert same(dataset.batch([5, 6]), expected)

            def child() -> None:
                assert same(dataset.batch([5, 6]), expected)
                dataset.close()
                dataset.close()

            assert in_fork(child) == 0
            assert same(dataset.batch([5, 6]), expected)

    def test_can_be_pickled(self, store: Prepared) -> None:
        expected = store.samples["train"].expect([2, 0])
        dataset = store.open()
        with pickle.loads(pickle.dumps(dataset)) as again:  # noqa: S301 - our own bytes
            assert same(again.batch([2, 0]), expected)
        with dataset, pickle.loads(pickle.dumps(dataset.open())) as again:  # noqa: S301
            assert same(dataset.batch([2, 0]), expected)
            assert same(again.batch([2, 0]), expected)

    def test_two_datasets_at_once(self, store: Prepared) -> None:
        with store.open("train") as train, store.open("test") as test, store.open("train") as third:
            for index in (0, 5, 12):
                assert same(train.batch([index]), store.samples["train"].expect([index]))
                assert same(test.batch([index]), store.samples["test"].expect([index]))
            train.close()
            assert same(third.batch([3]), store.samples["train"].expect([3]))

    def test_a_batch_is_the_caller_s_own(self, store: Prepared) -> None:
        with store.open() as dataset:
            batch = dataset.batch([1, 2, 3])
            batch.images.fill_(7)
            batch.labels.fill_(-1)
            assert same(dataset.batch([1, 2, 3]), store.samples["train"].expect([1, 2, 3]))
        with store.open() as dataset:
            assert same(dataset.batch([1, 2, 3]), store.samples["train"].expect([1, 2, 3]))

    def test_threads_read_together(self, store: Prepared) -> None:
        def read(seed: int) -> bool:
            order = np.random.default_rng(seed).integers(-41, 41, 20).tolist()
            return same(dataset.batch(order), store.samples["train"].expect(order))

        with store.open() as dataset, ThreadPoolExecutor(4) as pool:
            assert all(pool.map(read, range(40)))

    def test_closes_twice_and_opens_again(self, store: Prepared) -> None:
        dataset = store.open()
        dataset.close()
        for _ in range(2):
            assert same(dataset.batch([4]), store.samples["train"].expect([4]))
            dataset.close()
            dataset.close()

    def test_reading_changes_nothing(self, store: Prepared) -> None:
        before = json.loads((store.location / MANIFEST).read_bytes())
        with store.open() as dataset:
            dataset.batch(list(range(41)))
        assert json.loads((store.location / MANIFEST).read_bytes()) == before
        with store.open() as dataset:  # sizes are checked on opening
            dataset.batch([0])

    def test_prepares_twice(self, copy: Prepared) -> None:
        first = copy.open().info
        second = copy.prepare(copy.location)
        assert second.splits == first.splits
        other = {name: samples.again(9, seed=9) for name, samples in copy.samples.items()}
        copy.prepare(copy.location, other)
        with copy.open() as dataset:
            assert same(dataset.batch(list(range(9))), other["train"].expect(list(range(9))))
        assert _beside(copy.location) == []

    def test_an_interrupted_prepare_leaves_nothing(self, store: Prepared, tmp_path: Path) -> None:
        location = tmp_path / "new" / "store"
        breaking = {**store.samples, "test": Breaking(store.samples["train"], _interrupt)}
        with pytest.raises(Interruption):
            store.prepare(location, breaking)
        assert not location.exists()
        assert _beside(location) == []
        with pytest.raises(StoreError, match="no prepared store"):
            store.open(location=location).open()
        store.prepare(location)
        with store.open(location=location) as dataset:
            assert same(dataset.batch([0, 1]), store.samples["train"].expect([0, 1]))

    def test_an_interrupted_prepare_keeps_the_old_store(self, copy: Prepared) -> None:
        with pytest.raises(Interruption):
            copy.prepare(copy.location, {**copy.samples, "test": Breaking(copy.samples["train"], _interrupt)})
        with copy.open() as dataset:
            assert same(dataset.batch([0, 40]), copy.samples["train"].expect([0, 40]))

    def test_a_killed_prepare_leaves_nothing_accepted(self, store: Prepared, tmp_path: Path) -> None:
        location = tmp_path / "new" / "store"
        breaking = {"train": Breaking(store.samples["train"], _die), "test": store.samples["test"]}
        # A new interpreter would take seconds; a fork dies just as dead.
        assert in_fork(lambda: store.prepare(location, breaking)) == -signal.SIGKILL
        assert not location.exists()
        store.prepare(location)
        assert _beside(location) == []
        with store.open(location=location) as dataset:
            assert same(dataset.batch([0, 1]), store.samples["train"].expect([0, 1]))

    @pytest.mark.parametrize("broken", ["train", "test"])
    def test_a_killed_prepare_goes_on(
        self, store: Prepared, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        """What was done is not done again, and the store is the same as if nothing had happened."""
        if broken == "test" and not case.thorough:
            return
        monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
        samples = {**store.samples, "test": store.samples["test"].again(35, seed=3)}
        location, whole = tmp_path / "broken" / "store", tmp_path / "whole"
        unbroken = store.prepare(whole, samples)
        breaking = {**samples, broken: Breaking(samples[broken], _die)}
        assert in_fork(lambda: store.prepare(location, breaking)) == -signal.SIGKILL
        done: list[int] = []
        info = store.prepare(location, samples, done.append)
        assert info.attempts == (2 if case.goes_on else 1)
        assert info.splits == unbroken.splits
        assert sum(done) == 41 + 35
        if case.goes_on:
            assert done[0] == (32 if broken == "train" else 41)
        if case.loader != "postgres":
            files = {path.relative_to(whole): path for path in whole.rglob("*") if path.is_file()}
            assert {path.relative_to(location) for path in location.rglob("*") if path.is_file()} == set(files)
            for name, path in files.items():
                assert name == Path(MANIFEST) or path.read_bytes() == (location / name).read_bytes()
        assert _beside(location) == []
        for split, mine in samples.items():
            with store.open(split, location) as dataset:
                everything = list(range(len(mine)))
                assert same(dataset.batch(everything), mine.expect(everything))

    def test_what_another_prepare_left_is_not_taken_over(
        self, store: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
        location = tmp_path / "store"
        breaking = {**store.samples, "train": Breaking(store.samples["train"], _die)}
        assert in_fork(lambda: store.prepare(location, breaking)) == -signal.SIGKILL
        other = {name: samples.again(len(samples), seed=9) for name, samples in store.samples.items()}
        info = store.prepare(location, other, dataset=INFO.model_copy(update={"fingerprint": "2"}))
        assert info.attempts == 1
        with store.open(location=location) as dataset:
            assert same(dataset.batch([0, 40]), other["train"].expect([0, 40]))

    def test_two_prepares_at_once_refuse_each_other(self, store: Prepared, tmp_path: Path) -> None:
        location = tmp_path / "store"
        refusals = []

        def second() -> None:
            with pytest.raises(StoreError, match="another process is preparing"):
                store.prepare(location)
            refusals.append(1)

        store.prepare(location, {**store.samples, "test": Breaking(store.samples["train"], second)})
        assert refusals == [1]

    def test_refuses_a_store_cut_short(self, copy: Prepared) -> None:
        files = copy.open().info.files
        assert files
        for name, size in files.items():
            path = copy.location / name
            whole = path.read_bytes()
            assert len(whole) == size
            if not size:
                continue
            os.truncate(path, size - 1)
            with pytest.raises(StoreError, match="prepare"):
                copy.open().open()
            path.unlink()
            with pytest.raises(StoreError, match="missing"):
                copy.open().open()
            path.write_bytes(whole)
        with copy.open() as dataset:
            assert same(dataset.batch([0]), copy.samples["train"].expect([0]))

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("format_version", 99, "format version 99"),
            ("loader", "another", "written by loader another"),
            ("options", {"strange": 1}, "was prepared with"),
            ("prepare_s", 1e9, "was changed after it was written"),
        ],
    )
    def test_refuses_a_foreign_store(self, copy: Prepared, key: str, value: Any, message: str) -> None:
        manifest = copy.location / MANIFEST
        changed = read_manifest(copy.location).model_copy(update={key: value})
        write_manifest(changed, copy.location)
        if key == "prepare_s":
            manifest.write_text(changed.model_dump_json(), encoding="utf-8")
        with pytest.raises(StoreError, match=message):
            copy.open().open()
        manifest.write_bytes(b"{")
        with pytest.raises(StoreError, match="not a manifest"):
            copy.open().open()
        manifest.unlink()
        with pytest.raises(StoreError, match=f"is no store, it has no {MANIFEST}; remove it"):
            copy.open().open()

    def test_refuses_an_unknown_split(self, store: Prepared) -> None:
        with pytest.raises(StoreError, match="no split 'validation'"):
            store.open("validation").open()

    def test_refuses_samples_that_are_not_as_announced(self, store: Prepared, case: Case, tmp_path: Path) -> None:
        wrong = any_splits(case.source)["train"]
        wrong.labels = wrong.labels.copy()
        wrong.labels[20] = 99
        with pytest.raises(LoaderError, match="label outside"):
            store.prepare(tmp_path / "store", {"train": wrong})
        short = any_splits(case.source)["train"]
        short.labels = short.labels[:-1]
        if short.files:
            short.files = [*short.files[:-1], b"not a JPEG"]
            short.labels = wrong.labels % 7
            with pytest.raises(LoaderError, match=r"40\.jpg"):
                store.prepare(tmp_path / "store", {"train": short})
        assert not (tmp_path / "store").exists()


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches]))


def _beside(location: Path) -> list[str]:
    """What a prepare left next to its store, the lock file apart."""
    return [p.name for p in location.parent.iterdir() if p.name != location.name and not p.name.endswith(".lock")]


__all__ = ["Case", "LoaderContract"]
