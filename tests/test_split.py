"""Streaming checks, counts and hashes a split, whatever the size of its blocks."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.sources.base import LimitedSplit
from loaders import Block, DatasetInfo, LoaderError, LoaderFaultError, OptionError, load
from loaders.store.intake import Intake
from loaders.store.journal import Journal
from loaders.store.samples import SplitInfo, check_split_names
from loaders.testing import Samples, take
from tests.stores import store_samples

SHAPE = (2, 3, 5)


class Blocks:
    """A split in blocks of the sizes given; they need not add up to what it announces."""

    encoding: Literal["raw", "jpeg"] = "raw"

    def __init__(self, images: NDArray[np.uint8], sizes: list[int], announced: int | None = None) -> None:
        self.images, self.sizes = images, sizes
        self.labels = np.arange(len(images)) % 4
        self.shape: tuple[int, int, int] = SHAPE
        self.announced = len(images) if announced is None else announced

    def __len__(self) -> int:
        return self.announced

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        assert (start, stop) == (0, None)  # nobody resumes here
        stops = np.cumsum(self.sizes)
        for start, stop in zip([0, *stops], stops, strict=False):
            yield Block(self.images[start:stop], None, self.labels[start:stop])


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


@contextlib.contextmanager
def intake(split: Blocks, progress: Callable[[int], None] = lambda _: None) -> Iterator[Intake]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), Path(folder) / "journal", "")
        with contextlib.closing(journal):
            yield Intake("train", split, 4, False, lambda samples, _: progress(samples), "fail", journal)


def info_of(split: Blocks) -> SplitInfo:
    return take(split, 4)[1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_block_sizes_do_not_matter(sizes: list[int]) -> None:
    images = random_images(sum(sizes))
    found = info_of(Blocks(images, sizes))
    assert found == info_of(Blocks(images, [len(images)]))
    assert (
        found.pixels_sha256
        == hashlib.sha256(b"".join(hashlib.sha256(i.tobytes()).digest() for i in images)).hexdigest()
    )
    labels = (np.arange(len(images)) % 4).astype("<i8")
    assert found.labels_sha256 == hashlib.sha256(labels.tobytes()).hexdigest()


def test_memory_order_does_not_matter() -> None:
    images = random_images(6)
    turned = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not turned.flags.c_contiguous
    assert info_of(Blocks(turned, [4, 2])) == info_of(Blocks(images, [4, 2]))


@given(st.integers(1, 5), st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32))
def test_mean_and_deviation_are_exact(count: int, low: int, high: int, seed: int) -> None:
    low, high = min(low, high), max(low, high)
    images = np.random.default_rng(seed).integers(low, high + 1, (count, *SHAPE)).astype(np.uint8)
    found = info_of(Blocks(images, [count]))
    exact = images.transpose(1, 0, 2, 3).reshape(2, -1).astype(np.longdouble) / 255
    assert np.allclose(found.mean, exact.mean(axis=1).astype(float), rtol=1e-14, atol=0)
    assert np.allclose(found.std, exact.std(axis=1).astype(float), rtol=1e-13, atol=1e-15)


def test_a_channel_of_one_value_has_no_deviation() -> None:
    for value in range(256):
        assert info_of(Blocks(np.full((3, *SHAPE), value, np.uint8), [3])).std == (0.0, 0.0), value


def test_samples_are_counted_as_they_pass() -> None:
    done: list[int] = []
    with intake(Blocks(random_images(9), [4, 4, 1]), done.append) as taken:
        assert [len(block.labels) for block in taken.blocks()] == done == [4, 4, 1]


def test_a_split_is_read_to_its_end_and_once() -> None:
    with intake(Blocks(random_images(4), [2, 2])) as taken:
        blocks = taken.blocks()
        next(blocks)
        with pytest.raises(LoaderFaultError, match="did not take all blocks of the train split"):
            _ = taken.info
        list(blocks)
        assert taken.info.count == 4
        with pytest.raises(LoaderFaultError, match="only once"):
            next(taken.blocks())


def test_a_wrong_count() -> None:
    for announced in (0, 5, 7):
        with pytest.raises(LoaderError, match=f"announced {announced} train samples and gave 6"):
            info_of(Blocks(random_images(6), [4, 2], announced))
    with pytest.raises(LoaderError, match="the source has no train samples"):
        info_of(Blocks(random_images(0), [0]))


def test_a_wrong_shape_type_or_number_of_labels() -> None:
    split = Blocks(random_images(6), [4, 2])
    split.shape = (2, 5, 3)
    with pytest.raises(LoaderError, match=r"\(4, 2, 3, 5\) with 4 labels instead of the announced uint8 \(2, 5, 3\)"):
        info_of(split)
    split = Blocks(random_images(6), [4, 2])
    split.images = split.images.astype(np.float32)
    with pytest.raises(LoaderError, match="float32 images"):
        info_of(split)
    split = Blocks(random_images(6), [4, 2])
    split.labels = split.labels[:5]
    with pytest.raises(LoaderError, match=r"with 1 labels.* from sample 4 of the train split on"):
        info_of(split)


def test_a_label_that_is_no_class() -> None:
    for label in (-1, 4, 2**40):
        split = Blocks(random_images(6), [4, 2])
        split.labels[5] = label
        with pytest.raises(LoaderError, match=r"a label outside 0\.\.3 between samples 4 and 5 of the train split"):
            info_of(split)


@given(st.integers(1, 60), st.integers(1, 80))
def test_a_limited_split_is_spread_evenly(length: int, limit: int) -> None:
    whole = Samples(length, (1, 2, 2))
    whole.labels = np.arange(length)
    part = LimitedSplit(whole, limit)
    blocks = list(part.blocks())
    chosen = np.concatenate([block.labels for block in blocks])
    assert len(part) == len(chosen) == min(length, limit)
    assert chosen[0] == 0
    gaps = np.diff([*chosen, length])
    assert set(gaps) <= {length // len(part), -(-length // len(part))}
    images = np.concatenate([block.images for block in blocks if block.images is not None])
    assert np.array_equal(images, whole.images[chosen])
    assert (part.shape, part.encoding) == (whole.shape, whole.encoding)


def test_a_limited_split_of_files_keeps_names_and_bytes() -> None:
    whole = Samples(40, (3, 16, 12), "jpeg")
    blocks = list(LimitedSplit(whole, 7).blocks())
    chosen = [int(name.removesuffix(".jpg")) for block in blocks for name in block.names]
    assert len(chosen) == 7
    assert [file for block in blocks for file in block.files or ()] == [(whole.files or [])[i] for i in chosen]
    assert [int(label) for block in blocks for label in block.labels] == whole.labels[chosen].tolist()


def test_a_limit_below_one() -> None:
    for limit in (0, -3):
        with pytest.raises(UsageError, match=f"--limit must be at least 1, not {limit}"):
            LimitedSplit(Samples(5, (1, 2, 2)), limit)


@given(st.text(max_size=60) | st.sampled_from(["..", "a/b", "x\0y", "a" * 41, "-a", "a.b"]))
def test_a_split_s_name_is_refused_or_names_files_in_its_folder(name: str) -> None:
    try:
        check_split_names([name])
    except OptionError:
        assert (
            not name.isascii() or not name.replace("-", "").isidentifier() or len(name) > 40 or name[0] in "-0123456789"
        )
    else:
        path = Path("/store") / f"{name}.labels"
        assert (path.parent, path.stem, len(name) + 17 <= 63) == (Path("/store"), name, True)


def test_names_of_splits_that_a_disk_may_confuse() -> None:
    check_split_names(["train", "test", "Val-2", "fold_10", "3"])
    with pytest.raises(OptionError, match="splits 'Train' and 'train' differ in case alone; rename one of them"):
        check_split_names(["Train", "test", "train"])


def test_a_name_that_leads_out_of_a_store_is_refused(tmp_path: Path) -> None:
    about = DatasetInfo(name="x", official=False, synthetic=False, classes=("a", "b", "c", "d"))
    with pytest.raises(OptionError, match=r"'\.\.' cannot name a split"):
        store_samples(load("mmap"), {"..": Blocks(random_images(4), [4])}, tmp_path / "in" / "store", dataset=about)
    assert list(tmp_path.iterdir()) == []
