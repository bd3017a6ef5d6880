"""Synthetic twins: the official layout of a dataset, filled with rendered images, for machines without the data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.sources.base import Report
from bench.sources.cifar_layout import BINARY, CLASSES, PICKLED
from bench.sources.files import MARKER, disk_errors, exists, need_space, new_tree, sole_writer, write_marker
from bench.sources.rendering import VERSION, Rendered, Renderer
from bench.sources.unpickle import dump_python2
from loaders.images.threads import default_threads

# Mean file size of the official Tiny ImageNet is 2.1 kB; this quality gives the twin the same.
_JPEG_QUALITY = 90
_TINY_CLASSES = 200
# Two hundred classes need clearer cues than ten for a few epochs to show.
_CIFAR_CLARITY, _TINY_CLARITY = 0.8, 1.4
_CIFAR_BYTES = 190_000_000
# Each file takes at least one block of 4 kB on most disks.
_TINY_BYTES = 600_000_000


def make_cifar10_twin(folder: Path, fraction: float, report: Report) -> None:
    """Write ``cifar-10-batches-py/``; ``fraction`` 1 gives 50,000 / 10,000 images.

    Raises:
        UsageError: a fraction outside (0, 1], or real data in the way.
        DataError: a disk that is full or cannot be written.
    """
    train, test = twin_share(5000, fraction), twin_share(1000, fraction)
    others = [PICKLED.archive, BINARY.archive, BINARY.folder]
    with twin_tree(folder, PICKLED.folder, others, fraction, _CIFAR_BYTES) as tree:
        renderer = Renderer(32, clarity=_CIFAR_CLARITY)
        total, done = len(CLASSES) * (train + test), 0
        jobs = [
            (name, f"training batch {i} of 5", 0, members)
            for i, (name, members) in enumerate(
                zip(PICKLED.train, np.array_split(_shuffled(len(CLASSES), train, 0), 5), strict=True), start=1
            )
        ]
        jobs.append(("test_batch", "testing batch 1 of 1", 1, _shuffled(len(CLASSES), test, 1)))
        for name, batch_label, split, members in jobs:
            (tree / name).write_bytes(_cifar_batch(renderer, batch_label, split, members))
            done += len(members)
            report("writing the twin of cifar10", done, total)
        meta = {"num_cases_per_batch": len(CLASSES) * train // 5, "label_names": list(CLASSES), "num_vis": 3072}
        (tree / PICKLED.meta).write_bytes(dump_python2(meta))


def make_tiny_imagenet_twin(folder: Path, top: str, archive: str, fraction: float, report: Report) -> None:
    """Write the tree ``top``; ``fraction`` 1 gives 100,000 / 10,000 images. The unlabelled ``test/`` is left out.

    Raises:
        UsageError: a fraction outside (0, 1], or real data in the way.
        DataError: a disk that is full or cannot be written.
    """
    train, test = twin_share(500, fraction), twin_share(50, fraction)
    with twin_tree(folder, top, [archive], fraction, _TINY_BYTES) as tree:
        renderer = Renderer(64, clarity=_TINY_CLARITY)
        # Identifiers of WordNet's form that WordNet does not use; listed out of order, as in the official file.
        wnids = [f"n99{label:06d}" for label in range(_TINY_CLASSES)]
        words = (f"{wnid}\ttwin class {label}, made up\n" for label, wnid in enumerate(wnids))
        (tree / "words.txt").write_text("".join(words), encoding="utf-8")
        listed = np.random.Philox(key=1).random_raw(_TINY_CLASSES).argsort(kind="stable")
        (tree / "wnids.txt").write_text("".join(f"{wnids[label]}\n" for label in listed), encoding="utf-8")
        (tree / "val" / "images").mkdir(parents=True)
        held_out = _shuffled(_TINY_CLASSES, test, 1)
        lines = [""] * len(held_out)

        def write(label: int) -> int:
            train_folder = tree / "train" / wnids[label]
            (train_folder / "images").mkdir(parents=True)
            names = [f"{wnids[label]}_{i}.JPEG" for i in range(train)]
            boxes = _write_images(renderer.render(label, 0, np.arange(train)), train_folder / "images", names)
            (train_folder / f"{wnids[label]}_boxes.txt").write_text(
                "".join(f"{name}\t{box}\n" for name, box in zip(names, boxes, strict=True)), encoding="utf-8"
            )
            ranks = np.flatnonzero(held_out[:, 0] == label)
            names = [f"val_{rank}.JPEG" for rank in ranks]
            boxes = _write_images(renderer.render(label, 1, held_out[ranks, 1]), tree / "val" / "images", names)
            for rank, name, box in zip(ranks, names, boxes, strict=True):
                lines[rank] = f"{name}\t{wnids[label]}\t{box}\n"
            return train + len(ranks)

        done = 0
        with ThreadPoolExecutor(default_threads()) as pool:
            try:
                for future in as_completed([pool.submit(write, label) for label in range(_TINY_CLASSES)]):
                    done += future.result()
                    report("writing the twin of tiny-imagenet", done, _TINY_CLASSES * (train + test))
            except BaseException:  # an interrupt too: the other classes need not be drawn
                pool.shutdown(cancel_futures=True)
                raise
        (tree / "val" / "val_annotations.txt").write_text("".join(lines), encoding="utf-8")


def twin_share(full: int, fraction: float) -> int:
    """So much of a full number, and one at least.

    Raises:
        UsageError: a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"--fraction must be more than 0 and at most 1, not {fraction}")
    return max(1, round(full * fraction))


