"""scikit-learn's digits, whole and recognisable, in a fixed and stratified split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from bench.errors import UsageError
from bench.sources.digits import OFFICIAL_SHA256, Digits


def everything(source: Digits, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    blocks = list(source.splits()[split].blocks())
    images = [block.images for block in blocks if block.images is not None]
    return np.concatenate(images), np.concatenate([block.labels for block in blocks])


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(Path("nowhere"))


def test_it_is_the_official_data(digits: Digits) -> None:
    info = digits.info()
    assert (info.name, info.official, info.synthetic, info.limit) == ("digits", True, False, None)
    assert info.classes == tuple("0123456789")
    assert digits.missing() is None


def test_another_copy_is_not_official(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = load_digits(return_X_y=True)
    images[1000, 30] = 16 - images[1000, 30] // 2
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda **_: (images, labels))
    changed = Digits(Path("nowhere")).info()
    assert not changed.official
    assert changed.fingerprint != OFFICIAL_SHA256


def test_counts_and_shapes(digits: Digits) -> None:
    for split, count in (("train", 1437), ("test", 360)):
        images, labels = everything(digits, split)
        found = digits.splits()[split]
        assert len(found) == len(images) == len(labels) == count
        assert images.shape[1:] == found.shape == (3, 32, 32)
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        parts = [block.labels for start in range(0, count, 500) for block in found.blocks(start, start + 500)]
        assert np.array_equal(np.concatenate(parts), labels)
        assert list(found.blocks(count)) == []


def test_every_class_gives_a_fifth_to_the_test(digits: Digits) -> None:
    train = np.bincount(everything(digits, "train")[1], minlength=10)
    test = np.bincount(everything(digits, "test")[1], minlength=10)
    assert np.array_equal(train + test, np.bincount(load_digits().target))
    assert np.all(np.abs(test - (train + test) / 5) < 1)


def test_every_image_is_there_once_and_can_be_inverted(digits: Digits) -> None:
    """Back to scikit-learn's 0..16 by rounding, from any of the sixteen copies of each pixel."""
    (train, train_labels), (test, test_labels) = everything(digits, "train"), everything(digits, "test")
    images, labels = np.concatenate([train, test]), np.concatenate([train_labels, test_labels])
    assert np.array_equal(images, images[:, :1, ::4, ::4].repeat(3, 1).repeat(4, 2).repeat(4, 3))
    small = np.rint(images[:, 0, ::4, ::4] * (16 / 255)).astype(int)
    original = load_digits()
    mine = sorted((*image.ravel(), label) for image, label in zip(small, labels, strict=True))
    theirs = sorted(
        (*map(int, image.ravel()), label) for image, label in zip(original.images, original.target, strict=True)
    )
    assert mine == theirs
    assert (images.min(), images.max()) == (0, 255)


def test_the_split_keeps_the_order_and_is_always_the_same(digits: Digits) -> None:
    again = Digits(Path("elsewhere"))
    for split in ("train", "test"):
        (images, labels), (same_images, same_labels) = everything(digits, split), everything(again, split)
        assert np.array_equal(images, same_images)
        assert np.array_equal(labels, same_labels)
        rest = iter(load_digits().target)
        assert all(label in rest for label in labels)  # a subsequence


def test_there_is_no_twin(digits: Digits) -> None:
    with pytest.raises(UsageError, match="digits is bundled"):
        digits.make_twin(1.0, lambda *_: None)
