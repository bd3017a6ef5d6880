"""The report's figures show what the records say, are the same each time, and disturb nothing and nobody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from bench.records import Record
from bench.render.figurestyle import TEXT_WIDTH, drawn, thesis
from bench.render.language import LANGUAGES, Language
from bench.report.figures import Picture, plan
from bench.report.figures.looks import COLOURS, KNOWN, looks
from bench.report.groups import groups
from bench.report.tables import tables
from tests.record_samples import DATASET, STORE, a_record, an_epoch, said

LOADERS: dict[str, tuple[float, float, float]] = {
    "filesystem": (2900.0, 18.0, 2600.0),
    "gpu_mmap": (3072.0, 2.0, 4e6),
    "hdf5": (3072.0, 4.2, 6e4),
    "memory": (3072.0, 1.2, 1.1e6),
    "mmap": (3072.0, 1.0, 1.8e6),
    "postgres": (4600.0, 9.5, 9e4),
}
"""Bytes an image, seconds of preparation and images/s of each loader, for images of 3 x 32 x 32."""
DATASETS = {"cifar10": (50_000, 1.0), "tiny-imagenet": (100_000, 4.0)}
"""Images and how much larger than those they are."""
STAGES = ("fetch", "transfer", "compute", "other")
NAMES = (
    "size-resnet18",
    "preparation-resnet18",
    "stages-resnet18",
    "times-resnet18",
    "rates-resnet18",
    "learning-resnet18-cifar10-warm",
    "learning-resnet18-tiny-imagenet-warm",
    "break-even-resnet18",
)
FILES = tuple(f"{name}.{suffix}" for name in NAMES for suffix in ("pdf", "png"))


def a_run(rng: np.random.Generator, loader: str, dataset: str, wanted: str, number: int, **config: Any) -> Record:
    """A run such as a GPU's: only reading files, and only from a cold cache, takes as long as computing."""
    size, prepare, rate = LOADERS[loader]
    count, factor = DATASETS[dataset]
    workers, batch = config.setdefault("workers", 4), config.setdefault("batch_size", 128)
    rate = rate / factor * (1 + 0.85 * workers) / (1.0 if wanted == "warm" else 2.5)
    ceiling = count / 5200 * factor**0.6 * (1 + 8 / batch)
    epochs = []
    for index in range(4 if wanted == "warm" else 1):
        noise = np.exp(rng.normal(0, 0.02, 4))
        parts = noise * [count / rate + 0.1, 0.02 * ceiling, ceiling, 0.01 * ceiling]
        named = dict(zip((f"{stage}_s" for stage in STAGES), parts.tolist(), strict=True))
        learned = {
            "train_loss": float(2 * np.exp(-0.6 * index + 0.01 * rng.normal())),
            "test_accuracy": float(0.9 - 0.6 * np.exp(-index) + 0.005 * rng.normal()),
        }
        epochs.append(an_epoch(index, wall_s=float(parts.sum()), images=count, **named, **learned))
    settings = {"dataset": dataset, "cache": wanted, "model": "resnet18", "repeat": number, "epochs": len(epochs)}
    shape = (3, 32, 32) if dataset == "cifar10" else (3, 64, 64)
    return a_record(
        loader,
        run_id=rng.bytes(8).hex(),
        epochs=epochs,
        config={**settings, **config},
        dataset={**DATASET, "name": dataset, "train": count, "test": count // 5, "shape": shape},
        store={**STORE, "bytes_per_image": size * factor, "prepare_s": prepare * factor},
        ceiling={
            "batch_size": batch, "block_steps": [25], "block_s": [1.0], "epoch_s": ceiling * float(rng.normal(1, 0.01)),
        },
        rates={
            "loader": (rate * np.exp(rng.normal(0, 0.05, 3))).tolist(),
            "raw": (1.2 * rate * np.exp(rng.normal(0, 0.05, 3))).tolist(),
            "idiom": "np.take",
        },
        cache={"wanted": wanted, "state": wanted, "evidence": None},
        environment={"device": "cuda", "gpu": {"name": "Some GPU"}},
    )  # fmt: skip


@cache
def a_sweep(rounds: int = 5) -> tuple[Record, ...]:
    rng = np.random.default_rng(7)
    return tuple(
        a_run(rng, loader, dataset, wanted, number)
        for number in range(rounds)
        for dataset in DATASETS
        for wanted in ("warm", "cold")
        for loader in LOADERS
    )


@cache
def a_scaling_sweep(name: str) -> tuple[Record, ...]:
    rng = np.random.default_rng(8)
    values = {"workers": (0, 1, 2, 4), "batch_size": (32, 64, 128)}[name]
    return tuple(
        a_run(rng, loader, "cifar10", "warm", number, **{name: value})
        for number in range(3)
        for loader in ("filesystem", "mmap", "postgres")
        for value in values
    )


def without(record: Record, *parts: str) -> Record:
    return record.model_copy(update=dict.fromkeys(parts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures, drawn by another process from records in another order."""
    folder = tmp_path_factory.mktemp("figures")
    code = (
        "import sys, pathlib; from bench.report.figures import plan; from bench.records import Record;"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules);"
        "records = [Record.model_validate_json(line) for line in sys.stdin];"
        "[picture.save(pathlib.Path(sys.argv[1])) for picture in plan(records[::-1])];"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    kept = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    environment = {**kept, "PYTHONHASHSEED": "12345", "MPLBACKEND": "tkagg", "OMP_NUM_THREADS": "1"}
    lines = "\n".join(record.model_dump_json() for record in a_sweep())
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[1], input=lines, text=True, check=True)
    return folder


def test_each_figure_is_one_page_of_text_width_with_its_fonts_and_a_picture(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for name in NAMES:
        data = (folder / f"{name}.pdf").read_bytes()
        assert re.findall(rb"/Type /Pages /Kids \[ \d+ 0 R \] /Count (\d+)", data) == [b"1"], name
        ((width, height),) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
        assert float(width) == pytest.approx(72 * TEXT_WIDTH), name
        assert float(height) < 72 * 9, name
        assert data.count(b"/FontDescriptor /FontName") == data.count(b"/FontFile2 ") > 0, name
        assert b"/Type3" not in data, name
        assert b"CreationDate" not in data, name
        with Image.open(folder / f"{name}.png") as image:
            image.load()
            assert image.width == round(200 * TEXT_WIDTH), name
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255), name


def test_the_same_records_give_the_same_bytes_whatever_the_user_s_settings(folder: Path, tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 30.0, "axes.grid": False, "pdf.fonttype": 3, "lines.linewidth": 9.0}):
        before = dict(mpl.rcParams)
        first, *others = plan(a_sweep())
        for path in first.save(tmp_path):
            assert path.read_bytes() == (folder / path.name).read_bytes()
        for picture in others[::2]:
            with thesis():
                data = drawn(picture.figure("en"), "pdf")
            assert data == (folder / f"{picture.key}.pdf").read_bytes(), picture.key
        assert dict(mpl.rcParams) == before


def the_figure(records: Sequence[Record], kind: str, **how: Any) -> Figure:
    """The only figure of a kind, laid out as it is saved."""
    (picture,) = of_kind(plan(records, **how), kind)
    return laid_out(picture)


def of_kind(pictures: Sequence[Picture], kind: str) -> list[Picture]:
    return [picture for picture in pictures if picture.kind.name == kind]


def laid_out(picture: Picture, language: Language = "en") -> Figure:
    with thesis():
        figure = picture.figure(language)
        figure.draw_without_rendering()
    return figure


@cache
def made(name: str, language: Language = "en") -> Figure:
    records = a_scaling_sweep("workers") if name.startswith("scaling") else a_sweep()
    (picture,) = [picture for picture in plan(records) if picture.key == name]
    return laid_out(picture, language)


ALL = (*NAMES, "scaling-resnet18-workers")


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is seen, tick labels beyond the axes' ends left out."""
    yield from figure.texts
    for words in (figure._supxlabel, figure._supylabel):  # type: ignore[attr-defined]
        if words is not None:
            yield words
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            yield from (tick.label1 for tick in ticks if tick.label1.get_visible())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_meets_another_or_leaves_the_page(language: Language) -> None:
    for name in ALL:
        figure = made(name, language)
        boxes = {text: text.get_window_extent() for text in texts(figure) if text.get_text()}
        assert len(boxes) >= 15, name
        page = figure.bbox
        outside = [
            text.get_text()
            for text, box in boxes.items()
            if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 + 1 or box.y1 > page.y1
        ]
        assert outside == [], name
        meeting = [(a.get_text(), b.get_text()) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
        assert meeting == [], name


def of(records: Sequence[Record], loader: str, dataset: str, wanted: str = "warm", **config: Any) -> list[Record]:
    """The runs of a panel's row, by round."""
    found = [
        record
        for record in records
        if (record.loader.name, record.config.dataset, getattr(record.config, "cache", "")) == (loader, dataset, wanted)
        and all(getattr(record.config, name) == value for name, value in config.items())
    ]
    return sorted(found, key=lambda record: record.config.repeat)


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def an_epoch_s(record: Record, field: str = "wall_s") -> float:
    return mean([getattr(epoch, field) for epoch in record.epochs])


def a_wait_s(record: Record) -> float:
    """Of an epoch, on CUDA."""
    assert record.environment["device"] == "cuda"
    assert record.ceiling is not None
    return an_epoch_s(record) - record.ceiling.epoch_s


def panels(figure: Figure) -> dict[tuple[str, str], Axes]:
    """By dataset and cache, from the titles."""
    found = {}
    for axes in figure.axes:
        dataset, _, words = axes.get_title().partition(", ")
        found[dataset, words.removesuffix(" cache")] = axes
    return found


PANELS = [(dataset, wanted) for dataset in DATASETS for wanted in ("warm", "cold")]


def row_labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_the_bars_are_the_mean_stages_and_the_line_is_the_mean_ceiling() -> None:
    for panel in PANELS:
        figure = made("stages-resnet18")
        assert row_labels(figure) == list(LOADERS), panel
        axes = panels(figure)[panel]
        found: dict[int, dict[str, tuple[float, float]]] = {i: {} for i in range(len(LOADERS))}
        for container, stage in zip(axes.containers, STAGES, strict=True):
            assert isinstance(container, BarContainer)
            assert container.get_label() == f"{stage}_s", panel
            for bar in container:
                found[round(bar.get_y() + bar.get_height() / 2)][stage] = (bar.get_x(), bar.get_width())
        for i, loader in enumerate(LOADERS):
            runs, left = of(a_sweep(), loader, *panel), 0.0
            for stage in STAGES:
                width = mean([an_epoch_s(run, f"{stage}_s") for run in runs])
                assert found[i][stage] == pytest.approx((left, width)), panel
                left += width
        (line,) = [line for line in axes.lines if line.get_color() == "#000000"]
        x, y = np.asarray(line.get_data(), dtype=float)
        for i, loader in enumerate(LOADERS):
            ceilings = [run.ceiling.epoch_s for run in of(a_sweep(), loader, *panel) if run.ceiling]
            assert x[2 * i : 2 * i + 2] == pytest.approx([mean(ceilings)] * 2), panel
            assert list(y[2 * i : 2 * i + 2]) == [i - 0.5, i + 0.5], panel
        assert axes.get_xlim()[0] == 0, panel


def test_epoch_times_show_every_run_with_mean_and_interval() -> None:
    for panel in PANELS:
        axes = panels(made("times-resnet18"))[panel]
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        means = [line for line in axes.lines if line.get_marker() == "|"]
        bars = [np.asarray(c.get_segments()[0], dtype=float) for c in axes.collections if isinstance(c, LineCollection)]
        for i, loader in enumerate(LOADERS):
            times = [an_epoch_s(run) for run in of(a_sweep(), loader, *panel)]
            np.testing.assert_allclose(data(dots[i])[0], times, err_msg=str(panel))
            assert (np.abs(data(dots[i])[1] - i) < 0.5).all(), panel
            np.testing.assert_allclose(data(means[i]).ravel(), np.array([mean(times), i]), err_msg=str(panel))
            half = float(stats.t.ppf(0.975, len(times) - 1) * np.std(times, ddof=1) / len(times) ** 0.5)
            assert bars[i].ravel().tolist() == pytest.approx([mean(times) - half, i, mean(times) + half, i]), panel
        (base,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert data(base)[0, 0] == pytest.approx(mean([an_epoch_s(r) for r in of(a_sweep(), "filesystem", *panel)])), (
            panel
        )


def data(line: Line2D) -> NDArray[np.float64]:
    return np.asarray(line.get_data(), dtype=float)


def test_an_interval_far_wider_than_the_runs_are_apart_is_cut_and_an_arrow_tells() -> None:
    rng = np.random.default_rng(9)
    records = [a_run(rng, "mmap", "cifar10", "warm", number) for number in range(3)]
    (axes,) = the_figure(records, "times").axes
    times = [an_epoch_s(run) for run in records]
    assert [line.get_marker() for line in axes.lines][2:] == ["<", ">"]
    low, high = axes.get_xlim()
    assert min(times) - (max(times) - min(times)) < low < min(times) < max(times) < high < 2 * max(times) - min(times)


def test_rates_stand_beside_their_limits_and_what_training_asks_for() -> None:
    for panel in PANELS:
        axes = panels(made("rates-resnet18"))[panel]
        points = {
            (line.get_marker(), int(data(line)[1, 0])): data(line)[0, 0]
            for line in axes.lines
            if len(data(line)[0]) == 1
        }
        ratios = [text.get_text() for text in axes.texts if text.get_text() != "ratio"]
        needed = []
        for i, loader in enumerate(LOADERS):
            runs = of(a_sweep(), loader, *panel)
            parts = [run.rates for run in runs if run.rates]
            assert points["o", i] == pytest.approx(mean([np.median(part.loader) for part in parts])), panel
            assert points["|", i] == pytest.approx(mean([np.median(part.raw or []) for part in parts])), panel
            assert ratios[i] == f"{points['o', i] / points['|', i]:.2f}", panel
            needed += [(run.dataset.train, run.ceiling.epoch_s) for run in runs if run.dataset and run.ceiling]
        (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert list(data(line)[0]) == pytest.approx([np.divide(*np.sum(needed, axis=0))] * 2), panel
        assert axes.get_xscale() == "log", panel


def speed_of(runs: list[Record]) -> float:
    """All images over all seconds."""
    epochs = [epoch for run in runs for epoch in run.epochs]
    return sum(epoch.images for epoch in epochs) / sum(epoch.wall_s for epoch in epochs)


def test_scaling_shows_speed_and_ceiling_over_the_values() -> None:
    for name in ("workers", "batch_size"):
        records = a_scaling_sweep(name)
        figure = the_figure(records, "scaling")
        (axes,) = figure.axes
        values = sorted({getattr(record.config, name) for record in records})
        assert list(axes.get_xticks()) == values, name
        *curves, ceiling = axes.lines
        for curve, loader in zip(curves, ("filesystem", "mmap", "postgres"), strict=True):
            for (at, speed), value in zip(data(curve).T, values, strict=True):
                runs = of(records, loader, "cifar10", **{name: value})
                assert (at, speed) == (value, pytest.approx(speed_of(runs))), name
        for (at, speed), value in zip(data(ceiling).T, values, strict=True):
            runs = [record for record in records if getattr(record.config, name) == value]
            limits = [(run.dataset.train, run.ceiling.epoch_s) for run in runs if run.dataset and run.ceiling]
            assert (at, speed) == (value, pytest.approx(np.divide(*np.sum(limits, axis=0)))), name
        assert len(axes.collections) == 3 * len(values), "an interval each"
        assert axes.get_ylim()[0] == 0, name


def test_where_a_setting_is_swept_the_other_figures_show_one_value_and_say_which() -> None:
    found = plan(a_scaling_sweep("workers"))
    assert [picture.key for picture in of_kind(found, "scaling")] == ["scaling-resnet18-workers"]
    (picture,) = of_kind(found, "times")
    assert "workers: 0;" in said(picture.caption)
    dots = [line for line in laid_out(picture).axes[0].lines if line.get_marker() == "o"]
    times = [an_epoch_s(run) for run in of(a_scaling_sweep("workers"), "filesystem", "cifar10", workers=0)]
    np.testing.assert_allclose(data(dots[0])[0], times)


def test_another_swept_setting_makes_figures_of_its_own() -> None:
    rng = np.random.default_rng(10)
    records = [a_run(rng, loader, "cifar10", "warm", 0, lr=lr) for loader in ("mmap", "hdf5") for lr in (0.05, 0.1)]
    records.append(a_run(rng, "gpu_mmap", "cifar10", "warm", 0, lr=0.1, workers=0))
    pictures = of_kind(plan(records), "times")
    assert [picture.key for picture in pictures] == ["times-resnet18-lr-0-05", "times-resnet18-lr-0-1"]
    for picture in pictures:
        assert said(picture.title).startswith("Time of an epoch, ResNet-18, learning rate 0.")
        labels = row_labels(laid_out(picture))
        assert [label.replace("\n", " ") for label in labels][1:] == ["hdf5", "mmap"]
        assert labels[0].startswith("gpu_mmap") and "workers=0" in labels[0]


def test_learning_is_that_of_the_runs_over_epochs_and_over_seconds() -> None:
    for dataset in DATASETS:
        grid = made(f"learning-resnet18-{dataset}-warm").axes
        for axes, (field, seconds) in zip(
            grid,
            [("train_loss", False), ("train_loss", True), ("test_accuracy", False), ("test_accuracy", True)],
            strict=True,
        ):
            thick = [line for line in axes.lines if line.get_marker() not in ("None", "")]
            thin = [line for line in axes.lines if line.get_marker() in ("None", "")]
            assert len(thin) == 5 * len(LOADERS), dataset
            for line, loader in zip(thick, LOADERS, strict=True):
                runs = of(a_sweep(), loader, dataset)
                y = np.mean([[getattr(epoch, field) for epoch in run.epochs] for run in runs], axis=0)
                walls = np.mean([np.cumsum([epoch.wall_s for epoch in run.epochs]) for run in runs], axis=0)
                np.testing.assert_allclose(data(line), [walls if seconds else np.arange(1, 5), y], err_msg=str(dataset))


def test_loaders_that_learn_alike_share_one_line_over_epochs() -> None:
    same = [epoch.model_copy(update={"train_loss": 1 / (1 + epoch.index)}) for epoch in a_sweep()[0].epochs]
    records = [a_record(loader, epochs=[e.model_dump() for e in same]) for loader in ("mmap", "hdf5")]
    left, right, *_ = the_figure(records, "learning").axes
    assert (len(left.lines), len(right.lines)) == (1, 2)
    assert left.get_title(loc="right") == "the same for all loaders"
    np.testing.assert_allclose(data(left.lines[0])[1], [1, 1 / 2, 1 / 3, 1 / 4])


def test_circles_stand_where_the_time_saved_has_paid_for_the_preparation() -> None:
    for panel in PANELS:
        figure = made("break-even-resnet18")
        place = [axes.get_title() for axes in figure.axes].index(f"{panel[0]}, {panel[1]} cache")
        left, right = figure.axes[place : place + 2]
        # What an epoch waits, and what all loaders compute on average, as the tables have it.
        waited = {loader: mean([a_wait_s(run) for run in of(a_sweep(), loader, *panel)]) for loader in LOADERS}
        every = [run for loader in LOADERS for run in of(a_sweep(), loader, *panel)]
        computing = mean([an_epoch_s(run) - a_wait_s(run) for run in every])
        base = waited["filesystem"] + computing
        crossings = {}
        for line, beside, loader in zip(left.lines, right.lines, LOADERS, strict=False):
            prepare = 0.0 if loader == "filesystem" else LOADERS[loader][1] * DATASETS[panel[0]][1]
            epoch = waited[loader] + computing
            epochs, seconds = data(line)
            np.testing.assert_allclose(seconds, prepare + epochs * epoch, rtol=1e-9, atol=1e-9, err_msg=str(panel))
            np.testing.assert_allclose(
                data(beside)[1], prepare + epochs * (epoch - base), rtol=1e-7, atol=1e-7, err_msg=str(panel)
            )
            if loader != "filesystem" and epoch < base:
                crossings[loader] = prepare / (base - epoch)
        marked = {n: epochs for n, epochs in crossings.items() if epochs <= 200}
        assert [data(c)[0, 0] for c in left.lines[6:]] == pytest.approx(list(marked.values()), rel=1e-6), panel
        assert [data(c)[1, 0] for c in left.lines[6:]] == pytest.approx(
            [base * n for n in marked.values()], rel=1e-6
        ), panel
        np.testing.assert_allclose([data(c)[1, 0] for c in right.lines[6:]], 0, err_msg=str(panel))
        assert left.get_xlim()[1] >= max([4, *marked.values()]), panel


def test_the_circles_are_the_break_even_of_the_table() -> None:
    figure = made("break-even-resnet18")
    (table,) = [table for table in tables(a_sweep()) if table.key.startswith("cost") and "cold" in table.key]
    shown = [row["break_even_epochs"].number for row in table.rows]
    circles = []
    for i, axes in enumerate(figure.axes):
        if i % 2 == 0 and "cold" in axes.get_title():
            circles += [data(line)[0, 0] for line in axes.lines[6:]]
    assert circles == pytest.approx([n for n in shown if n is not None], rel=1e-6)
    assert len(circles) == 10


def test_size_and_speed_are_those_of_the_stores_and_runs() -> None:
    for panel in PANELS:
        axes = panels(made("size-resnet18"))[panel]
        *points, pixels = axes.lines
        times = panels(made("preparation-resnet18"))[panel].lines
        for point, other, loader in zip(points, times, LOADERS, strict=True):
            size, prepare_s = (value * DATASETS[panel[0]][1] for value in LOADERS[loader][:2])
            speed = speed_of(of(a_sweep(), loader, *panel))
            np.testing.assert_allclose(data(point), [[size / 1000], [speed]], err_msg=str(panel))
            np.testing.assert_allclose(data(other), [[prepare_s], [speed]], err_msg=str(panel))
        assert axes.get_ylim()[0] == 0, "a few percent must not look like all"
        assert data(pixels)[0, 0] == pytest.approx(3 * 32 * 32 * DATASETS[panel[0]][1] / 1000), panel


def a_feed(loader: str, number: int, busy: dict[float, float]) -> Record:
    """On emulated accelerators of several speeds, which are busy for so many percent."""
    slices = [
        {"images_per_s": speed, "images": 1000, "wall_s": 100_000 / speed / (share + number), "epoch": i}
        for i, (speed, share) in enumerate(busy.items())
    ]
    config = {"device": "emulated", "accelerator": {"name": "a", "images_per_s": 1000}, "repeat": number, "model": None}
    feed = {"curve": slices, "free": slices[-1:], "search": slices[-1:]}
    return a_record(loader, config=config, environment={"device": "emulated"}, feed=feed, run_id=f"{loader}{number}")


def test_curves_of_busy_accelerators_are_means_with_their_intervals() -> None:
    shares = {"filesystem": {1000.0: 90.0, 9000.0: 11.0}, "mmap": {1000.0: 97.0, 9000.0: 80.0}}
    records = [a_feed(loader, number, busy) for loader, busy in shares.items() for number in range(3)]
    assert kinds(records) == {"busy", "size", "preparation", "stages"}, "times and break-even say nothing of them"
    figure = the_figure(records, "busy")
    (axes,) = figure.axes
    *curves, mark = axes.lines
    for line, busy in zip(curves, shares.values(), strict=True):
        np.testing.assert_allclose(data(line), [list(busy), [share + 1 for share in busy.values()]], rtol=1e-6)
    half = float(stats.t.ppf(0.975, 2)) / 3**0.5  # of 0, 1 and 2 percent more
    ends = sorted(np.asarray(bars.get_segments()[0])[:, 1].tolist() for bars in axes.collections)  # type: ignore[attr-defined]
    means = sorted(share + 1 for busy in shares.values() for share in busy.values())
    np.testing.assert_allclose(ends, [[share - half, share + half] for share in means], rtol=1e-6)
    assert list(data(mark)[1]) == [90, 90]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "9,000"]
    (size,) = the_figure(records, "size").axes
    assert size.get_ylabel() == "feed rate,\nimages/s"


def test_a_loader_looks_the_same_in_all_figures() -> None:
    another = [changed(record, cpu="Another CPU") for record in a_scaling_sweep("workers")]
    pictures = plan([*a_sweep(), *another])
    keys = ["learning-resnet18-cifar10-warm", "break-even-resnet18", "size-resnet18", "2-scaling-resnet18-workers"]
    found: dict[str, set[str]] = {}
    for picture in pictures:
        if picture.key in keys:
            keys.remove(picture.key)
            (legend,) = laid_out(picture).legends
            for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
                if text.get_text() in LOADERS and isinstance(handle, Line2D):
                    look = f"{handle.get_markerfacecolor()} {handle.get_marker()}"
                    found.setdefault(text.get_text(), set()).add(look)
    assert keys == []
    assert [len(seen) for seen in found.values()] == [1] * len(LOADERS)
    assert len(set.union(*found.values())) == len(LOADERS)
    for axes in made("times-resnet18").axes:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        for dot, loader in zip(dots, LOADERS, strict=True):
            assert {str(dot.get_color())} == {look.split()[0] for look in found[loader]}


def test_loaders_and_their_options_can_be_told_apart() -> None:
    names = ("hdf5", "mmap", "filesystem")
    for count in (1, 8, 30):
        options = [(names[i % 3], {} if i < 3 else {"n": i}) for i in range(count)]
        records = [a_record(name, config={"options": chosen}) for name, chosen in options]
        cells = [cell for group in groups(records) for cell in group.cells]
        found = looks(cells, "filesystem")
        assert len(set(found.values())) == len(found) == count
        assert len({look.colour for look in found.values()}) == min(count, len(names)), "the colour tells the loader"
        assert next(iter(found)) == ("filesystem" if count >= 3 else "hdf5")
        alone = looks([cell for cell in cells if cell.loader == "hdf5"], "hdf5")
        assert list(alone) == sorted(alone, key=lambda label: int(label.partition("=")[2] or -1))
        assert len({look.colour for look in alone.values()}) == len(alone), "a loader that is alone has them all"


def colours(names: Sequence[str]) -> dict[str, str]:
    records = [a_record(name) for name in names]
    return {label: look.colour for label, look in looks(groups(records)[0].cells, "filesystem").items()}


def test_a_plug_in_s_loader_has_a_colour_of_its_own_that_no_other_loader_changes() -> None:
    own = colours(["filesystem", "some_plugin"])["some_plugin"]
    for others in (["mmap"], ["memory", "another_plugin"], KNOWN):
        found = colours([*others, "some_plugin"])
        assert found["some_plugin"] == own
        assert len(set(found.values())) == len(others) + 1
    assert list(colours(KNOWN).values()) == list(COLOURS[: len(KNOWN)])
    many = [f"loader_{n}" for n in range(30)]
    records = [a_record(name) for name in many]
    assert len(set(looks(groups(records)[0].cells, "filesystem").values())) == len(many)


def changed(record: Record, **environment: Any) -> Record:
    """The record as of a later day, and of another machine."""
    update = {"environment": {**record.environment, **environment}, "started_at": "2027-01-01T00:00:00+00:00"}
    return record.model_copy(update=update)


def test_different_environments_never_share_a_figure_unless_it_is_said() -> None:
    here = a_sweep(rounds=2)
    there = [changed(record, cpu="Another CPU") for record in here]
    apart = plan([*here, *there])
    assert [picture.key for picture in apart] == [*NAMES, *(f"2-{name}" for name in NAMES)]
    assert len({picture.scene.group.title for picture in apart}) == 2
    mixed = plan([*here, *there], mix=True)
    assert [picture.key for picture in mixed] == list(NAMES)
    assert all("2 different environments are mixed here" in said(picture.caption) for picture in mixed)
    for pictures, runs in ((apart[: len(NAMES)], 2), (mixed, 4)):
        (times,) = of_kind(pictures, "times")
        (dots, *_) = [line for line in laid_out(times).axes[0].lines if line.get_marker() == "o"]
        assert len(data(dots)[0]) == runs


def kinds(records: Sequence[Record], baseline: str = "filesystem") -> set[str]:
    return {picture.kind.name for picture in plan(records, baseline)}


def test_a_figure_without_data_is_left_out() -> None:
    records = a_sweep(rounds=1)
    every = kinds(records)
    assert every == {"stages", "times", "rates", "learning", "break-even", "size", "preparation"}
    for part, lost in {"rates": {"rates"}, "store": {"break-even", "size", "preparation"}}.items():
        assert kinds([without(record, part) for record in records]) == every - lost
    cold = [record for record in records if getattr(record.config, "cache", "") == "cold"]
    assert kinds(cold) == every - {"learning"}, "of one epoch there is nothing to see"
    assert kinds(cold, "zarr") == every - {"learning", "break-even"}
    assert kinds(cold, "mmap") == every - {"learning"}


def test_without_a_ceiling_there_is_no_line_and_no_legend_of_it() -> None:
    records = [without(record, "ceiling") for record in a_sweep(rounds=1)]
    figure = the_figure(records, "stages")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(STAGES)
    assert all(not axes.lines for axes in figure.axes)


def test_version_1_records_of_rates_have_a_figure_of_their_own(tmp_path: Path) -> None:
    rates = {"loader": [1e5, 1.1e5], "raw": [2e5, 2.1e5], "idiom": "np.take"}
    records = [a_record(), a_record(config={"command": "rate"}, rates=rates)]
    found = plan(records)
    assert [picture.key for picture in found] == [
        *("size-convnet", "preparation-convnet", "stages-convnet", "times-convnet"),
        *("size", "preparation", "rates"),
    ]
    (picture,) = of_kind(found, "rates")
    assert said(picture.title) == "Loader rates"
    assert [path.name for path in picture.save(tmp_path)] == ["rates.pdf", "rates.png"]


def failed(loader: str, status: str) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("dataset", "store", "cache", "setup", "resources", "digest"))
    return a_record(loader, status=status, error="lost", epochs=[], **nothing)


def test_of_runs_that_failed_nothing_is_drawn() -> None:
    assert plan([failed("mmap", "failed"), failed("gpu_mmap", "unavailable")]) == plan([]) == []


def test_a_loader_that_failed_has_a_row_that_says_so() -> None:
    records = [a_record("mmap"), failed("hdf5", "failed"), failed("gpu_mmap", "unavailable")]
    for kind in ("stages", "times"):
        figure = the_figure(records, kind)
        assert row_labels(figure) == ["gpu_mmap", "hdf5", "mmap"]
        words = {round(text.get_position()[1]): text.get_text() for text in figure.axes[0].texts}
        assert words == {0: "unavailable", 1: "failed"}
    records.append(a_record("mmap", config={"cache": "cold"}))
    _, cold = the_figure(records, "times").axes
    assert sorted(text.get_text() for text in cold.texts) == ["not run", "not run"]


NAN, INF = float("nan"), float("inf")
ODD: dict[str, list[Record]] = {
    "one run": [a_record()],
    "a loss that is not a number": [
        a_record(epochs=[an_epoch(i, train_loss=[1.0, NAN, INF][i]) for i in range(3)], config={"repeat": n})
        for n in range(2)
    ],
    "runs that are all equal": [a_record(config={"repeat": n}) for n in range(3)],
    "runs that took no time": [a_record(epochs=[an_epoch(wall_s=0.0, fetch_s=0.0, compute_s=0.0, other_s=0.0)])],
    "a run that took hours": [a_record(), a_record("hdf5", epochs=[an_epoch(wall_s=1e5, compute_s=1e5)])],
    "a rate of nothing": [
        a_record(rates={"loader": [0.0], "raw": [0.0], "idiom": ""}),
        a_record("hdf5", rates={"loader": [1e3], "raw": [], "idiom": ""}),
    ],
    "runs of different lengths": [
        a_record(epochs=[an_epoch(i) for i in range(n)], config={"repeat": n}) for n in (1, 3)
    ],
    "text that is no text": [
        a_record("hdf5", config={"options": {"dsn": text, "n": n}})
        for n, text in enumerate(("$x_1$ \\frac", "_underscore\n\r\t", "漢字 ☃ \ufffd", "a" * 90, "<b>&amp;</b>%#{}"))
    ],
    "a thousand options": [a_record("mmap", config={"options": {"n": n}}) for n in range(20)],
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_records_are_drawn_all_the_same(tmp_path: Path, odd: str) -> None:
    pictures = plan(ODD[odd])
    assert {picture.key for picture in pictures} >= {"stages-convnet", "times-convnet"}
    for picture in pictures:
        laid_out(picture)
    if odd == "text that is no text":
        assert all(path.stat().st_size > 5000 for path in pictures[0].save(tmp_path))


def test_a_diverged_epoch_has_no_point() -> None:
    loss, *_ = the_figure(ODD["a loss that is not a number"], "learning").axes
    (thick,) = [line for line in loss.lines if line.get_marker() not in ("None", "")]
    np.testing.assert_array_equal(data(thick), [[1, 2, 3], [1, NAN, NAN]])


def test_runs_of_different_lengths_share_the_epochs_that_all_have() -> None:
    left, *_ = the_figure(ODD["runs of different lengths"], "learning").axes
    (thick,) = [line for line in left.lines if line.get_marker() not in ("None", "")]
    assert list(data(thick)[0]) == [1]
    assert sorted(len(data(line)[0]) for line in left.lines if line is not thick) == [1, 3]


def test_text_from_records_is_shown_as_it_is_or_as_a_question_mark() -> None:
    figure = the_figure(ODD["text that is no text"], "stages")
    shown = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert r"hdf5 dsn=\$x_1\$ \frac n=0" in shown
    assert any(label.startswith("hdf5 dsn=?? ") for label in shown)
    assert "hdf5 dsn=_underscore n=1" in shown


def test_a_cache_that_is_not_verified_is_marked() -> None:
    records = [a_record(), a_record("hdf5", config={"cache": "as-is"})]
    found = plan(records)
    titles = [axes.get_title() for axes in the_figure(records, "times").axes]
    assert titles == ["digits, warm cache†", "digits, cache as it is†"]
    told = "† the state of the cache is not verified in every run."
    assert all(said(picture.caption).endswith(told) for picture in found)
    assert not any("†" in said(picture.caption) for picture in plan(a_sweep()))


def test_the_latvian_figures_have_no_english_and_latvian_numbers() -> None:
    for name in ALL:
        english = {text.get_text() for text in texts(made(name, "en"))}
        latvian = [text.get_text() for text in texts(made(name, "lv")) if text.get_text()]
        words = {text for text in english if re.search("[a-z]{3}", text) and "$" not in text} - LOADERS.keys()
        assert words, name
        assert not words & set(latvian), name
        numbers = [text for text in latvian if re.fullmatch("[\N{MINUS SIGN}\\d.,\N{NO-BREAK SPACE}]+", text)]
        whole = "\N{MINUS SIGN}?\\d{1,3}(\N{NO-BREAK SPACE}\\d{3})*(,\\d+)?"
        assert [text for text in numbers if not re.fullmatch(whole, text)] == [], name


def test_titles_captions_and_alternatives_say_what_is_shown_and_on_what() -> None:
    for picture in plan(a_sweep()):
        title, caption, alt = said(picture.title), said(picture.caption), said(picture.alt)
        assert title.partition(",")[2].startswith(" ResNet-18")
        assert "workers: 4; batch size: 128; Some GPU, Some CPU, 8 cores" in caption
        assert caption.endswith(".")
        assert all(loader in alt for loader in LOADERS)
        assert "cifar10, warm cache" in alt or "tiny-imagenet, warm cache" in alt
