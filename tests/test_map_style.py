"""What cannot be stored of somebody's own dataset is one sentence with the sample's index and split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import loaders
from loaders import LoaderError, OptionError
from loaders.reading.map_style import class_names

IMAGE = np.full((8, 6, 3), 7, np.uint8)


class Own(Dataset[Any]):
    """100 good samples but for one."""

    classes: Any = ("a", "b")

    def __init__(self, odd: int | None = None, item: Any = None, length: Any = 100) -> None:
        self.odd, self.item, self.length = odd, item, length

    def __len__(self) -> Any:
        return self.length() if callable(self.length) else self.length

    def __getitem__(self, index: int) -> Any:
        if index == self.odd:
            return self.item() if callable(self.item) else self.item
        return [IMAGE, None][index >= 100], index % 2


def fails(error: Exception) -> Callable[[], Any]:
    def give() -> Any:
        raise error

    return give


def sentence(data: Any, tmp_path: Path, **how: Any) -> str:
    with pytest.raises(LoaderError) as caught:
        loaders.prepare(data, "mmap", tmp_path / "store", **how)
    assert list(tmp_path.glob("store*/*")) == []
    text = str(caught.value)
    assert "\n" not in text
    return text


ITEMS: list[tuple[Any, str]] = [
    ({"image": IMAGE, "label": 0}, "is a dict, not (image, label)"),
    (None, "is None, not (image, label)"),
    ((IMAGE, 0, 0), "is a tuple of 3, not (image, label)"),
    ("ab", "is 'ab', not (image, label)"),
    ((IMAGE, torch.tensor([0, 1])), "is an array of shape (2,), no integer; give the number of its class"),
    ((IMAGE, [0, 1]), "is a list of 2, no integer"),
    ((IMAGE, 1.0), "is 1.0, no integer"),
    ((IMAGE, None), "is None, no integer"),
    ((IMAGE, 2), "is 2, outside 0..1"),
    ((IMAGE, -1), "is -1, outside 0..1"),
    ((IMAGE, 2**70), f"is {2**70}, outside 0..1"),
    ((IMAGE[:0], 0), "has no pixels, (0, 6, 3)"),
    ((IMAGE / 255, 0), "is float64 (8, 6, 3), not uint8"),
    ((torch.zeros(3, 8, 6, requires_grad=True), 0), "is float32 (8, 6, 3), not uint8"),
    ((IMAGE.astype(np.uint16), 0), "is uint16 (8, 6, 3), not uint8"),
    ((IMAGE.ravel(), 0), "is uint8 (144,), not uint8 of three dimensions"),
    ((None, 0), "is object (), not uint8"),
    (([[1], [1, 2]], 0), "cannot be read (ValueError: "),
    (fails(KeyError("cat")), "cannot be read (KeyError: 'cat'); fix it or leave it out"),
    (fails(OSError("two\nlines")), "cannot be read (OSError: two lines); fix it"),
    (fails(LoaderError("of another store")), "cannot be read (LoaderError: of another store); fix it"),
]


@pytest.mark.parametrize(("index", "how"), [(0, {}), (77, {}), (77, {"ragged": True})], ids=str)
def test_an_odd_sample_is_named(index: int, how: dict[str, Any], tmp_path: Path) -> None:
    for item, words in ITEMS:
        text = sentence({"train": Own(), "test": Own(index, item)}, tmp_path, **how)
        assert f"sample {index} of the test split {words}" in text
        assert "; " in text  # a remedy


@pytest.mark.parametrize(("item", "words"), [ITEMS[4], ITEMS[18], ITEMS[20]], ids=["label", "KeyError", "LoaderError"])
def test_worker_processes_say_the_same_and_end(item: Any, words: str, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    assert f"sample 77 of the train split {words}" in sentence(Own(77, item), tmp_path, workers=2, ragged=False)
    assert {child.pid for child in psutil.Process().children()} == before


def test_a_lost_worker_is_told(tmp_path: Path) -> None:
    text = sentence(Own(77, lambda: __import__("os")._exit(1)), tmp_path, workers=1, ragged=False)
    assert "a worker process was lost" in text


def test_channels_that_differ(tmp_path: Path) -> None:
    for channels in (2, 4):
        odd = Own(77, (np.zeros((8, 6, channels), np.uint8), 0))
        assert "is (8, 6, 3); give all images as many channels" in sentence(odd, tmp_path, ragged=False)
        text = sentence(odd, tmp_path, ragged=True)
        assert f"the image of sample 77 of the train split has {channels} channels" in text
    text = sentence(Own(77, (np.zeros((8, 6), np.uint8), 0)), tmp_path, ragged=False)
    assert "sample 77 of the train split is (8, 6, 1) where the first is (8, 6, 3); say ragged=True" in text


def test_one_number_of_any_type_is_a_label(tmp_path: Path) -> None:
    for label in (1, True, np.bool_(True), np.int8(1), np.array([1]), torch.tensor(1), torch.tensor([[1]])):
        loaders.prepare(Own(4, (IMAGE, label)), "mmap", tmp_path / "store")
        with loaders.open_dataset(tmp_path / "store") as dataset:
            assert dataset.batch([3, 4, 5]).labels.tolist() == [1, 1, 1], repr(label)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:1000])
    with Image.open(tmp_path / "cut.jpg") as picture:
        text = sentence(Own(5, (picture, 0)), tmp_path, ragged=True)
    assert "sample 5 of the train split cannot be read (OSError: image file is truncated" in text


def test_lengths_that_lie(tmp_path: Path) -> None:
    assert "sample 100 of the train split is float64" not in sentence(Own(length=150), tmp_path, ragged=False)
    assert "sample 100 of the train split is object ()" in sentence(Own(length=150), tmp_path, ragged=False)
    for length in (-3, "many", fails(RuntimeError("not yet"))):
        assert "Own of the train split does not say its length (" in sentence(Own(length=length), tmp_path)
    assert "the source has no train samples" in sentence(Own(length=0), tmp_path)
    assert "the source has no test samples" in sentence({"train": Own(), "test": Own(length=0)}, tmp_path)

    class Stream(IterableDataset[Any]):
        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Any:
            return iter(())

    assert "Stream of the train split has no length; give a map-style" in sentence(Stream(), tmp_path, classes=2)


def test_classes_that_are_none(tmp_path: Path) -> None:
    bad: list[Any] = [0, -1, True, 10**9, 2.5, "ab", b"ab", [], {}]
    for classes in bad:
        with pytest.raises(OptionError, match=r"class.*; give (a list of )?their names,? or"):
            loaders.prepare(Own(), "mmap", tmp_path / "store", classes=classes)


def test_classes_of_any_kind() -> None:
    assert class_names({}, 3) == class_names({}, np.int64(3)) == class_names({}, range(3)) == ("0", "1", "2")  # type: ignore[arg-type]
    assert class_names({"train": Own()}, None) == ("a", "b")
    assert class_names({}, np.array(["a", "b"])) == ("a", "b")  # type: ignore[arg-type]
    assert class_names({}, [("tench", "Tinca"), "cat"]) == ("tench Tinca", "cat")  # type: ignore[list-item]


def test_splits_whose_labels_mean_other_classes_are_refused(tmp_path: Path) -> None:
    other, silent = Own(), Own()
    other.classes, silent.classes = ["b", "a"], None
    assert "the train and test splits have different classes" in sentence({"train": Own(), "test": other}, tmp_path)
    found = loaders.prepare({"train": Own(), "x": silent, "test": other}, "mmap", tmp_path / "s", classes=["a", "b"])
    assert found.dataset.classes == ("a", "b")
    assert class_names({"train": silent, "test": other}, None) == ("b", "a")
