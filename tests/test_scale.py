"""The benchmark of ten million images, with fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders import open_dataset
from loaders.formats.mmap import MmapFormat
from tests import scale


def test_simulated_stores_are_stores(tmp_path: Path) -> None:
    for case in scale.CASES:
        location = scale.simulate(case, tmp_path / case.what, 3000)
        with open_dataset(location, size=8 if case.ragged else None) as dataset:
            assert len(dataset) == 3000, case.what
            if case.data is not None:
                images, labels = dataset.batch([0, 2999, 1234])
                assert not images.any(), case.what
                assert labels.tolist() == [0, 0, 0], case.what


def test_it_prints_and_judges(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "CASES", [scale.CASES[0], scale.CASES[-1]])  # each case starts a process
    code = scale.main(2000, 500, 2, tmp_path)
    lines = capfd.readouterr().out.splitlines()
    assert code in (0, 1)  # so few images say nothing
    assert sum("2,000 images open in" in line for line in lines) == 2
    assert sum("of the speed with 500 images" in line for line in lines) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_split_larger_than_the_memory_is_read_without_its_neighbours(tmp_path: Path) -> None:
    location = scale.simulate(scale.CASES[0], tmp_path / "store", 3000)
    for count, scattered in ((3000, False), (10**8, True)):  # 1.2 TB, but for the holes
        with (location / "train.pixels").open("r+b") as file:
            file.truncate(count * scale.IMAGE_BYTES)
        for options, expected in (({}, scattered), ({"readahead": "on"}, False), ({"readahead": "off"}, True)):
            format_ = MmapFormat.configured(options)
            assert format_._scattered(location / "train.pixels") is expected, (count, options)
