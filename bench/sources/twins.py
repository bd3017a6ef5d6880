"""Synthetic twins: the official layout of a dataset, filled with rendered images, for machines without the data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.errors import UsageError
from bench.sources.base import Report
from bench.sources.cifar_layout import BINARY, CLASSES, PICKLED
from bench.sources.files import MARKER, disk_errors, exists, need_space, new_tree, sole_writer, write_marker
from bench.sources.rendering import GREY_SHARE, VERSION, Renderer
from bench.sources.unpickle import dump_python2
from loaders.images.threads import default_threads

_JPEG_QUALITY = 90  # gives the mean file size of the official Tiny ImageNet, 2.1 kB
_TINY_CLASSES = 200
# Two hundred classes need clearer cues than ten for a few epochs to show.
_CIFAR_CLARITY, _TINY_CLARITY = 0.8, 1.4
# Each file takes at least one block of 4 kB on most disks.
_CIFAR_BYTES, _TINY_BYTES, _IMAGENETTE_BYTES = 190_000_000, 600_000_000, 2_500_000_000
_IMAGENETTE_SEED = 20_261_121
_SHORTEST = 200
_HUES = ((200, 40, 40), (40, 160, 60), (50, 80, 210), (210, 190, 40), (160, 50, 190))


def make_cifar10_twin(folder: Path, fraction: float, report: Report) -> None:
    """Write ``cifar-10-batches-py/``; ``fraction`` 1 gives 50,000 / 10,000 images."""
    train, test = _share_of(5000, fraction), _share_of(1000, fraction)
    others = [PICKLED.archive, BINARY.archive, BINARY.folder]
    with _twin_tree(folder / PICKLED.folder, others, fraction, _CIFAR_BYTES) as tree:
        renderer = Renderer(32, clarity=_CIFAR_CLARITY)
        parts = [*np.array_split(_shuffled(len(CLASSES), train, 0), 5), _shuffled(len(CLASSES), test, 1)]
        labels = [*(f"training batch {i} of 5" for i in range(1, 6)), "testing batch 1 of 1"]
        done = 0
        for name, batch_label, members in zip(PICKLED.batches, labels, parts, strict=True):
            pixels = np.empty((len(members), 3, 32, 32), np.uint8)
            for label in range(len(CLASSES)):
                mine = members[:, 0] == label
                images = renderer.render(label, int(name == "test_batch"), members[mine, 1]).images
                pixels[mine] = images.transpose(0, 3, 1, 2)
            batch = {
                "batch_label": batch_label,
                "labels": members[:, 0].tolist(),
                "data": pixels.reshape(len(members), -1),
                "filenames": [f"{CLASSES[label]}_s_{index:06d}.png" for label, index in members],
            }
            (tree / name).write_bytes(dump_python2(batch))
            done += len(members)
            report("writing the twin of cifar10", done, len(CLASSES) * (train + test))
        meta = {"num_cases_per_batch": len(CLASSES) * train // 5, "label_names": list(CLASSES), "num_vis": 3072}
        (tree / PICKLED.meta).write_bytes(dump_python2(meta))


def make_tiny_imagenet_twin(target: Path, fraction: float, report: Report) -> None:
    """Write a tree; ``fraction`` 1 gives 100,000 / 10,000 images. The unlabelled ``test/`` is left out."""
    train, test = _share_of(500, fraction), _share_of(50, fraction)
    with _twin_tree(target, [f"{target.name}.zip"], fraction, _TINY_BYTES) as tree:
        renderer = Renderer(64, clarity=_TINY_CLARITY)
        # Identifiers of WordNet's form that WordNet does not use; listed out of order, as in the official file.
        wnids = [f"n99{label:06d}" for label in range(_TINY_CLASSES)]
        words = (f"{wnid}\ttwin class {label}, made up\n" for label, wnid in enumerate(wnids))
        (tree / "words.txt").write_text("".join(words), encoding="utf-8")
        listed = np.random.Philox(key=1).random_raw(_TINY_CLASSES).argsort(kind="stable")
        (tree / "wnids.txt").write_text("".join(f"{wnids[label]}\n" for label in listed), encoding="utf-8")
        held_out = _shuffled(_TINY_CLASSES, test, 1)
        lines = [""] * len(held_out)

        def draw(label: int, split: int, indices: NDArray[np.int64], files: list[Path]) -> list[str]:
            """Write JPEG files; returns where in each the class's shape is, as the official box files do."""
            files[0].parent.mkdir(parents=True, exist_ok=True)
            rendered = renderer.render(label, split, indices)
            for image, grey, file in zip(rendered.images, rendered.grey, files, strict=True):
                file.write_bytes(_jpeg(image, grey=grey))
            return ["\t".join(map(str, box)) for box in rendered.boxes.tolist()]

        def write(label: int) -> None:
            folder = tree / "train" / wnids[label]
            files = [folder / "images" / f"{wnids[label]}_{i}.JPEG" for i in range(train)]
            boxes = draw(label, 0, np.arange(train), files)
            listing = "".join(f"{file.name}\t{box}\n" for file, box in zip(files, boxes, strict=True))
            (folder / f"{wnids[label]}_boxes.txt").write_text(listing, encoding="utf-8")
            ranks = np.flatnonzero(held_out[:, 0] == label)
            files = [tree / "val" / "images" / f"val_{rank}.JPEG" for rank in ranks]
            for rank, file, box in zip(ranks, files, draw(label, 1, held_out[ranks, 1], files), strict=True):
                lines[rank] = f"{file.name}\t{wnids[label]}\t{box}\n"

        _for_each_class(write, _TINY_CLASSES, train + test, "tiny-imagenet", report)
        (tree / "val" / "val_annotations.txt").write_text("".join(lines), encoding="utf-8")


