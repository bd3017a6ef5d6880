"""The twin of Imagenette: its layout, filled with JPEG photographs of many sizes that show what class they are of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw

from bench.sources.base import Report
from bench.sources.imagenette import NAMES
from bench.sources.twins import twin_share, twin_tree
from loaders.images.threads import default_threads

TRAIN, VAL = 947, 392
"""Images a class; the official ones have 858 to 993 and 357 to 419."""
SHORTEST = 200
_SEED = 20_261_121
_QUALITY = 90
_GREY_SHARE = 0.02
_HUES = ((200, 40, 40), (40, 160, 60), (50, 80, 210), (210, 190, 40), (160, 50, 190))
_FULL_BYTES = 2_500_000_000


def make_imagenette_twin(folder: Path, top: str, archive: str, longest: int, fraction: float, report: Report) -> None:
    """Write the tree ``top``; ``fraction`` 1 gives 9,470 / 3,920 images.

    Args:
        folder: of the dataset.
        top: name of the tree.
        archive: name of the official archive, which must not lie beside it.
        longest: largest side of an image in pixels; the smallest is `SHORTEST`, or two thirds of it.
        fraction: share of the official number of images.
        report: called with files done and in all.

    Raises:
        UsageError: a fraction outside (0, 1], or real data in the way.
        DataError: a disk that is full or cannot be written.
    """
    counts = {"train": twin_share(TRAIN, fraction), "val": twin_share(VAL, fraction)}
    size = round(_FULL_BYTES * (longest / 1500) ** 2)
    with twin_tree(folder, top, [archive], fraction, size) as tree:
        photographs = _photographs()
        jobs = [(split, label, count) for split, count in counts.items() for label in range(len(NAMES))]
        done, total = 0, len(NAMES) * sum(counts.values())
        with ThreadPoolExecutor(default_threads()) as pool:
            try:
                pending = [pool.submit(_write_class, tree, *job, longest, photographs) for job in jobs]
                for future in as_completed(pending):
                    done += future.result()
                    report("writing the twin of imagenette", done, total)
            except BaseException:  # an interrupt too: the other classes need not be drawn
                pool.shutdown(cancel_futures=True)
                raise
        (tree / "noisy_imagenette.csv").write_text("path,noisy_labels_0,is_valid\n", encoding="utf-8")


def _write_class(tree: Path, split: str, label: int, count: int, longest: int, photographs: list[Image.Image]) -> int:
    wnid = list(NAMES)[label]
    place = tree / split / wnid
    place.mkdir(parents=True)
    for index in range(count):
        # From class, split and number alone: a smaller twin holds the first images of a larger one.
        key = np.array([_SEED, (label * 2 + (split == "val")) << 32 | index], np.uint64)
        draws = np.random.Generator(np.random.Philox(key=key))
        (place / f"{wnid}_{index}.JPEG").write_bytes(_picture(label, draws, longest, photographs))
    return count


def _picture(label: int, draws: np.random.Generator, longest: int, photographs: list[Image.Image]) -> bytes:
    """A crop of a photograph at a size of its own, with the class's shape in the class's colour, as JPEG."""
    shortest = min(SHORTEST, 2 * longest // 3)
    # Most photographs are of middling size: the sides are drawn evenly on a logarithmic scale, twice.
    width, height = (round(shortest * (longest / shortest) ** draws.beta(2, 2)) for _ in range(2))
    photograph = photographs[int(draws.integers(len(photographs)))]
    share = draws.uniform(0.35, 1.0)
    scale = share * min(photograph.width / width, photograph.height / height)
    wide, high = scale * width, scale * height
    left, top = draws.uniform(0, photograph.width - wide), draws.uniform(0, photograph.height - high)
    image = photograph.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + wide, top + high))
    _draw(ImageDraw.Draw(image), label, draws, width, height)
    pixels = np.asarray(image)
    if draws.uniform() < _GREY_SHARE:
        grey = pixels.mean(axis=2, keepdims=True).astype(np.uint8)
        return bytes(simplejpeg.encode_jpeg(grey, _QUALITY, "GRAY", "Gray"))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _QUALITY, "RGB", "420"))


def _draw(canvas: ImageDraw.ImageDraw, label: int, draws: np.random.Generator, width: int, height: int) -> None:
    """One of two shapes in one of five colours, at a place and of a size of its own."""
    radius = min(width, height) * draws.uniform(0.12, 0.3)
    x, y = draws.uniform(radius, width - radius), draws.uniform(radius, height - radius)
    colour = tuple(int(np.clip(v + draws.integers(-40, 41), 0, 255)) for v in _HUES[label % len(_HUES)])
    box: Any = (x - radius, y - radius, x + radius, y + radius)
    if label < len(_HUES):
        canvas.ellipse(box, fill=colour)
    else:
        canvas.rectangle(box, fill=colour)


def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(photograph) for photograph in load_sample_images().images]