@contextlib.contextmanager
def twin_tree(folder: Path, top: str, others: list[str], fraction: float, full_bytes: int) -> Iterator[Path]:
    """An empty tree that becomes ``folder / top`` with its marker, where no real data lies."""
    with disk_errors(folder), sole_writer(folder):
        for name in (top, *others):
            place = folder / name
            empty = place.is_dir() and not any(place.iterdir())
            if exists(place) and not empty and not exists(place / MARKER):
                raise UsageError(
                    f"{place} is not a twin, and a twin is not written over or beside other data; "
                    "move it away or choose another --data-dir"
                )
        need_space(folder, round(full_bytes * fraction) + 10_000_000, "free some, or ask for a smaller --fraction")
        with new_tree(folder / top) as tree:
            yield tree
            write_marker(tree / MARKER, {"synthetic": True, "fraction": fraction, "generator_version": VERSION})


def _shuffled(classes: int, per_class: int, split: int) -> NDArray[np.int64]:
    """All (label, index) pairs of a split in a fixed random order."""
    pairs = np.stack(np.divmod(np.arange(classes * per_class), per_class), axis=1)
    order = np.random.Philox(key=split).random_raw(len(pairs)).argsort(kind="stable")
    return pairs[order].astype(np.int64)


def _cifar_batch(renderer: Renderer, batch_label: str, split: int, members: NDArray[np.int64]) -> bytes:
    pixels = np.empty((len(members), 3, 32, 32), np.uint8)
    for label in range(len(CLASSES)):
        mine = members[:, 0] == label
        pixels[mine] = renderer.render(label, split, members[mine, 1]).images.transpose(0, 3, 1, 2)
    content = {
        "batch_label": batch_label,
        "labels": members[:, 0].tolist(),
        "data": pixels.reshape(len(members), -1),
        "filenames": [f"{CLASSES[label]}_s_{index:06d}.png" for label, index in members],
    }
    return dump_python2(content)


def _write_images(rendered: Rendered, folder: Path, names: list[str]) -> list[str]:
    """Write JPEG files and say where in each the class's shape is, as the official box files do."""
    for image, is_grey, name in zip(rendered.images, rendered.grey, names, strict=True):
        if is_grey:
            grey = image.mean(axis=2, keepdims=True).astype(np.uint8)
            data = simplejpeg.encode_jpeg(grey, _JPEG_QUALITY, "GRAY", "Gray")
        else:
            data = simplejpeg.encode_jpeg(image, _JPEG_QUALITY, "RGB", "420")
        (folder / name).write_bytes(data)
    return ["\t".join(map(str, box)) for box in rendered.boxes.tolist()]