def make_imagenette_twin(target: Path, wnids: Sequence[str], longest: int, fraction: float, report: Report) -> None:
    """Write a tree with JPEG photographs of many sizes that show which class they are of.

    ``fraction`` 1 gives 9,470 / 3,920 images in the class folders ``wnids``; the official classes have 858 to 993 and
    357 to 419. ``longest`` is the largest side of an image in pixels; the smallest is 200, or two thirds of it.
    """
    from sklearn.datasets import load_sample_images

    counts = {"train": _share_of(947, fraction), "val": _share_of(392, fraction)}
    full_bytes = round(_IMAGENETTE_BYTES * (longest / 1500) ** 2)
    with _twin_tree(target, [f"{target.name}.tgz"], fraction, full_bytes) as tree:
        photographs = [Image.fromarray(photograph) for photograph in load_sample_images().images]

        def write(label: int) -> None:
            for split, count in counts.items():
                folder = tree / split / wnids[label]
                folder.mkdir(parents=True)
                for index in range(count):
                    # From class, split and number alone: a smaller twin holds the first images of a larger one.
                    key = np.array([_IMAGENETTE_SEED, (label * 2 + (split == "val")) << 32 | index], np.uint64)
                    picture = _picture(label, np.random.Generator(np.random.Philox(key=key)), longest, photographs)
                    (folder / f"{wnids[label]}_{index}.JPEG").write_bytes(picture)

        _for_each_class(write, len(wnids), sum(counts.values()), "imagenette", report)
        (tree / "noisy_imagenette.csv").write_text("path,noisy_labels_0,is_valid\n", encoding="utf-8")


def _picture(label: int, draws: np.random.Generator, longest: int, photographs: list[Image.Image]) -> bytes:
    """A crop of a photograph at a size of its own, with the class's shape in the class's colour, as JPEG."""
    shortest = min(_SHORTEST, 2 * longest // 3)
    # Most photographs are of middling size: the sides are drawn evenly on a logarithmic scale, twice.
    width, height = (round(shortest * (longest / shortest) ** draws.beta(2, 2)) for _ in range(2))
    photograph = photographs[int(draws.integers(len(photographs)))]
    share = draws.uniform(0.35, 1.0)
    scale = share * min(photograph.width / width, photograph.height / height)
    wide, high = scale * width, scale * height
    left, top = draws.uniform(0, photograph.width - wide), draws.uniform(0, photograph.height - high)
    image = photograph.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
    # One of two shapes in one of five colours, at a place and of a size of its own.
    radius = min(width, height) * draws.uniform(0.12, 0.3)
    x, y = draws.uniform(radius, width - radius), draws.uniform(radius, height - radius)
    colour = tuple(int(np.clip(v + draws.integers(-40, 41), 0, 255)) for v in _HUES[label % len(_HUES)])
    canvas = ImageDraw.Draw(image)
    draw = canvas.ellipse if label < len(_HUES) else canvas.rectangle
    draw((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return _jpeg(np.asarray(image), grey=draws.uniform() < GREY_SHARE)


def _share_of(full: int, fraction: float) -> int:
    if not 0 < fraction <= 1:
        raise UsageError(f"--fraction must be more than 0 and at most 1, not {fraction}")
    return max(1, round(full * fraction))


@contextlib.contextmanager
def _twin_tree(target: Path, others: Sequence[str], fraction: float, full_bytes: int) -> Iterator[Path]:
    """An empty tree that becomes ``target`` with its marker, where no real data lies there or at the ``others``."""
    folder, rule = target.parent, "a twin is not written over or beside other data"
    with disk_errors(folder), sole_writer(folder):
        for path in (target, *(folder / name for name in others)):
            empty = path.is_dir() and not any(path.iterdir())
            if exists(path) and not empty and not exists(path / MARKER):
                raise UsageError(f"{path} is not a twin, and {rule}; move it away or choose another --data-dir")
        need_space(folder, round(full_bytes * fraction) + 10_000_000, "free some, or ask for a smaller --fraction")
        with new_tree(target) as tree:
            yield tree
            write_marker(tree / MARKER, {"synthetic": True, "fraction": fraction, "generator_version": VERSION})


def _for_each_class(write: Callable[[int], None], classes: int, per_class: int, dataset: str, report: Report) -> None:
    """Call ``write``, which writes all files of one class, for all labels on all cores."""
    with ThreadPoolExecutor(default_threads()) as pool:
        # An interrupt ends the iterator, which cancels what has not begun.
        for done, _ in enumerate(pool.map(write, range(classes)), start=1):
            report(f"writing the twin of {dataset}", done * per_class, classes * per_class)


def _jpeg(pixels: NDArray[np.uint8], *, grey: bool) -> bytes:
    """A JPEG file of ``[H, W, 3]`` pixels."""
    if grey:
        mean = pixels.mean(axis=2, keepdims=True).astype(np.uint8)
        return bytes(simplejpeg.encode_jpeg(mean, _JPEG_QUALITY, "GRAY", "Gray"))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY, "RGB", "420"))


def _shuffled(classes: int, per_class: int, split: int) -> NDArray[np.int64]:
    """All (label, index) pairs of a split in a fixed random order."""
    pairs = np.stack(np.divmod(np.arange(classes * per_class), per_class), axis=1)
    order = np.random.Philox(key=split).random_raw(len(pairs)).argsort(kind="stable")
    return pairs[order].astype(np.int64)
