"""What a report shows of runs on CUDA devices, and that it shows it of no others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.records import Record
from bench.render.figurestyle import thesis
from bench.render.language import Language, translated
from bench.render.table import Table
from bench.report.figures import plan
from bench.report.figures.stages import DEVICE, STAGES
from bench.report.tables import tables
from tests.record_samples import DIGEST, a_whole_document, a_whole_sweep, an_epoch, notes_of, said

OF_A_DEVICE = {
    "stages": {"device_copy_s", "device_compute_s", "device_idle_s", "device_busy_pct"},
    "resources": {
        *("device_peak", "energy_j_per_epoch", "gpu_utilisation_pct", "gpu_power_w", "gpu_peak_power_w"),
    },
}
"""Columns that only a device's records have, by the kind of table."""


def records(device: str, seed: int = 0) -> list[Record]:
    return [Record.model_validate(document) for document in a_whole_sweep(seed, 5, device)]


def shown(made: list[Table], kind: str) -> set[str]:
    return {column.key for table in made if table.kind == kind for column in table.shown}


def a_run(loader: str = "mmap", number: int = 0, **changes: Any) -> Record:
    """One run of a CUDA sweep; ``gpu`` in ``changes`` is merged into what NVML told."""
    config = {"device": "cuda", "repeat": number, **changes.pop("config", {})}
    gpu = changes.pop("gpu", {})
    document = a_whole_document(np.random.default_rng(number), loader, config=config, **changes)
    document["resources"]["gpu"] |= gpu
    return Record.model_validate(document)


def notes(made: list[Table], kind: str) -> list[str]:
    return [note for table in made if table.kind == kind for note in notes_of(table)]


def test_what_a_device_tells_has_columns_and_without_one_they_stay_out() -> None:
    on_cuda, on_cpu = tables(records("cuda")), tables(records("cpu"))
    for kind, keys in OF_A_DEVICE.items():
        assert keys <= shown(on_cuda, kind)
        assert not keys & shown(on_cpu, kind)
    assert "energy is by the device's own counter" in notes(on_cuda, "resources")
    assert not any("energy is" in note for note in notes(on_cpu, "resources"))


def test_the_ceiling_and_the_stall_are_a_gpu_s() -> None:
    """On CUDA the stall is what the epoch takes beyond the ceiling, whatever the host waited for."""
    epochs = [an_epoch(wall_s=4.0, fetch_s=0.1, device_copy_s=0.5, device_compute_s=2.5, device_idle_s=1.0)]
    ceiling = {"batch_size": 128, "block_steps": [50], "block_s": [1.0], "epoch_s": 3.0}
    made = tables([a_run(number=n, config={"epochs": 1}, epochs=epochs, ceiling=ceiling) for n in range(5)])
    (row,) = next(table for table in made if table.kind == "stages").rows
    assert {key: row[key].number for key in ("stall_s", "stall_pct", "au_pct", "device_busy_pct")} == pytest.approx(
        {"stall_s": 1.0, "stall_pct": 25.0, "au_pct": 75.0, "device_busy_pct": 62.5}
    )


# Energy


def test_energies_of_different_sources_are_told_apart() -> None:
    made = tables([a_run("mmap"), a_run("hdf5", gpu={"energy_source": "sampled power"})])
    assert {note for note in notes(made, "resources") if note.startswith("energy")} == {
        "energy is by the device's own counter: digits, mmap",
        "energy is the power that NVML sampled, over time: digits, hdf5",
    }


def test_a_slice_without_power_has_no_such_columns() -> None:
    """A MIG slice tells its memory."""
    nothing = dict.fromkeys(("utilisation_pct", "power_w", "peak_power_w", "energy_source"))
    run = a_run(gpu={**nothing, "mig": True})
    assert run.resources is not None
    run = run.model_copy(
        update={
            "resources": run.resources.model_copy(update={"energy_j": None}),
            "epochs": [epoch.model_copy(update={"energy_j": None}) for epoch in run.epochs],
        }
    )
    made = tables([run])
    assert shown(made, "resources") & OF_A_DEVICE["resources"] == {"device_peak"}
    assert not any("energy is" in note for note in notes(made, "resources"))


# Flags


def flags(made: list[Table]) -> str:
    (row,) = next(table for table in made if table.kind == "statistics").rows
    return said(row["flags"].text)


def test_a_device_s_troubles_are_flagged() -> None:
    told: dict[str, dict[str, Any]] = {
        "throttled in 5 of 5 runs (power cap, thermal": {"throttled": {"power cap": 0.25, "thermal (hardware)": 0.5}},
        "NVML told nothing, or nothing more, in 5 of 5 runs (NVML: GPU is lost)": {"trouble": "NVML: GPU is lost"},
    }
    for words, gpu in told.items():
        made = tables([a_run(number=n, gpu=gpu) for n in range(5)])
        assert words in flags(made)
        assert all(row["epoch_s"].mark == "‡" for table in made if table.kind == "main" for row in table.rows), words


def test_what_all_runs_flag_is_told_once() -> None:
    made = tables([a_run(name, flags=["odd"]) for name in ("mmap", "hdf5")] + [a_run("memory", flags=["odd", "own"])])
    told = notes(made, "statistics")
    assert [note for note in told if note.endswith((": odd", ": own"))] == ["all rows: odd", "digits, memory: own"]


