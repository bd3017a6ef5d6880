"""The benchmark of ten million images, with fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.run import scale
from loaders import load
from loaders.formats.mmap import MmapFormat
from loaders.testing import open_store


@pytest.mark.parametrize("case", scale.CASES, ids=lambda case: case.what)
def test_a_simulated_store_is_one(case: scale.Case, tmp_path: Path) -> None:
    location = scale.simulate(case, tmp_path / "store", 3000)
    with open_store(load(case.loader), location, "train", size=8 if case.ragged else None) as dataset:
        assert len(dataset) == 3000
        if case.data is not None:
            images, labels = dataset.batch([0, 2999, 1234])
            assert not images.any()
            assert labels.tolist() == [0, 0, 0]


def test_it_prints_and_judges(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = scale.main(2000, 500, 2, tmp_path)
    lines = capfd.readouterr().out.splitlines()
    assert code in (0, 1)  # so few images say nothing
    assert sum("2,000 images open in" in line for line in lines) == len(scale.CASES)
    assert sum("of the speed with 500 images" in line for line in lines) == 2 * (len(scale.CASES) - 1)
    assert list(tmp_path.iterdir()) == []


def test_a_split_larger_than_the_memory_is_read_without_its_neighbours(tmp_path: Path) -> None:
    for count, scattered in ((3000, False), (10**8, True)):  # 1.2 TB, but for the holes
        location = tmp_path / str(count)
        case = scale.CASES[0]
        store = scale.simulate(case._replace(enlarge=lambda place, _: scale._flat(place, 3000)), location, 3000)
        with (store / "train.pixels").open("r+b") as file:
            file.truncate(count * scale.IMAGE_BYTES)
        dataset = open_store(MmapFormat, store, "train")
        assert dataset._scattered() is scattered
        assert open_store(MmapFormat, store, "train", {"readahead": "on"})._scattered() is False
        assert open_store(MmapFormat, store, "train", {"readahead": "off"})._scattered() is True
