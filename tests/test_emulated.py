"""Runs on an emulated accelerator: what is real in them, what they measure, and how it is shown."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accelerators import OWN, profiles
from bench.config import RunConfig
from bench.records import FeedSlice, Record
from bench.report.metrics import METRICS
from bench.report.tables import tables
from bench.run.feed import FASTEST, next_speed, waits
from bench.train.emulated import EmulatedDevice, Moment
from bench.train.transfer import Transfer
from tests.command import Bench
from tests.record_samples import said
from tests.test_runner import do

EMULATED: dict[str, Any] = {
    "device": "emulated",
    "accelerator": 20_000,
    "feed_slices": 2,
    "slice_batches": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return do(folder, "mmap", speeds="1000,50000", **EMULATED)


def test_its_queue_works_in_order_and_takes_its_time() -> None:
    device = EmulatedDevice(1000, "sleep")
    begin = device.mark("computing")
    device.compute(20)
    device.compute(10)
    end = device.mark("computing")
    assert 30.0 <= begin.elapsed_time(end) < 31.0
    before = time.perf_counter_ns()
    device.synchronise()
    assert time.perf_counter_ns() >= end.at > before
    assert len(device.late_ns) == 1
    assert device.late_ns[0] >= 0
    device.synchronise()  # it is idle: nothing to wait for
    assert len(device.late_ns) == 1


@pytest.mark.parametrize("wait", ["sleep", "spin"])
def test_the_host_never_goes_on_early(wait: Any) -> None:
    device = EmulatedDevice(1e6, wait)
    for images in (1, 50, 300, 2000):
        device.compute(images)
        point = device.record("computing")
        point.synchronize()
        assert time.perf_counter_ns() >= point.at


def test_batches_are_copied_into_memory_that_is_used_again_and_no_more_are_under_way_than_asked_for() -> None:
    device = EmulatedDevice(1000, "sleep")
    transfer, places, ends = Transfer(device, 2), [], []
    watch = transfer.timeline()
    for number in range(6):
        transfer.room()
        sent = torch.full((10, 3), number, dtype=torch.uint8)
        with transfer.send((sent,), watch):
            device.compute(10)
        slot = transfer._slots[number % 2]
        assert torch.equal(slot._loaded[0], sent)
        places.append(slot._loaded[0].data_ptr())
        assert isinstance(slot.busy, Moment)
        ends.append(slot.busy.at)
        assert number < 2 or time.perf_counter_ns() >= ends[number - 2]  # its memory was waited for
    assert places[:2] * 3 == places
    assert len(set(places)) == 2


def test_a_record_holds_the_run(record: Record) -> None:
    assert record.status == "ok", record.error
    assert record.environment["device"] == record.config.device == "emulated"
    assert isinstance(record.config, RunConfig)
    assert record.config.model is None
    assert record.config.accelerator is not None
    assert record.ceiling is not None
    assert record.ceiling.epoch_s == pytest.approx(96 / 20_000)
    for epoch in record.epochs:
        assert (epoch.train_loss, epoch.test_accuracy, epoch.test_macro_f1) == (None, None, None)
        computed, idle = epoch.device_compute_s or 0.0, epoch.device_idle_s or 0.0
        assert 96 / 20_000 <= computed < 1.1 * 96 / 20_000
        assert epoch.wall_s >= computed + idle
    assert record.waits is not None
    assert record.waits.max_s >= record.waits.mean_s >= 0
    assert METRICS["accuracy"].of(record) is None
    assert 0 < (METRICS["au_pct"].of(record) or 0) <= 100


def test_what_it_is_fed_is_what_a_network_gets(folder: Path, record: Record) -> None:
    assert do(folder, "mmap").digest == record.digest


def test_slices_at_the_speeds_asked_for_and_of_the_search(record: Record) -> None:
    assert record.feed is not None
    assert [each.images_per_s for each in record.feed.curve] == [1000, 50_000]
    assert [each.images_per_s for each in record.feed.free] == [FASTEST, FASTEST]
    assert len(record.feed.search) == 2
    first, second = record.feed.free[0], record.feed.search[0]
    assert second.images_per_s == pytest.approx(first.images / first.wall_s / 0.9)
    every = [*record.feed.curve, *record.feed.free, *record.feed.search]
    assert [each.epoch for each in every] == [2, 3, 4, 6, 5, 7]  # no order twice, and none of the epochs'
    for each in every:
        assert each.images == 64  # the first of three batches fills the pipeline
        assert each.wall_s >= 0.999 * each.images / each.images_per_s
    for metric, slices, share in (("free_rate", record.feed.free, 1.0), ("feed_rate", record.feed.search, 0.9)):
        fed = statistics.median(each.images / each.wall_s for each in slices)
        assert METRICS[metric].of(record) == pytest.approx(fed / share)


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=9), st.floats(0.5, 0.99))
def test_the_next_speed_is_the_one_at_which_it_would_be_busy_enough(seconds: list[float], busy: float) -> None:
    search = [FeedSlice(images_per_s=FASTEST, images=100, wall_s=wall_s, epoch=0) for wall_s in seconds]
    assert next_speed(search, busy) == pytest.approx(statistics.median(100 / each for each in seconds) / busy)


@pytest.mark.parametrize("how", [{"workers": 1}, {"prefetch": 2}, {"cache": "cold"}, {"feed_slices": 0}], ids=str)
def test_every_way_of_reading(folder: Path, how: dict[str, Any]) -> None:
    record = do(folder, "hdf5", **{**EMULATED, **how})
    assert record.status == "ok", record.error
    assert (record.feed is None) == (how.get("feed_slices") == 0)
    if how.get("cache") == "cold":  # before each epoch, and before each slice
        assert record.cache is not None
        assert record.cache.evidence is not None
        assert len(record.cache.evidence.after_eviction) == 2 + 4


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_slices_without_an_epoch(folder: Path, record: Record, cache: str) -> None:
    short = do(folder, "mmap", **{**EMULATED, "epochs": 0, "cache": cache, "speeds": "2000"})
    assert short.epochs == []
    assert short.digest == record.digest
    assert short.feed is not None and short.cache is not None and short.waits is not None
    assert [each.images_per_s for each in short.feed.curve] == [2000]
    assert len(short.feed.search) == len(record.feed.search if record.feed else [])
    assert short.cache.state == cache, short.cache.reason
    values = {key: METRICS[key].of(short) for key in ("feed_rate", "free_rate", "epoch_s", "au_pct", "cpu_s_per_1000")}
    assert [key for key, value in values.items() if value is not None] == ["feed_rate", "free_rate"]


def test_too_few_batches_for_a_search_are_a_sentence(folder: Path) -> None:
    with pytest.raises(Exception, match="1 batches are too few to search the feed rate; use --feed-slices 0"):
        do(folder, "mmap", **{**EMULATED, "limit": 20})


def test_a_machine_that_cannot_keep_the_time_is_said() -> None:
    flags: list[str] = []
    assert waits([], 0.001, flags) is None
    kept = waits([5_000, 15_000, 30_000], 0.001, flags)
    assert kept is not None
    assert (kept.count, kept.max_s) == (3, 30e-6)
    assert kept.mean_s == pytest.approx(16.7e-6, rel=0.01)
    waits([90_000], 0.01, flags)  # late by less than a hundredth of a step
    assert flags == []
    waits([90_000, 110_000], 0.001, flags)
    assert flags == ["the host was 100 µs late on average after a step of 1000 µs: the machine is too busy to emulate "
                     "this accelerator"]  # fmt: skip


def test_emulated_and_real_records_share_no_table(folder: Path, record: Record) -> None:
    real, other = do(folder, "mmap"), do(folder, "filesystem", speeds="1000,50000", **EMULATED)
    made = tables([record, real, other])
    assert made[0].kind == "summary"  # which is about both, in columns of their own
    for table in made[1:]:
        runs = {run for row in table.rows for run in row.runs}
        assert runs == {real.run_id} or runs <= {record.run_id, other.run_id}, table.key
    (feed,) = [table for table in made if table.kind == "feed"]
    assert {run for row in feed.rows for run in row.runs} == {record.run_id, other.run_id}
    columns = {column.key for column in feed.columns}
    assert {"feed_rate", "au_pct", "busy_1000", "busy_50000", "stall_s", "prepare_s", "store_bytes"} <= columns
    assert not {"accuracy", "macro_f1"} & columns
    assert {said(row["digest"].text) for row in feed.rows} == {"agree"}
    assert "emulated accelerator" in said(feed.title)


def test_profiles_and_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = profiles()
    assert {name: round(each.images_per_s) for name, each in shipped.items()} == {
        "resnet50-a100": 920,
        "resnet50-h100": 1786,
    }
    assert all(each.source for each in shipped.values())
    OWN.write_text('[mine]\nimages_per_s = 500\nsource = "a guess"\n[resnet50-h100]\nimages_per_s = 2000\n')
    assert {name: each.images_per_s for name, each in profiles().items()} == {
        "resnet50-a100": 919.5,
        "resnet50-h100": 2000,
        "mine": 500,
    }


def test_a_file_of_no_profiles_is_named(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("[mine]\nimages_per_s = 0\n", "mine = 3\n", "[mine", "[mine]\ncolour = 1\n"):
        OWN.write_text(text)
        done = bench("run", "mmap", "digits", "--device", "emulated", "--accelerator", "mine")
        assert done.code == 2
        assert "accelerators.toml" in done.err
        assert len(done.err.splitlines()) == 1


def test_the_command_line(bench: Bench) -> None:
    words = ("run", "mmap", "digits", "--limit", "200", "--epochs", "1", "--device", "emulated", "--accelerator")
    done = bench(*words, "resnet50-h100", "--slice-batches", "2")
    assert done.code == 0, done.err
    assert "resnet50-h100 (1,785.7 images/s) busy for" in done.out + done.err
    assert "feed rate" in done.out + done.err
    assert "accuracy" not in done.out + done.err
    refused = bench(*words, "100", "--model", "convnet")
    assert (refused.code, refused.err) == (2, "bench: an emulated device trains no network; leave out model\n")


def test_a_device_is_measured_once_and_emulated_anywhere(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    OWN.write_text("[other]\nimages_per_s = 7\n")
    words = ("--device", "cpu", "--steps", "2", "--image-size", "8", "--batch-size", "16")
    told = ""
    for precision in ((), ("--amp",), ()):  # the third goes in place of the first
        done = bench("profile", *words, *precision)
        assert done.code == 0, done.err
        told += done.out + done.err
    own = {name: each for name, each in profiles().items() if name not in ("resnet50-a100", "resnet50-h100")}
    assert own.pop("other").images_per_s == 7
    assert [name.rpartition("convnet")[2] for name in own] == ["-8x8-16-fp32", "-8x8-16-bf16"]
    for name, made in own.items():
        assert made.images_per_s > 0
        assert "convnet at 8x8, batch 16" in made.source
        assert f"{name}: {made.images_per_s:,.10g} images/s" in told
    name = next(iter(own))
    run = bench("run", "mmap", "digits", "--limit", "300", "--device", "emulated", "--accelerator", name)
    assert run.code == 0, run.err
    for wrong in (("--steps", "0"), ("--image-size", "7"), ("--cuda-graphs",)):
        assert bench("profile", "--device", "cpu", *wrong).code == 2