# Devices and processors


def test_records_of_a_gpu_and_of_a_cpu_are_never_mixed_in_silence() -> None:
    both = [*records("cpu"), *records("cuda", 1)]
    ids = {device: {r.run_id for r in both if r.config.device == device} for device in ("cpu", "cuda")}
    for table in tables(both):
        runs = {run for row in table.rows for run in row.runs}
        assert runs <= ids["cpu"] or runs <= ids["cuda"], table.key
        assert not any("mixed" in note for note in notes_of(table))
    mixed = tables(both, mix=True)
    for table in mixed:
        assert any("2 different environments are mixed here" in note for note in notes_of(table)), table.key
    assert {picture.scene.group.number for picture in plan(both)} == {1, 2}
    assert all("mixed here" in said(picture.caption) for picture in plan(both, mix=True))


# Losses


def losing(loader: str, number: int, loss: float, **changes: Any) -> Record:
    config = {"epochs": 1, **changes.pop("config", {})}
    given = {"digest": DIGEST, "epochs": [an_epoch(train_loss=loss)], **changes}
    return a_run(loader, number, config=config, **given)


def loss_notes(made: list[Record]) -> list[str]:
    return [note for note in notes(tables(made), "main") if "training loss" in note]


def test_losses_that_need_not_be_equal_show_how_far_apart_they_are() -> None:
    free = {"deterministic": False}
    made = [
        losing(loader, number, loss, config=free)
        for number, losses in enumerate([(1.0, 1.01), (2.0, 2.0)])
        for loader, loss in zip(("mmap", "hdf5"), losses, strict=True)
    ]
    (told,) = loss_notes(made)
    assert told == (
        "not deterministic: between loaders the last training loss of one round differs by up to 1%: digits"
    )
    (equal,) = loss_notes([losing(name, 0, 1.0, config=free) for name in ("mmap", "hdf5")])
    assert "by up to 0%" in equal


def test_losses_that_should_be_equal_are_told_only_where_they_are_not() -> None:
    assert loss_notes([losing(name, 0, 1.0) for name in ("mmap", "hdf5")]) == []
    (told,) = loss_notes([losing("mmap", 0, 1.0), losing("hdf5", 0, 1.5)])
    assert told == (
        "deterministic, and yet between loaders the last training loss of one round differs by up to 40%: digits"
    )


def test_losses_of_other_samples_other_rounds_and_of_none_are_not_compared() -> None:
    other = {**DIGEST, "combined": "9" * 64}
    assert loss_notes([losing("mmap", 0, 1.0), losing("hdf5", 0, 1.5, digest=other)]) == []
    assert loss_notes([losing("mmap", 0, 1.0), losing("mmap", 1, 1.5)]) == []
    assert loss_notes([losing("mmap", 0, 1.0), losing("hdf5", 0, math.nan)]) == []
    assert loss_notes([losing("mmap", 0, 1.0), losing("hdf5", 0, 1.5, digest=None)]) == []


# Figures


def stages_of(made: list[Record], language: Language = "en") -> tuple[str, Figure]:
    """The caption, and the figure."""
    (picture,) = [picture for picture in plan(made) if picture.kind.name == "stages"]
    with thesis():
        return translated(picture.caption, language), picture.figure(language)


def test_the_stages_have_a_bar_of_each_clock() -> None:
    made = records("cuda")
    caption, figure = stages_of(made)
    assert "the device's own clock" in caption
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(
        [*(said(name) for name, _ in [*STAGES.values(), *DEVICE.values()]), "compute ceiling"]
    )
    for axes in figure.axes:
        dataset, _, cache = axes.get_title().replace("\n", " ").removesuffix(" cache").partition(", ")
        bars = {str(container.get_label()): list(container) for container in axes.containers}
        assert set(bars) == {*STAGES, *DEVICE}
        for row, loader in enumerate(["filesystem", "hdf5", "mmap"]):
            mine = [
                run
                for run in made
                if run.epochs and (run.config.loader, run.config.dataset) == (loader, dataset) and cached(run) == cache
            ]
            for stages, above in ((STAGES, True), (DEVICE, False)):
                left = 0.0
                for field in stages:
                    width = np.mean([np.mean([getattr(epoch, field) for epoch in run.epochs]) for run in mine])
                    bar = bars[field][row]
                    assert (bar.get_x(), bar.get_width()) == pytest.approx((left, width))
                    middle = bar.get_y() + bar.get_height() / 2
                    assert abs(middle - row) < 0.5
                    assert (middle < row) == above
                    left += float(width)


def cached(run: Record) -> str:
    return str(getattr(run.config, "cache", ""))


def test_without_a_device_s_clock_there_is_one_bar() -> None:
    caption, figure = stages_of(records("cpu"))
    assert "device's own clock" not in caption
    for axes in figure.axes:
        assert {str(container.get_label()) for container in axes.containers} == set(STAGES)


def test_the_latvian_figure_names_both_clocks() -> None:
    caption, figure = stages_of(records("cuda"), "lv")
    assert "ierīces pašas pulksteņa" in caption
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {translated(name, "lv") for name, _ in DEVICE.values()} <= legend
