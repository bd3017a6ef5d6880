"""HDF5: every layout gives the source's samples, lies as documented, and is refused when damaged."""

from __future__ import annotations

import fcntl
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.idioms.hdf5 import idiom
from loaders import DecodeError, OptionError, StoreDataset, StoreError, StoreInfo, parse_options, read_manifest
from loaders.formats.hdf5.format import FILE, Hdf5Format
from loaders.formats.hdf5.options import Hdf5Options
from loaders.store.manifest import write_manifest
from loaders.testing import INFO, SIZE, Breaking, Samples, assert_same, in_fork, make_splits
from tests.stores import open_store, store_samples

COUNT = 41
SHAPE = (3, 16, 12)
RAW = {"train": Samples(COUNT, SHAPE, seed=1), "test": Samples(13, SHAPE, seed=2)}
JPEG = {"train": Samples(COUNT, SHAPE, "jpeg", seed=1), "test": Samples(13, SHAPE, "jpeg", seed=2)}
# What test_loaders does not cover: each compression of each element, in chunks of one, of some and of all images.
LAYOUTS: list[dict[str, Any]] = [
    {"element": "pixel", "access": "mapped"},
    {"layout": "chunked", "chunk_rows": 5, "cache_mb": 1},
    *(
        {"layout": "chunked", "element": element, "compression": compression, "chunk_rows": rows}
        for element in ("image", "pixel")
        for compression in ("none", "lzf", "gzip")
        for rows in (1, 7, 64)
    ),
]
KINDS: list[dict[str, Any]] = [
    {},
    {"element": "pixel"},
    {"element": "pixel", "layout": "chunked", "chunk_rows": 4},
    {"layout": "chunked", "chunk_rows": 4, "compression": "gzip"},
    {"encoding": "jpeg"},
    {"encoding": "jpeg", "access": "mapped"},
]


def name(options: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in options.items()) or "default"


def source(options: dict[str, Any]) -> dict[str, Samples]:
    return JPEG if options.get("encoding") == "jpeg" else RAW


def prepared(folder: Path, options: dict[str, Any]) -> Path:
    location = folder / name(options)
    store_samples(Hdf5Format, dict(source(options)), location, Hdf5Options(**options), dataset=INFO)
    return location


