"""The contract of a format as tests. A package of its own only brings its cases.

Example::

    class TestMine(FormatContract):
        cases = [Case("mine", {}, thorough=True), Case("mine", {"level": 3})]
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch.utils.data import DataLoader

from loaders import BatchRequest, StoreError, UnavailableError, load
from loaders.testing.cases import Breaking, Case, Interruption, Prepared, assert_same, beside, die, in_fork, interrupt
from loaders.testing.samples import SIZE, make_splits

Condition = Callable[[Case], bool]


def only(applies: Condition) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Collect a test only for cases that it applies to."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.applies = applies  # type: ignore[attr-defined]
        return test

    return mark


def _in_workers(case: Case) -> bool:
    try:
        return case.thorough and load(case.loader).caps.max_workers != 0
    except UnavailableError:  # the store's fixture skips with this reason
        return case.thorough


_stores: dict[str, Prepared] = {}


class FormatContract:
    """Subclass it with ``cases``."""

    cases: ClassVar[Sequence[Case]]

    def __init_subclass__(cls) -> None:
        """Remove the tests that apply to no case, which pytest would show as skipped."""
        for name in dir(cls):
            if name.startswith("test_") and not cls._cases_of(getattr(cls, name)):
                setattr(cls, name, None)

    @classmethod
    def _cases_of(cls, test: Any) -> list[Case]:
        applies: Condition = getattr(test, "applies", lambda _: True)
        return [case for case in cls.cases if applies(case)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One item for each case that a test applies to."""
        metafunc.parametrize("case", self._cases_of(metafunc.function), ids=str, scope="class")

    @pytest.fixture
    def store(self, case: Case, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
        """The case's store, prepared once and never changed by a test."""
        try:
            format_ = load(case.loader).configured(case.options)
            reason = format_.unavailable()
        except UnavailableError as error:
            reason = str(error)
        if reason:
            pytest.skip(f"{case.loader}: {reason}")
        if str(case) not in _stores:
            location = tmp_path_factory.mktemp("stores", numbered=True) / "store"
            prepared = Prepared(format_, location, make_splits(case.source))
            prepared.prepare()
            _stores[str(case)] = prepared
        return _stores[str(case)]

    @pytest.fixture
    def copy(self, store: Prepared, tmp_path: Path) -> Prepared:
        """A store that the test may damage."""
        location = tmp_path / "copy"
        shutil.copytree(store.location, location, symlinks=True)
        return store._replace(location=location)

    @pytest.fixture
    def new(self, store: Prepared, tmp_path: Path) -> Prepared:
        """A store that is yet to be prepared."""
        return store._replace(location=tmp_path / "new" / "store")

    def test_gives_the_samples_of_the_source(self, store: Prepared) -> None:
        """Batches and whole images of both splits, and their description in the manifest."""
        for split, samples in store.samples.items():
            everything = list(range(len(samples)))
            with store.open(split) as dataset:
                assert len(dataset) == len(everything)
                assert_same(dataset.batch(everything), samples.expect(everything))
                described = dataset.split_info
                images, labels = dataset.whole(everything)
            pixels = hashlib.sha256()
            for image, mine in zip(images, samples.images, strict=True):
                if described.shape is None:
                    assert np.array_equal(image, mine)
                    pixels.update(hashlib.sha256(np.array(image.shape[:2], "<i4").tobytes() + image.tobytes()).digest())
                else:
                    pixels.update(hashlib.sha256(image.transpose(2, 0, 1).tobytes()).digest())
            assert pixels.hexdigest() == described.pixels_sha256
            assert hashlib.sha256(labels.tobytes()).hexdigest() == described.labels_sha256
            exact = np.concatenate([image.reshape(-1, image.shape[2]) for image in images]) / 255
            assert np.allclose(described.mean, exact.mean(axis=0))
            assert np.allclose(described.std, exact.std(axis=0))

    @only(lambda case: case.ragged)
    def test_random_crops(self, store: Prepared) -> None:
        """Crops depend on seed, epoch and index alone."""
        indices, samples = [5, 40, 5, 0], store.samples["train"]
        with store.open() as dataset:
            for seed, epoch, size in ((0, 0, SIZE), (0, 1, 9), (7, 1, 80)):
                request = BatchRequest(np.array(indices), seed, epoch, size, train=True)
                assert_same(dataset.batch(request), samples.expect(indices, seed, epoch, True, size))
                assert_same(dataset.batch(request._replace(train=False)), samples.expect(indices, size=size))

    def test_order_duplicates_and_memory(self, store: Prepared) -> None:
        """Any list of indices; writing to a batch changes neither the store nor a later batch."""
        for _ in range(2):
            with store.open() as dataset:
                for indices in ([0], [5, 5, 5], [7, 3, 3, 40, 0, 7], list(range(40, -1, -1)), [-1, -41, 0], []):
                    batch = dataset.batch(indices)
                    assert_same(batch, store.samples["train"].expect(indices))
                    batch.images.fill_(7)
                    batch.labels.fill_(-1)

    def test_threads_read_together(self, store: Prepared) -> None:
        """Several threads share one dataset."""

        def read(seed: int) -> None:
            order = np.random.default_rng(seed).integers(-41, 41, 20).tolist()
            assert_same(dataset.batch(order), store.samples["train"].expect(order))

        with store.open() as dataset, ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(20)))

    @only(_in_workers)
    def test_workers_give_the_same_batches(self, store: Prepared) -> None:
        """Forked ones, even if the parent has the store open, and ones that inherit nothing."""
        order = np.random.default_rng(0).permutation(41)
        requests = [BatchRequest(order[i : i + 8]) for i in range(0, 41, 8)]
        multiprocessing.set_forkserver_preload([__name__])  # else each of these workers imports PyTorch
        for method, count in {"fork": 2, "forkserver": 1}.items():
            with store.open() as dataset:
                dataset.batch([0])
                workers: Any = DataLoader(
                    dataset,
                    batch_sampler=requests,  # type: ignore[arg-type]
                    num_workers=count,
                    multiprocessing_context=method,
                )
                for request, batch in zip(requests, workers, strict=True):
                    assert_same(batch, store.samples["train"].expect(request.indices.tolist()))
                assert_same(dataset.batch([1, 2]), store.samples["train"].expect([1, 2]))

    @only(_in_workers)
    def test_survives_a_fork(self, store: Prepared) -> None:
        """Parent and child can both read, whichever closes first."""
        expected = store.samples["train"].expect([5, 6])
        with store.open() as dataset:
            assert_same(dataset.batch([5, 6]), expected)

            def child() -> None:
                assert_same(dataset.batch([5, 6]), expected)
                dataset.close()
                dataset.close()

            assert in_fork(child) == 0
            assert in_fork(dataset.close) == 0
            assert_same(dataset.batch([5, 6]), expected)

    @only(lambda case: case.thorough)
    def test_can_be_pickled(self, store: Prepared) -> None:
        """Closed or open; the copy opens the store itself."""
        expected = store.samples["train"].expect([2, 0])
        with pickle.loads(pickle.dumps(store.open())) as again:  # noqa: S301 - our own bytes
            assert_same(again.batch([2, 0]), expected)
        with store.open() as dataset, pickle.loads(pickle.dumps(dataset.open())) as again:  # noqa: S301
            assert_same(dataset.batch([2, 0]), expected)
            assert_same(again.batch([2, 0]), expected)

    @only(lambda case: case.thorough)
    def test_two_splits_at_once(self, store: Prepared) -> None:
        """Both splits are open; one is closed and reopened."""
        with store.open("train") as train, store.open("test") as test:
            for _ in range(2):
                for index in (0, 5, 12):
                    assert_same(train.batch([index]), store.samples["train"].expect([index]))
                    assert_same(test.batch([index]), store.samples["test"].expect([index]))
                train.close()
                train.close()

    @only(lambda case: case.thorough)
    def test_prepares_anew(self, copy: Prepared) -> None:
        """A second preparation gives the same splits, and other samples replace the old ones."""
        first = copy.open().info
        assert copy.prepare().splits == first.splits
        other = {name: samples.again(9, seed=9) for name, samples in copy.samples.items()}
        copy.prepare(other)
        with copy.open() as dataset:
            assert_same(dataset.batch(list(range(9))), other["train"].expect(list(range(9))))
        assert beside(copy.location) == []

    @only(lambda case: case.thorough)
    def test_an_interrupted_prepare_leaves_nothing(self, new: Prepared) -> None:
        """An earlier store stays."""
        breaking = {**new.samples, "test": Breaking(new.samples["train"], interrupt)}
        with pytest.raises(Interruption):
            new.prepare(breaking)
        assert not new.location.exists()
        assert beside(new.location) == []
        new.prepare()
        with pytest.raises(Interruption):
            new.prepare(breaking)
        with new.open() as dataset:
            assert_same(dataset.batch([0, 40]), new.samples["train"].expect([0, 40]))

    @only(lambda case: case.thorough)
    def test_a_killed_prepare_leaves_nothing_accepted(self, new: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next one, resumed or not, gives the same store as an uninterrupted one."""
        monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
        breaking = {"train": Breaking(new.samples["train"], die), "test": new.samples["test"]}
        # A fork: a new interpreter would take seconds.
        assert in_fork(lambda: new.prepare(breaking)) == -signal.SIGKILL
        assert not new.location.exists()
        new.prepare()
        assert beside(new.location) == []
        for split, samples in new.samples.items():
            with new.open(split) as dataset:
                everything = list(range(len(samples)))
                assert_same(dataset.batch(everything), samples.expect(everything))

    @only(lambda case: case.thorough)
    def test_refuses_a_store_cut_short(self, copy: Prepared) -> None:
        """Each checked file: shorter by a byte, and missing."""
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
            assert_same(dataset.batch([0]), copy.samples["train"].expect([0]))

    @only(lambda case: case.thorough)
    def test_reading_changes_nothing(self, copy: Prepared) -> None:
        """Not a byte of a file with samples."""

        def content() -> dict[str, bytes]:
            info = copy.open().info
            return {name: (copy.location / name).read_bytes() for name in info.data_files or info.files}

        before = content()
        with copy.open() as dataset:
            dataset.batch(list(range(41)))
        assert content() == before
