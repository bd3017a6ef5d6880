"""The library's short way: any PyTorch dataset goes in, and comes out of every tool of PyTorch's as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data.distributed import DistributedSampler

import loaders
from loaders import LoaderError, OptionError, StoreError
from loaders.testing import RaggedSamples
from tests.stores import write_folder

FORMATS = ["filesystem", "mmap", "hdf5", "postgres", "memory"]


class Pictures(Dataset[tuple[Any, int]]):
    """Samples as one kind of object."""

    classes = tuple(f"class {i}" for i in range(7))

    def __init__(self, images: list[Any], labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index], self.labels[index]


RANDOM = np.random.default_rng(0)
ARRAYS = [RANDOM.integers(0, 256, (12, 10, 3), np.uint8) for _ in range(150)]
LABELS = RANDOM.integers(0, 7, 150).tolist()
EXPECTED = torch.from_numpy(np.stack(ARRAYS).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("loader", FORMATS)
def test_any_format_takes_any_dataset(loader: str, tmp_path: Path) -> None:
    if reason := loaders.load(loader).configured().unavailable():
        pytest.skip(f"{loader}: {reason}")
    data = Pictures([Image.fromarray(array) for array in ARRAYS], LABELS)
    info = loaders.prepare({"train": data, "test": Pictures(data.images[:9], LABELS[:9])}, loader, tmp_path / "store")
    assert info.dataset.classes == tuple(Pictures.classes)
    with loaders.open_dataset(tmp_path / "store") as dataset:
        images, labels = dataset.batch(range(150))
        assert torch.equal(images, EXPECTED)
        assert labels.tolist() == LABELS
    with loaders.open_dataset(tmp_path / "store", "test") as dataset:
        assert len(dataset) == 9


@pytest.mark.parametrize("kind", ["tensor", "array", "pil", "numpy label", "tensor label"])
def test_every_kind_of_sample(kind: str, tmp_path: Path) -> None:
    images: list[Any] = list(ARRAYS)
    labels: list[Any] = list(LABELS)
    if kind == "tensor":
        images = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]
    elif kind == "pil":
        images = [Image.fromarray(array) for array in ARRAYS]
    elif kind == "numpy label":
        labels = list(np.array(LABELS))
    elif kind == "tensor label":
        labels = list(torch.tensor(LABELS))
    loaders.prepare(Pictures(images, labels), "memory", tmp_path / "store", workers=2 if kind == "pil" else 0)
    with loaders.open_dataset(tmp_path / "store") as dataset:
        assert torch.equal(dataset.batch(range(150)).images, EXPECTED)


def test_grey_images_keep_one_channel(tmp_path: Path) -> None:
    data = TensorDataset(torch.arange(4 * 15, dtype=torch.uint8).view(4, 1, 3, 5), torch.tensor([0, 1, 0, 1]))
    loaders.prepare(data, "mmap", tmp_path / "store", classes=2)
    with loaders.open_dataset(tmp_path / "store") as dataset:
        assert torch.equal(dataset.batch(range(4)).images, data.tensors[0])


def test_torchvision_s_own(tmp_path: Path) -> None:
    from torchvision.datasets import FakeData, ImageFolder

    loaders.prepare(FakeData(20, (3, 16, 16), 5), "hdf5", tmp_path / "fake", classes=5)
    with loaders.open_dataset(tmp_path / "fake") as dataset:
        assert len(dataset) == 20
    samples = RaggedSamples(30, seed=5)
    write_folder(samples, tmp_path / "photos")
    folder = ImageFolder(str(tmp_path / "photos"))
    info = loaders.prepare(folder, "mmap", tmp_path / "store")
    assert info.splits["train"].shape is None
    assert info.dataset.classes == tuple(folder.classes)
    with loaders.open_dataset(tmp_path / "store", size=24) as dataset:
        images, labels = dataset.whole(range(30))
        assert labels.tolist() == folder.targets
        for image, (theirs, _) in zip(images, folder, strict=True):
            assert np.array_equal(image, np.asarray(theirs))
        assert dataset.batch([3, 4]).images.shape == (2, 3, 24, 24)


def test_what_cannot_be_stored_is_a_sentence(tmp_path: Path) -> None:
    floats = [array.astype(np.float32) for array in ARRAYS]
    with pytest.raises(LoaderError, match=r"float32.*leave out transforms that make floats"):
        loaders.prepare(Pictures(floats, LABELS), "mmap", tmp_path / "store")
    texts: Any = ["one"] * 150
    with pytest.raises(LoaderError, match=r"label of sample 0 of the train split is 'one', no integer"):
        loaders.prepare(Pictures(list(ARRAYS), texts), "mmap", tmp_path / "store")
    odd = [*ARRAYS[:149], ARRAYS[0][:5]]
    with pytest.raises(LoaderError, match=r"sample 149 of the train split is .* say ragged=True"):
        loaders.prepare(Pictures(odd, LABELS), "mmap", tmp_path / "store", ragged=False)
    with pytest.raises(OptionError, match=r"does not say its classes"):
        loaders.prepare(TensorDataset(EXPECTED, torch.tensor(LABELS)), "mmap", tmp_path / "store")

    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    with pytest.raises(OptionError, match="has no length; give a map-style dataset"):
        loaders.prepare(Endless(), "mmap", tmp_path / "store", classes=1)
    with pytest.raises(OptionError, match="no split"):
        loaders.prepare({}, "mmap", tmp_path / "store")
    with pytest.raises(OptionError, match="workers must be at least 0, not -1"):
        loaders.prepare(Pictures(list(ARRAYS), LABELS), "mmap", tmp_path / "store", workers=-1)
    with pytest.raises(OptionError, match="has no option 'speed'"):
        loaders.prepare(Pictures(list(ARRAYS), LABELS), "mmap", tmp_path / "store", speed=2)
    with pytest.raises(StoreError, match="no prepared store"):
        loaders.open_dataset(tmp_path / "store")
    assert list(tmp_path.glob("*/*")) == []


def test_a_split_s_name_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    data = Pictures(list(ARRAYS), LABELS)
    names: list[Any] = ["..", ".", "a/b", "/root", "", 3, None, "x" * 300, "tr\nain", "train.labels", "ž"]
    for name in names:
        with pytest.raises(OptionError) as caught:
            loaders.prepare({"train": data, name: data}, "mmap", tmp_path / "in" / "store")
        assert "cannot name a split; give 1 to 40 of" in str(caught.value)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
        assert list(tmp_path.iterdir()) == [], name


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "store"
    loaders.prepare(Pictures(list(ARRAYS), LABELS), "mmap", path)
    return path


def test_samplers_of_pytorch(store: Path) -> None:
    with loaders.open_dataset(store) as dataset:
        weights = [1.0 if label == 3 else 0.0 for label in LABELS]
        weighted = WeightedRandomSampler(weights, 40, generator=torch.Generator().manual_seed(0))
        labels = torch.cat([batch.labels for batch in DataLoader(dataset, batch_size=16, sampler=weighted)])
        assert labels.tolist() == [3] * 40
        parts = [
            [
                batch.labels
                for batch in DataLoader(dataset, 32, sampler=DistributedSampler(dataset, 3, rank, shuffle=False))
            ]
            for rank in range(3)
        ]
        seen = torch.stack([torch.cat(part) for part in parts], 1).flatten()
        assert seen.tolist() == LABELS


@pytest.mark.parametrize("how", [{}, {"prefetch": 2}, {"workers": 2}])
def test_the_fast_path_gives_each_sample_once_an_epoch(store: Path, how: dict[str, Any]) -> None:
    with loaders.open_dataset(store) as dataset, loaders.make_loader(dataset, 32, **how) as batches:
        assert len(batches) == 5
        epochs = [torch.cat([batch.images for batch in batches]) for _ in range(2)]
        assert not torch.equal(epochs[0], epochs[1])
        for images in epochs:
            assert sorted(image.numpy().tobytes() for image in images) == sorted(a.numpy().tobytes() for a in EXPECTED)
        batches.epoch = 0
        assert torch.equal(torch.cat([batch.images for batch in batches]), epochs[0])


def test_the_fast_path_in_order_and_without_a_rest(store: Path) -> None:
    with loaders.open_dataset(store) as dataset:
        with loaders.make_loader(dataset, 32, train=False) as batches:
            assert torch.equal(torch.cat([batch.images for batch in batches]), EXPECTED)
        with loaders.make_loader(dataset, 32, drop_last=True) as batches:
            assert [len(batch.labels) for batch in batches] == [32] * 4 == [32] * len(batches)
        with pytest.raises(OptionError, match="batch_size must be at least 1"):
            loaders.make_loader(dataset, 0)


def test_the_fast_path_crops_at_random(tmp_path: Path) -> None:
    samples = RaggedSamples(30, "raw", seed=6)
    data = Pictures(list(samples.images), samples.labels.tolist())
    loaders.prepare(data, "mmap", tmp_path / "store")
    with loaders.open_dataset(tmp_path / "store", size=16) as dataset:
        with loaders.make_loader(dataset, 30, seed=4) as batches:
            first, second = (next(iter(batches)) for _ in range(2))
        order = np.random.default_rng((4, 0)).permutation(30).tolist()
        assert torch.equal(first.images, samples.expect(order, 4, 0, True, 16)[0])
        assert not torch.equal(first.images, second.images)
        with loaders.make_loader(dataset, 30, train=False, size=20) as batches:
            (batch,) = batches
        assert torch.equal(batch.images, samples.expect(list(range(30)), size=20)[0])


def test_public_names_exist() -> None:
    assert len(set(loaders.__all__)) == len(loaders.__all__)
    assert loaders.__all__ == sorted(loaders.__all__)
    for name in loaders.__all__:
        assert getattr(loaders, name).__doc__
