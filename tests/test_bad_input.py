"""Every mistake gets one sentence with its remedy and an exit code, and leaves nothing half-accepted."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from bench.sources.registry import open_source
from tests.command import Bench, Done
from tests.forked import started
from tests.test_pgserver import wait_until


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small twin of each dataset; tests copy what they break."""
    folder = tmp_path_factory.mktemp("twins")
    for name in ("cifar10", "tiny-imagenet"):
        open_source(name, folder).make_twin(0.002, lambda *_: None)
    return folder


@pytest.fixture
def cifar(bench: Bench, twins: Path) -> Path:
    """The twin's batches, to be broken."""
    shutil.copytree(twins / "cifar10", bench.data / "cifar10")
    return bench.data / "cifar10" / "cifar-10-batches-py"


@pytest.fixture
def tiny(bench: Bench, twins: Path) -> Path:
    """The twin's tree, to be broken."""
    shutil.copytree(twins / "tiny-imagenet", bench.data / "tiny-imagenet")
    return bench.data / "tiny-imagenet" / "tiny-imagenet-200"


def stores(bench: Bench) -> list[str]:
    """What lies in the store folder, locks apart."""
    return [str(p) for p in bench.data.glob("stores/*/*") if not p.name.endswith(".lock")]


def refused(done: Done, code: int, *words: str) -> None:
    """One sentence on standard error that has these words, and no traceback."""
    sentences = [line for line in done.err.splitlines() if line.startswith("bench: ")]
    assert done.code == code, done.err
    assert len(sentences) == 1, done.err
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in sentences[0]


USAGE: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("run", "nosuch", "digits"), ("no loader is called 'nosuch'", "mmap")),
    (("run", "mmap", "nosuch"), ("no dataset is called 'nosuch'", "digits")),
    (("prepare", "mmap", "digits", "--option", "nosuch=1"), ("no option 'nosuch'", "encoding")),
    (("prepare", "mmap", "digits", "--option", "threads=many"), ("threads", "integer")),
    (("prepare", "mmap", "digits", "--option", "threads"), ("name=value",)),
    (("prepare", "mmap", "digits", "--option", "encoding=jpeg"), ("no JPEG originals", "encoding=raw")),
    (("prepare", "hdf5", "digits", "--option", "compression=gzip"), ("chunked",)),
    (("run", "gpu_mmap", "digits", "--option", "mode=mapped", "--option", "encoding=jpeg"), ("mapped",)),
    (("run", "mmap", "digits", "--batch-size", "0"), ("--batch-size",)),
    (("run", "mmap", "digits", "--limit", "0"), ("--limit",)),
    (("fetch", "cifar10", "--fraction", "0.5"), ("--synthetic",)),
    (("fetch", "cifar10", "--synthetic", "--fraction", "2"), ("raction",)),
    (("fetch", "digits", "--synthetic"), ("bundled",)),
    (("report", ".", "--format", "docx"), ("docx", "md")),
]
WORDS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("run", "mmap", "digits", "--model", "lenet"), ("bench: --model: 'lenet'", "'convnet'", "bench run --help")),
    (("run", "mmap", "digits", "--device", "tpu"), ("bench: --device: 'tpu'", "'auto', 'cpu', 'cuda'")),
    (("report", ".", "--language", "lt"), ("bench: --language: 'lt'", "'en', 'lv'", "bench report --help")),
    (("run", "mmap", "digits", "--epochs", "many"), ("bench: --epochs: ", "integer")),
    (("nosuch",), ("bench: no such command 'nosuch'", "`bench --help`")),
    (("run", "mmap"), ("bench: missing argument", "dataset", "`bench run --help`")),
    (("run", "mmap", "digits", "--bad"), ("bench: no such option: --bad",)),
    (("report", ".", "--language"), ("bench: option '--language' requires an argument",)),
    (("run", "mmap", "digits", "too", "many"), ("bench: got unexpected extra argument", "too many")),
]


def test_wrong_usage(bench: Bench) -> None:
    for arguments, words in USAGE:
        refused(bench(*arguments), 2, *words)
        assert stores(bench) == [], arguments
        assert not bench.out.exists(), arguments