def opened(location: Path, options: dict[str, Any], split: str = "train") -> StoreDataset:
    return open_store(Hdf5Format, location, split, options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of each kind, never changed."""
    folder = tmp_path_factory.mktemp("hdf5")
    for options in KINDS:
        prepared(folder, options)
    return folder


def test_every_layout_gives_the_source_s_samples(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for options in LAYOUTS:
        location = prepared(tmp_path, options)
        with opened(location, options) as train, opened(location, options, "test") as test:
            for dataset, samples in ((train, RAW["train"]), (test, RAW["test"])):
                for indices in (random.permutation(len(samples)), random.integers(0, len(samples), 30)):
                    assert_same(dataset.batch(indices), samples.expect(indices.tolist()))
        names = sorted(path.name for path in location.iterdir())
        assert names == [FILE, "store.json", "test.checksums", "train.checksums"], options
        first = Hdf5Options(**options)
        assert Hdf5Options(**first.public()) == first


def test_one_channel(tmp_path: Path) -> None:
    grey = Samples(COUNT, (1, 8, 8))
    store_samples(Hdf5Format, {"train": grey}, tmp_path / "store", dataset=INFO)
    with opened(tmp_path / "store", {}) as dataset:
        assert_same(dataset.batch([3, 1]), grey.expect([3, 1]))


@settings(deadline=None, max_examples=40, database=None)
@given(indices=st.lists(st.integers(-COUNT, COUNT - 1), max_size=60))
def test_keeps_any_order_and_duplicates(stores: Path, indices: list[int]) -> None:
    for options in KINDS:
        with opened(stores / name(options), options) as dataset:
            assert_same(dataset.batch(indices), source(options)["train"].expect(indices))


def test_options_that_make_no_sense_together() -> None:
    for options, message in (
        ({"compression": "gzip"}, "compression=gzip needs chunks; add layout=chunked"),
        ({"chunk_rows": "16"}, "chunk_rows=16 needs chunks; add layout=chunked"),
        ({"cache_mb": 8}, "cache_mb=8 is for chunks; add layout=chunked"),
        ({"layout": "chunked", "access": "mapped"}, "access=mapped needs the pixels in one piece; use layout=contig"),
        ({"layout": "chunked", "encoding": "jpeg"}, "encoding=jpeg is stored without chunks; use layout=contiguous"),
        ({"element": "pixel", "encoding": "jpeg"}, "element=pixel is about decoded pixels; use encoding=raw"),
        ({"layout": "tiled"}, "option 'layout' of loader hdf5: .*'contiguous' or 'chunked'"),
        ({"layout": "chunked", "chunk_rows": 0}, "option 'chunk_rows' of loader hdf5"),
        ({"chunks": 3}, "has no option 'chunks'; it has: .*chunk_rows"),
    ):
        with pytest.raises(OptionError, match=message):
            parse_options(Hdf5Options, options, "hdf5")


def test_chunks_that_hdf5_cannot_have(tmp_path: Path) -> None:
    options = {"layout": "chunked", "chunk_rows": 10_000_000}
    with pytest.raises(OptionError, match="chunk_rows=10000000 makes chunks of 5493 MiB; use fewer"):
        prepared(tmp_path, options)


def test_chunk_cache() -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"layout": "chunked", "chunk_rows": 16}, 0),
        ({"layout": "chunked", "compression": "gzip"}, 0),
        ({"layout": "chunked", "compression": "gzip", "chunk_rows": 16}, 64 << 20),
        ({"layout": "chunked", "chunk_rows": 16, "cache_mb": 3}, 3 << 20),
        ({"layout": "chunked", "compression": "gzip", "chunk_rows": 16, "cache_mb": 0}, 0),
    ]
    for options, expected in cases:
        assert Hdf5Options(**options).cache_bytes() == expected, options


def test_plain_h5py_reads_the_file(stores: Path) -> None:
    expected = RAW["train"]
    for options in KINDS[:4]:
        with h5py.File(stores / name(options) / FILE) as file:
            images = file["train/images"]
            assert images.chunks == (None if "layout" not in options else (4, *images.shape[1:]))
            assert images.compression == options.get("compression")
            assert images.shape == ((COUNT, *SHAPE) if options.get("element") == "pixel" else (COUNT,))
            assert np.array_equal(images[:], expected.images)
            assert np.array_equal(images[5], expected.images[5])
            assert np.array_equal(file["train/labels"][:], expected.labels)
            assert file["test/labels"].shape == (13,)
    with h5py.File(stores / name({"encoding": "jpeg"}) / FILE) as file:
        offsets = file["train/offsets"][:]
        files = JPEG["train"].files
        assert files is not None
        assert [file["train/jpeg"][a:b].tobytes() for a, b in itertools.pairwise(offsets)] == files


def test_mapped_keeps_no_hdf5_file_open(stores: Path) -> None:
    def files() -> int:
        count: int = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
        return count

    before = files()
    with opened(stores / "default", {"access": "mapped"}) as dataset:
        assert_same(dataset.batch([4, 4, 2]), RAW["train"].expect([4, 4, 2]))
        assert files() == before
    with opened(stores / "default", {}) as dataset:
        dataset.batch([0])
        assert files() == before + 1
    assert files() == before


def test_another_s_lock_does_not_matter(stores: Path) -> None:
    path = stores / "default" / FILE
    with path.open("r+b") as other, opened(stores / "default", {}) as dataset:
        fcntl.flock(other, fcntl.LOCK_EX)
        dataset.close()
        assert_same(dataset.batch([1]), RAW["train"].expect([1]))


@pytest.mark.parametrize("options", [KINDS[0], *KINDS[3:5]], ids=name)
def test_a_disk_that_takes_no_more(tmp_path: Path, options: dict[str, Any]) -> None:
    """HDF5 by itself crashes the process some time after it could not write its buffers."""

    def child() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for limit in (0, 50, 1000, 3000, 10_000, 20_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises((OSError, StoreError), match="File too large"):
                prepared(tmp_path, options)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        with opened(prepared(tmp_path, options), options) as dataset:
            assert_same(dataset.batch([5, 0]), source(options)["train"].expect([5, 0]))

    assert in_fork(child) == 0


@pytest.mark.parametrize("damage", ["nonsense", "no group", "other shape", "other type", "no labels"])
def test_refuses_a_foreign_file(tmp_path: Path, damage: str) -> None:
    for options in ({}, {"access": "mapped"}, {"encoding": "jpeg"}):
        refuse_a_foreign_file(prepared(tmp_path, options), options, damage)


def refuse_a_foreign_file(location: Path, options: dict[str, Any], damage: str) -> None:
    path = location / FILE
    size = path.stat().st_size
    data = "train/jpeg" if "encoding" in options else "train/images"
    if damage == "nonsense":
        path.write_bytes(bytes(size))
    else:
        with h5py.File(path, "r+") as file:
            if damage == "no group":
                del file["train"]
            elif damage == "no labels":
                del file["train/labels"]
            else:
                del file[data]
                file.create_dataset(data, (5,) if damage == "other shape" else (COUNT,), np.float32)
        info = read_manifest(location)
        write_manifest(info.model_copy(update={"files": {**info.files, FILE: path.stat().st_size}}), location)
    with pytest.raises(StoreError, match="prepare it again") as caught:
        opened(location, options).open()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def overwrite(path: Path, old: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, bytes(len(old))))


@pytest.mark.parametrize("access", ["api", "mapped"])
def test_a_file_that_another_program_writes_is_not_to_be_removed(tmp_path: Path, access: str) -> None:
    location = prepared(tmp_path, {})
    program = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); input()"
    command = [sys.executable, "-c", program, str(location / FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            with pytest.raises(StoreError, match="another program has it open for writing; wait for that") as caught:
                opened(location, {"access": access}).open()
            assert "remove" not in str(caught.value)
        finally:
            other.kill()
    with pytest.raises(
        StoreError, match=r"or was killed while it wrote to it; close .*, or remove .* prepare it again"
    ):
        opened(location, {"access": access}).open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_file_that_may_not_be_read_is_not_to_be_removed() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        location = prepared(Path(place), {})
        (location / FILE).chmod(0)

        def work() -> None:
            os.seteuid(65534)
            with pytest.raises(StoreError, match="make it readable") as caught:
                opened(location, {}).open()
            assert "remove" not in str(caught.value)

        assert in_fork(work) == 0


def test_a_damaged_chunk_is_refused_when_it_is_read(tmp_path: Path) -> None:
    options = {"layout": "chunked", "compression": "gzip"}
    location = prepared(tmp_path, options)
    with h5py.File(location / FILE) as file:
        chunk = file["train/images"].id.read_direct_chunk((9,))[1]
    overwrite(location / FILE, chunk)
    with opened(location, options) as dataset:
        assert_same(dataset.batch([8, 10]), RAW["train"].expect([8, 10]))
        with pytest.raises(StoreError, match=r"cannot read .*images\.h5: .*prepare it again"):
            dataset.batch([8, 9, 10])


def test_a_damaged_jpeg_is_named(tmp_path: Path) -> None:
    location = prepared(tmp_path, {"encoding": "jpeg"})
    assert JPEG["train"].files is not None
    overwrite(location / FILE, JPEG["train"].files[9])
    for access in ("api", "mapped"):
        with opened(location, {"encoding": "jpeg", "access": access}) as dataset:
            assert_same(dataset.batch([8, 10]), JPEG["train"].expect([8, 10]))
            with pytest.raises(DecodeError, match=r"image 9 of the train split in .*not a readable JPEG.*prepare it"):
                dataset.batch([8, 9, 10])


def test_the_idiom_gives_the_same(stores: Path) -> None:
    batches = [np.array([7, 3, 3, 40, 0, 7]), np.arange(COUNT)[::-1], np.array([5])]
    for options in KINDS:
        samples = source(options)["train"]
        with opened(stores / name(options), options) as dataset, idiom(dataset) as read:
            for indices in batches:
                images, labels = read(indices)
                expected = samples.expect(indices.tolist())
                pixels = images.transpose(0, 3, 1, 2) if "encoding" in options else images
                assert np.array_equal(pixels, expected[0]), options
                assert np.array_equal(labels, expected[1]), options
                images[:] = 0
            assert_same(dataset.batch([7]), samples.expect([7]))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["jpeg", "ragged-raw"])
def test_killed_at_its_end_it_resumes_or_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["jpeg", "ragged-raw"], when: str
) -> None:
    """It resumes from a whole spool, and without one begins anew."""
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    samples = make_splits(kind)
    options = Hdf5Format.Options.model_validate({"encoding": "jpeg"} if kind == "jpeg" else {})

    def prepare() -> StoreInfo:
        return store_samples(Hdf5Format, samples, tmp_path / "store", options, dataset=INFO)

    def killed() -> None:
        remove = shutil.rmtree

        def die(path: Any, **how: Any) -> None:
            if Path(path).name == "spool":
                if when == "after":
                    remove(path, **how)
                os.kill(os.getpid(), signal.SIGKILL)
            remove(path, **how)

        shutil.rmtree = die  # type: ignore[assignment]
        prepare()

    assert in_fork(killed) == -signal.SIGKILL
    assert (tmp_path / ".store.partial" / FILE).exists()
    info = prepare()
    assert info.attempts == (2 if when == "before" else 1)
    with open_store(Hdf5Format, tmp_path / "store", "train", options, size=SIZE if kind != "jpeg" else None) as dataset:
        assert_same(dataset.batch(list(range(41))), samples["train"].expect(list(range(41))))


def test_a_spool_that_is_gone_is_a_stale_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    samples = make_splits("ragged")
    breaking = {**samples, "train": Breaking(samples["train"], lambda: os.kill(os.getpid(), signal.SIGKILL))}

    def killed() -> None:
        store_samples(Hdf5Format, breaking, tmp_path / "store", dataset=INFO)

    assert in_fork(killed) == -signal.SIGKILL
    shutil.rmtree(tmp_path / ".store.partial" / "spool")
    assert store_samples(Hdf5Format, samples, tmp_path / "store", dataset=INFO).attempts == 1
