"""Checksums of samples: which samples differ from what was prepared, and how, is told of any mixture of faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders import Comparison, StoreError
from loaders.images.digests import checksums_of, image_digest
from loaders.store.checksums import checksums_name, write_checksums

COUNT = 20
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 4, 5), dtype=np.uint8)
LABELS = np.arange(COUNT) % 6
EVERYTHING = np.arange(COUNT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    parts = [(checksums_of(IMAGES[part]), LABELS[part]) for part in (slice(0, 7), slice(7, COUNT))]
    assert write_checksums(parts, place, "train") == checksums_name("train")
    return place


def verdict(folder: Path, images: Any, labels: Any, order: Any = EVERYTHING) -> str | None:
    comparison = Comparison(folder, "train", COUNT)
    for part in np.array_split(np.arange(len(order)), 3):
        comparison.add(order[part], checksums_of(np.ascontiguousarray(images[part])), labels[part])
    return comparison.verdict()


def test_a_checksum_is_the_beginning_of_the_digest() -> None:
    assert checksums_of(IMAGES)[3] == int.from_bytes(image_digest(IMAGES[3], ragged=False)[:8], "little")
    assert image_digest(IMAGES[0], ragged=False) != image_digest(IMAGES[0], ragged=True)


def test_what_was_prepared_passes_in_any_order(folder: Path) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    assert verdict(folder, IMAGES[order], LABELS[order], order) is None
    assert verdict(folder, IMAGES[[3, 3, 5]], LABELS[[3, 3, 5]], np.array([3, 3, 5])) is None


def test_each_kind_of_fault_is_named(folder: Path) -> None:
    labels = LABELS.copy()
    labels[4] = 0
    assert verdict(folder, IMAGES, labels) == (
        "1 of 20 samples of the train split are not as they were prepared, "
        "the first being sample 4, whose label is 0 instead of 4"
    )
    images = IMAGES.copy()
    images[[9, 2], 0, 0, 0] ^= 1
    assert "2 of 20 " in str(verdict(folder, images, LABELS))
    assert str(verdict(folder, images, LABELS)).endswith("sample 2, whose pixels differ")
    turned = EVERYTHING[::-1]
    found = str(verdict(folder, IMAGES[turned], LABELS[turned]))
    assert found.startswith("20 of 20 ")
    assert found.endswith("sample 0, in whose place sample 19 came: the order differs")
    assert str(verdict(folder, IMAGES[turned], LABELS)).endswith("sample 0, whose pixels are those of sample 19")


@given(st.sets(st.integers(0, COUNT - 1)), st.sets(st.integers(0, COUNT - 1)))
def test_every_wrong_sample_counts_once(folder: Path, pixels: set[int], labels: set[int]) -> None:
    images, given = IMAGES.copy(), LABELS.copy()
    images[list(pixels), 0, 0, 0] ^= 255
    given[list(labels)] += 6
    wrong = pixels | labels
    found = verdict(folder, images, given)
    assert (found is None) == (not wrong)
    if wrong:
        assert f"{len(wrong)} of 20" in str(found)
        assert f"first being sample {min(wrong)}," in str(found)


def test_a_file_of_another_split_is_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match="does not describe 21 samples"):
        Comparison(folder, "train", COUNT + 1)
