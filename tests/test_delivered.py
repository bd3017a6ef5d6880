"""No loader gives wrong data, or breaks, without being named for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.config import RateConfig, RunConfig
from bench.records import Record
from bench.run.delivered import check_samples
from bench.run.draft import RunFailedError
from bench.run.runner import rate, run
from bench.run.stores import StoreSpec, silent
from bench.sources.registry import open_source
from loaders import BatchStream, Indices, LoaderFaultError, cut, load
from loaders.testing import INFO, SIZE, RaggedSamples
from tests.command import Bench
from tests.lying_loader import LyingFormat, LyingOptions
from tests.stores import open_store, store_samples
from tests.sweeps import install

SMALL: dict[str, Any] = {
    "loader": "lying",
    "dataset": "digits",
    "limit": 64,
    "batch_size": 16,
    "device": "cpu",
    "threads": 1,
}


def spec_of(folder: Path, lie: str) -> StoreSpec:
    return StoreSpec(LyingFormat, LyingOptions(lie=lie), open_source("digits", folder), 64, folder / "stores")


def do(folder: Path, lie: str, **changes: Any) -> Record:
    config = RunConfig(**{**SMALL, "epochs": 1, "ceiling_steps": 0, "rate_batches": 0, **changes})
    return run(config, spec_of(folder, lie), silent, lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def test_the_truth_passes(folder: Path) -> None:
    record = do(folder, "none", workers=2)
    assert record.status == "ok"
    assert record.digest is not None


LIES = {
    "float32": r"loader lying gave images float32 \[16, 3, 32, 32\] on cpu .* where 16 images uint8 \[3, 32, 32\]",
    "nhwc": r"gave images uint8 \[16, 32, 32, 3\]",
    "short": r"gave images uint8 \[15, 3, 32, 32\] on cpu and labels int64 \[15\]",
    "tuple": "gave a tuple, neither Rows nor Payloads",
    "int32 labels": r"and labels int32 \[16\]",
    "order": r"64 of 64 samples of the train split .* in whose place sample \d+ came: the order differs",
    "labels": r"64 of 64 .* whose label is \d instead of \d",
    "neighbour": r"6\d of 64 .* whose pixels are those of sample",
    "pixels": "64 of 64 .* whose pixels differ",
    "one": "1 of 64 samples .* the first being sample 5, whose pixels differ",
    "raise": "loader lying failed reading .* of the train split.*: KeyError: 89; this is a fault of the loader",
    "open": "loader lying failed opening its store: ZeroDivisionError: in open",
    "close": "loader lying failed closing its store: ZeroDivisionError: in close",
}


def test_wrong_data_fails_the_run(folder: Path) -> None:
    for lie, workers in [*((lie, 0) for lie in LIES), ("float32", 2), ("order", 2), ("raise", 2)]:
        with pytest.raises(RunFailedError, match=LIES[lie]) as failure:
            do(folder, lie, workers=workers)
        record = failure.value.record
        assert record.status == "failed"
        assert "loader lying" in str(record.error)
        assert "\n" not in str(record.error)


def test_a_batch_that_is_short_later_is_noticed(folder: Path) -> None:
    """Only the first batch's shape is checked while a clock runs."""
    spec = spec_of(folder, "late")
    do(folder, "none")
    batches: list[Indices] = cut(np.arange(63, -1, -1), 16)
    with (
        spec.open("train") as dataset,
        BatchStream(dataset) as stream,
        pytest.raises(LoaderFaultError, match="gave 15 images and 15 labels for 16 samples"),
    ):
        check_samples(dataset, stream, batches)


def test_a_position_shared_across_a_fork_is_noticed(folder: Path) -> None:
    """Two workers seek and read by one descriptor: each gets what the other asked for, now and then."""
    do(folder, "none")
    spec = spec_of(folder, "shared position")
    with spec.open("train") as dataset:
        dataset.batch([0])
        order = np.arange(64)
        with (
            BatchStream(dataset, workers=2) as stream,
            pytest.raises(LoaderFaultError, match=r"of the train split are"),
        ):
            for _ in range(50):
                check_samples(dataset, stream, cut(order, 4))


def test_a_rate_of_wrong_data_is_none(folder: Path) -> None:
    config = RateConfig(**SMALL, repeats=1)
    assert rate(config, spec_of(folder, "none"), silent, lambda _: None).status == "ok"
    with pytest.raises(RunFailedError, match="1 of 64 samples"):
        rate(config, spec_of(folder, "one"), silent, lambda _: None)


def test_a_loader_that_cannot_tell_whether_it_runs_is_unavailable(folder: Path) -> None:
    record = do(folder, "unavailable")
    assert record.status == "unavailable"
    assert "ZeroDivisionError: in unavailable; this is a fault of the loader" in str(record.error)


def test_a_loader_that_cannot_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for lie, message in (
        ("write", "loader lying failed writing its store: KeyError: 89"),
        ("nothing written", "did not say what it wrote, but gave None"),
        ("foreign file", r"says that it wrote '\.\./elsewhere', which is no file of its store"),
    ):
        monkeypatch.setattr(LyingFormat, "while_writing", lie)
        with pytest.raises(RunFailedError, match=message):
            do(tmp_path, "none")
        assert [path.name for path in (tmp_path / "stores" / "digits-limit64").iterdir()] == [".lying.lock"]


def test_what_the_source_raises_is_not_blamed_on_the_loader(tmp_path: Path) -> None:
    class Broken(RaggedSamples):
        def blocks(self, start: int = 0, stop: int | None = None) -> Any:
            if stop is None:
                raise KeyError("of the source")
            yield from super().blocks(start, stop)

    with pytest.raises(KeyError, match="of the source"):
        store_samples(load("mmap"), {"train": Broken(9)}, tmp_path / "store", dataset=INFO)


@pytest.mark.parametrize(
    ("loader", "options", "workers"), [("mmap", {}, 0), ("hdf5", {"encoding": "jpeg"}, 2), ("filesystem", {}, 0)]
)
def test_images_of_many_sizes_are_compared_whole(
    tmp_path: Path, loader: str, options: dict[str, Any], workers: int
) -> None:
    found = load(loader)
    samples = {"train": RaggedSamples(41, seed=1)}
    store_samples(found, samples, tmp_path / "store", found.Options.model_validate(options), dataset=INFO)
    batches = cut(np.arange(41), 8)
    with (
        open_store(found, tmp_path / "store", "train", options, size=SIZE) as dataset,
        BatchStream(dataset, workers=workers, size=SIZE) as stream,
    ):
        check_samples(dataset, stream, batches)
        path = tmp_path / "store" / "train.checksums"
        content = bytearray(path.read_bytes())
        content[12 * 30] ^= 1
        path.write_bytes(content)
        with pytest.raises(LoaderFaultError, match=r"1 of 41 .* sample 30, whose pixels differ; prepare"):
            check_samples(dataset, stream, batches)


def test_the_command_line_says_it_in_one_sentence(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "plugin", monkeypatch, lying="tests.lying_loader:LyingFormat")
    done = bench("run", "lying", "digits", "--limit", "32", "--epochs", "1", "--option", "lie=order")
    assert done.code == 1
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("bench: loader lying gave wrong data: 32 of 32 samples of the train split are not")
    (record,) = bench.out.glob("*.json")
    assert Record.model_validate_json(record.read_bytes()).status == "failed"
