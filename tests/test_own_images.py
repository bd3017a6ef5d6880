"""Pictures of many sizes from end to end: every format trains on the same crops, and the report names what was done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.render.language import translated
from bench.report.tables import tables
from loaders import load
from loaders.testing import RaggedSamples
from tests.command import Bench
from tests.stores import write_folder
from tests.sweeps import fork_jobs, records_in

QUICK = ("--epochs", "1", "--threads", "1", "--device", "cpu", "--image-size", "16", "--batch-size", "16")
WAYS = [
    ("filesystem",),
    ("mmap",),
    ("mmap", "--option", "encoding=jpeg"),
    ("mmap", "--workers", "2"),
    ("hdf5",),
    ("hdf5", "--option", "encoding=jpeg", "--prefetch", "2"),
    ("memory", "--option", "encoding=jpeg"),
    ("postgres",),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "my photos"
    write_folder(RaggedSamples(70, seed=21), root)
    (root / "class 1" / "notes.txt").write_text("no picture")
    return root


def test_every_format_trains_on_the_same_crops(bench: Bench, photos: Path) -> None:
    for loader, *how in WAYS:
        if load(loader).configured().unavailable():
            continue  # the contract suite says so
        done = bench("run", loader, f"folder:{photos}", *how, *QUICK)
        assert done.code == 0, done.err
    records = records_in(bench.out)
    assert len({record.epochs[0].train_loss for record in records}) == 1
    assert len({record.digest.combined for record in records if record.digest}) == 1
    for record in records:
        assert record.dataset is not None
        assert (record.config.dataset, record.dataset.shape, record.config.image_size) == ("folder:my photos", None, 16)
        assert str(photos.parent) not in record.model_dump_json()
        assert record.rates is not None
        assert (record.rates.raw is None) == bool(record.config.workers or record.config.prefetch)
    found = list(tables(records))
    (main,) = [table for table in found if table.kind == "main"]
    assert {row["dataset"].text for row in main.rows} == {"folder:my photos"}
    (of_rates,) = [table for table in found if table.kind == "rates"]
    for row in of_rates.rows:
        assert (row["efficiency"].number is None) == (row["idiom"].text == "")
    assert sum(row["efficiency"].number is not None for row in of_rates.rows) >= 4
    assert "image size 16" in translated(main.caption, "en")
    assert bench("report", str(bench.out)).code == 0
    assert "many sizes" in (bench.out / "report.html").read_text(encoding="utf-8")


def test_smaller_pictures_are_another_dataset(bench: Bench, photos: Path) -> None:
    for resize in ((), ("--resize", "16")):
        done = bench("run", "mmap", f"folder:{photos}", *resize, *QUICK)
        assert done.code == 0, done.err
    (main,) = [table for table in tables(records_in(bench.out)) if table.kind == "main"]
    assert {translated(row["dataset"].text, "en") for row in main.rows} == {
        "folder:my photos",
        "folder:my photos, short side 16",
    }


def test_preparing_tells_what_was_left_out_and_verifying_finds_it_whole(bench: Bench, photos: Path) -> None:
    broken = photos / "class 2" / "broken.png"
    broken.write_bytes(b"no picture either")
    try:
        done = bench("prepare", "mmap", f"folder:{photos}")
        assert done.code == 1
        assert "class 2/broken.png is not a readable picture (not an image that Pillow knows)" in done.err
        assert done.err.rstrip().endswith("; mend or remove it, or leave such files out by --on-corrupt skip")
        done = bench("prepare", "mmap", f"folder:{photos}", "--on-corrupt", "skip")
    finally:
        broken.unlink()
    assert done.code == 0, done.err
    assert "left out 1 files or folders that are no images by their names: class 1/notes.txt" in done.out
    assert "left out 1 files that cannot be decoded: class 2/broken.png" in done.out
    for encoding in ("raw", "jpeg"):
        assert bench("prepare", "hdf5", f"folder:{photos}", "--option", f"encoding={encoding}").code == 0
    done = bench("doctor", "--verify")
    assert done.code == 0
    assert " ".join(done.out.split()).count("samples as prepared") == 3
    (manifest,) = bench.data.glob("stores/*skip*/mmap/store.json")
    skipped = [split["skipped"] for split in json.loads(manifest.read_text())["splits"].values()]
    assert sorted(skipped) == [[], ["class 2/broken.png"]]


def test_rates_are_of_crops(bench: Bench, photos: Path) -> None:
    done = bench("rate", "mmap", f"folder:{photos}", "--image-size", "16", "--repeats", "1", "--device", "cpu")
    assert done.code == 0, done.err
    assert re.search(r"images/s, \d+\.\d\d of the plain idiom's [\d,]+ \(bench\.idioms\.mmap\)", done.out)


def test_a_sweep_over_storage_choices(
    bench: Bench, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_jobs(monkeypatch)
    for loader, *how in (("filesystem",), ("mmap",), ("mmap", "--resize", "16")):  # here, where torch is imported
        assert bench("prepare", loader, f"folder:{photos}", *how).code == 0
    config = tmp_path / "own.toml"
    config.write_text(
        'name = "own"\nprocess = "shared"\n'
        "[run]\nepochs = 1\nthreads = 1\nimage_size = 16\nceiling_steps = 2\nrate_batches = 2\n"
        f'[[matrix]]\nloader = ["filesystem", "mmap", "gpu_mmap"]\ndataset = "folder:{photos}"\nskip_unfitting = true\n'
        f'[[matrix]]\nloader = "mmap"\ndataset = "folder:{photos}"\nsource = {{ resize = 16 }}\n'
    )
    out = tmp_path / "swept"
    done = bench("sweep", str(config), "--dry-run", "--out", str(out))
    assert done.code == 0, done.err
    done = bench("sweep", str(config), "--out", str(out))
    assert done.code == 0, done.err
    records = records_in(out)
    found = {(r.loader.name, r.dataset.resize): r.status for r in records if r.dataset}
    there = load("gpu_mmap").configured().unavailable() is None
    assert found == {
        ("filesystem", None): "ok",
        ("mmap", None): "ok",
        ("gpu_mmap", None): "ok" if there else "unavailable",
        ("mmap", 16): "ok",
    }
    assert bench("sweep", str(config), "--out", str(out)).code == 0  # nothing is left to do


def test_wrong_use(bench: Bench) -> None:
    for arguments, message in (
        (("run", "mmap", "digits", "--image-size", "16"), "the images of digits have one size"),
        (("prepare", "mmap", "digits", "--resize", "16"), "digits comes in one form"),
        (("run", "mmap", "folder:"), "names no folder"),
    ):
        done = bench(*arguments)
        assert done.code == 2, arguments
        assert message in done.err
    assert bench("prepare", "mmap", "digits", "--option", "scaled=true").code == 0