def test_wrong_words_on_the_command_line(bench: Bench) -> None:
    for arguments, words in WORDS:
        refused(bench(*arguments), 2, *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none(bench: Bench) -> None:
    refused(bench("run", "mmap", "digits", "--device", "cuda"), 2, "CUDA", "--device cpu")


def test_missing_data(bench: Bench) -> None:
    for number, dataset in enumerate(("cifar10", "tiny-imagenet"), 1):
        refused(bench("prepare", "mmap", dataset), 1, f"bench fetch {dataset}")
        refused(bench("run", "mmap", dataset), 1, f"bench fetch {dataset}")
        assert [json.loads(path.read_bytes())["status"] for path in bench.out.glob("*")] == ["failed"] * number
    assert stores(bench) == []


def test_an_archive_cut_short(bench: Bench, cifar: Path) -> None:
    archive = cifar.parent / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar, cifar.name)
    shutil.rmtree(cifar)
    os.truncate(archive, archive.stat().st_size * 2 // 3)
    refused(bench("prepare", "mmap", "cifar10"), 1, "cifar-10-python.tar.gz")
    assert stores(bench) == []


def change_batch(path: Path, **changes: object) -> None:
    """Rewrite a pickled batch with other values."""
    batch = pickle.loads(path.read_bytes(), encoding="bytes")  # noqa: S301 - our own twin
    batch.update({key.encode(): value for key, value in changes.items()})
    path.write_bytes(pickle.dumps(batch, protocol=2))


def test_pixels_and_labels_that_disagree(bench: Bench, cifar: Path) -> None:
    change_batch(cifar / "data_batch_3", labels=[0, 1, 2])
    refused(bench("prepare", "mmap", "cifar10"), 1, "data_batch_3", "3")
    assert stores(bench) == []


class Harmful:
    """Would run a command when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_pickle_that_names_another_class(
    bench: Bench, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change_batch(cifar / "data_batch_2", filenames=Harmful())
    refused(bench("prepare", "mmap", "cifar10"), 1, "data_batch_2", "system")
    assert not (tmp_path / "harmed").exists()
    assert stores(bench) == []


@pytest.mark.parametrize("loader", ["filesystem", "hdf5", "postgres"])
def test_a_corrupt_jpeg_in_the_middle(bench: Bench, tiny: Path, loader: str) -> None:
    image = sorted(tiny.glob("train/*/images/*.JPEG"))[111]
    image.write_bytes(image.read_bytes()[:200])
    refused(bench("prepare", loader, "tiny-imagenet"), 1, image.name)
    assert stores(bench) == []


def test_an_annotation_that_names_a_missing_image(bench: Bench, tiny: Path) -> None:
    image = sorted(tiny.glob("val/images/*.JPEG"))[3]
    image.unlink()
    refused(bench("prepare", "mmap", "tiny-imagenet"), 1, image.name)
    assert stores(bench) == []


def test_a_store_of_other_data(bench: Bench, cifar: Path) -> None:
    assert bench("prepare", "mmap", "cifar10").code == 0
    change_batch(cifar / "test_batch", labels=[0] * len(pickle_labels(cifar / "test_batch")))
    refused(bench("run", "mmap", "cifar10"), 1, "other files", "--force")
    assert bench("prepare", "mmap", "cifar10", "--force").code == 0
    assert bench("run", "mmap", "cifar10", "--epochs", "1").code == 0


def pickle_labels(path: Path) -> list[int]:
    """The labels of a batch."""
    labels: list[int] = pickle.loads(path.read_bytes(), encoding="bytes")[b"labels"]  # noqa: S301 - our own twin
    return labels


def test_a_store_outlives_its_source(bench: Bench, cifar: Path) -> None:
    assert bench("prepare", "mmap", "cifar10").code == 0
    shutil.rmtree(cifar)
    assert bench("run", "mmap", "cifar10", "--epochs", "1").code == 0


def test_a_store_of_another_dataset_or_version_or_cut(bench: Bench) -> None:
    assert bench("prepare", "mmap", "digits", "--limit", "20").code == 0
    store = bench.data / "stores" / "digits-limit20" / "mmap"
    shutil.copytree(store, bench.data / "stores" / "digits" / "mmap")
    refused(bench("run", "mmap", "digits"), 1, "other files", "--force")

    os.truncate(store / "test.pixels", 100)
    refused(bench("run", "mmap", "digits", "--limit", "20"), 1, "test.pixels", "100 bytes")

    manifest = store / "store.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 3', '"format_version": 4'))
    refused(bench("run", "mmap", "digits", "--limit", "20"), 1, "format version 4")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("loader", ["mmap", "filesystem", "hdf5", "postgres"])
def test_a_full_disk(bench: Bench, small_disk: Path, loader: str) -> None:
    done = bench("prepare", loader, "digits", "--store-dir", str(small_disk))
    refused(done, 1, "space", "--store-dir")
    assert [p.name for p in small_disk.glob("*/*") if not p.name.endswith(".lock")] == []


@pytest.mark.parametrize("loader", ["mmap", "postgres"])
def test_a_read_only_disk(bench: Bench, small_disk: Path, loader: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(bench("prepare", loader, "digits", "--store-dir", str(small_disk)), 1, "ead-only", "--store-dir")


def test_records_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = bench("run", "memory", "digits", "--limit", "20", "--epochs", "1", "--out", str(tmp_path / "file"))
    refused(done, 1, "cannot write the record", "--out")


def test_reports_on_nothing(bench: Bench, tmp_path: Path) -> None:
    refused(bench("report", str(tmp_path / "nowhere")), 1, "no folder")
    (tmp_path / "foreign.json").write_text('{"some": "document"}')
    (tmp_path / "torn.json").write_text('{"schema_version": 1, ')
    done = bench("report", str(tmp_path))
    refused(done, 1, "no records")
    assert "foreign.json" in done.err
    assert "torn.json" in done.err


def test_an_unreachable_server_and_its_password(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dsn = f"postgresql://someone:hunter2@127.0.0.1:{port}/db"
    done = bench("run", "postgres", "digits", "--limit", "20", "--option", f"dsn={dsn}")
    refused(done, 1, "127.0.0.1")
    (path,) = bench.out.glob("*.json")
    assert "hunter2" not in done.err + done.out + path.read_text()
    assert "127.0.0.1" not in path.read_text()
    assert "someone" not in path.read_text()


def start(bench: Bench, *arguments: str) -> AbstractContextManager[subprocess.Popen[Any]]:
    """The command in a process and a session of its own."""
    return started(*arguments, env={**os.environ, "BENCH_DATA": str(bench.data)}, start_new_session=True)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Until a glob of the path matches."""
    for _ in range(6000):
        if list(path.parent.glob(path.name)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"{path} did not appear")


def servers(below: Path) -> list[int]:
    """PostgreSQL servers whose data lies below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(below) in line and "postgres" in line:
            found.append(process.pid)
    return found


@pytest.mark.parametrize(
    ("loader", "number"),
    [("filesystem", signal.SIGKILL), ("postgres", signal.SIGINT), ("postgres", signal.SIGKILL)],
)
def test_a_stopped_prepare(bench: Bench, tmp_path: Path, loader: str, number: signal.Signals) -> None:
    open_source("cifar10", bench.data).make_twin(0.1, lambda *_: None)
    folder = bench.data / "stores" / "cifar10"
    with start(bench, "prepare", loader, "cifar10") as process:
        wait_for(folder / f".{loader}.partial", process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err.splitlines()[-1].startswith("bench: interrupted")
        assert "Traceback" not in err
        assert not (folder / f".{loader}.partial").exists()
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (folder / loader).exists()
    assert wait_until(lambda: not servers(tmp_path), seconds=10)
    assert bench("prepare", loader, "cifar10").code == 0
    assert [p.name for p in folder.iterdir() if not p.name.endswith(".lock")] == [loader]
    assert bench("doctor", "--verify").code == 0


def test_a_stopped_run(bench: Bench, tmp_path: Path) -> None:
    assert bench("run", "postgres", "digits", "--epochs", "1", "--limit", "64").code == 0
    arguments = ("run", "postgres", "digits", "--epochs", "100000", "--workers", "2", "--out", str(bench.out))
    short = ("--limit", "64", "--threads", "1", "--ceiling-steps", "0", "--rate-batches", "0")
    with start(bench, *arguments, *short) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("epoch 0")
        assert servers(tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("bench: interrupted")
    assert "Traceback" not in err
    assert servers(tmp_path) == []
    assert len(list(bench.out.iterdir())) == 1  # the finished run's record, and nothing torn


def test_debug_shows_the_traceback(bench: Bench) -> None:
    assert "Traceback" in bench("prepare", "mmap", "cifar10", "--debug").err
    assert "Traceback" not in bench("prepare", "mmap", "cifar10").err


def test_labels_beyond_the_classes(bench: Bench, cifar: Path) -> None:
    labels = pickle_labels(cifar / "data_batch_1")
    change_batch(cifar / "data_batch_1", labels=[77, *labels[1:]])
    refused(bench("prepare", "mmap", "cifar10"), 1, "label")


def test_a_batch_of_another_shape(bench: Bench, cifar: Path) -> None:
    count = len(pickle_labels(cifar / "data_batch_1"))
    change_batch(cifar / "data_batch_1", data=np.zeros((count, 100), np.uint8))
    refused(bench("prepare", "mmap", "cifar10"), 1, "data_batch_1")
    (cifar / "data_batch_1").write_bytes(io.BytesIO(b"\x80\x02garbage").getvalue())
    refused(bench("prepare", "mmap", "cifar10"), 1, "data_batch_1")
