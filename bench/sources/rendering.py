"""Images for the twins: crops of two photographs, with a colour, a shape and a grating that depend on the class.

Every image is computed from (class, split, index) alone, so a smaller twin holds the first images of a larger one. The
photographs give JPEG decoders real work; the strength of the cues varies from image to image, so that a small ConvNet
learns them but not in full.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # raise it when the images change: a twin says which generator made it
GREY_SHARE = 0.02  # of the images, where the dataset has grey-scale images

_SEED = 20_240_229
_DRAWS = 20
# What the first uniform numbers of each image decide; the last one decides whether it is grey-scale.
_NAMES = (
    "photograph", "x", "y", "scale", "turn", "hue_a", "hue_b", "tint", "brightness", "contrast",
    "shape_x", "shape_y", "shape_size", "shape_gain", "depth", "phase",
)  # fmt: skip
_HUES, _SHAPES, _GRATINGS = 8, 5, 5
_CHUNK = 64  # images per vectorised step: small enough for the processor's cache

Floats = NDArray[np.float32]


class Rendered(NamedTuple):
    """Images of one class, uint8 ``[n, size, size, 3]``, and which are grey-scale if the dataset has such images."""

    images: NDArray[np.uint8]
    grey: NDArray[np.bool_]
    boxes: NDArray[np.int64]  # first and last column and row of the class's shape: x0, y0, x1, y1 ``[n, 4]``


class Renderer:
    """Draws images of one size; threads may share it."""

    def __init__(self, size: int, clarity: float = 1.0) -> None:
        """``clarity`` is a factor on the strength of the cues: more classes need clearer ones."""
        self.size, self._clarity = size, np.float32(clarity)
        axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
        self._x, self._y = axis[None, None, :], axis[None, :, None]
        self._photographs = _photographs(size)

    def render(self, label: int, split: int, indices: NDArray[np.int64]) -> Rendered:
        """The images of one class with these numbers; ``split`` is 0 for training and 1 for test."""
        count = int(indices.max(initial=-1)) + 1
        raw = np.random.Philox(key=np.array([_SEED, label * 2 + split], np.uint64)).random_raw(count * _DRAWS)
        draws = ((raw >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(count, _DRAWS)[indices]
        images = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        boxes = np.empty((len(indices), 4), np.int64)
        for start in range(0, len(indices), _CHUNK):
            part = slice(start, start + _CHUNK)
            # Shaped to broadcast over pixels.
            named = SimpleNamespace(**{name: draws[part, i, None, None] for i, name in enumerate(_NAMES)})
            self._draw(label, named, images[part], boxes[part])
        return Rendered(images, draws[:, -1] < GREY_SHARE, boxes)

    def _draw(self, label: int, draws: SimpleNamespace, out: NDArray[np.uint8], boxes: NDArray[np.int64]) -> None:
        # 97 has no factor in common with the number of combinations: ten classes already differ in all three cues.
        code = label * 97 % (_HUES * _SHAPES * _GRATINGS)
        hue, shape, grating = code % _HUES, code // _HUES % _SHAPES, code // (_HUES * _SHAPES)
        crops = self._crops(draws)
        light = self._grating(grating, draws) * (0.75 + 0.5 * draws.contrast)
        shade = self._shape(shape, draws, boxes)
        angle = 2 * np.pi * (hue / _HUES + 0.13 / self._clarity * (draws.hue_a + draws.hue_b - 1))
        strength = self._clarity * (8 + 30 * draws.tint)
        grey = crops.mean(axis=3)
        lightness = 50 * (draws.brightness - 0.5)
        for channel in range(3):
            tint = strength * np.cos(angle - 2 * np.pi * channel / 3) + lightness
            plane = crops[..., channel] * (np.float32(0.6) / self._clarity)
            plane += grey * (1 - np.float32(0.6) / self._clarity)
            plane *= light
            plane += shade + tint
            out[..., channel] = np.clip(plane, 0, 255, out=plane)

    def _crops(self, draws: SimpleNamespace) -> Floats:
        """A square from one of the photographs, turned a little: float ``[n, size, size, 3]``."""
        height, width = self._photographs.shape[1:]
        half, turn = self.size * (0.7 + 0.8 * draws.scale), 0.6 * (draws.turn - 0.5)
        cos, sin = half * np.cos(turn), half * np.sin(turn)
        margin = np.abs(cos) + np.abs(sin) + 1
        x = margin + draws.x * (width - 2 * margin)
        y = margin + draws.y * (height - 2 * margin)
        column = (x + cos * self._x - sin * self._y).astype(np.int32)
        row = (y + sin * self._x + cos * self._y).astype(np.int32)
        row += (draws.photograph >= 0.5) * np.int32(height)
        packed = self._photographs.reshape(-1).take(row * np.int32(width) + column)
        crops: Floats = packed.view(np.uint8).reshape(*packed.shape, 4)[..., :3].astype(np.float32)
        return crops

    def _shape(self, shape: int, draws: SimpleNamespace, boxes: NDArray[np.int64]) -> Floats:
        """What brightens or darkens the pixels of the class's shape."""
        radius = 0.35 + 0.25 * draws.shape_size
        centre_x, centre_y = 0.7 * (draws.shape_x - 0.5), 0.7 * (draws.shape_y - 0.5)
        dx, dy = np.abs(self._x - centre_x) / radius, np.abs(self._y - centre_y) / radius
        match shape:
            case 0:  # a disc
                inside = dx * dx + dy * dy < 1
            case 1:  # a square
                inside = np.maximum(dx, dy) < 0.85
            case 2:  # a frame
                inside = np.abs(np.maximum(dx, dy) - 0.8) < 0.2
            case 3:  # a cross
                inside = (np.minimum(dx, dy) < 0.25) & (np.maximum(dx, dy) < 1)
            case _:  # two bars
                inside = (dx < 1) & (np.abs(dy - 0.5) < 0.22)
        edges = (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius)
        corners = np.stack([edge.ravel() for edge in edges], axis=1)
        boxes[:] = np.clip((corners + 1) / 2 * self.size, 0, self.size - 1)
        strength = self._clarity * (8 + 45 * draws.shape_gain) * (-1 if shape % 2 else 1)
        shade: Floats = inside * strength.astype(np.float32)
        return shade

    def _grating(self, grating: int, draws: SimpleNamespace) -> Floats:
        """A factor of light and dark stripes: none, wide or narrow, lying or standing."""
        if grating == 0:
            return np.ones((1, 1, 1), np.float32)
        axis = self._x if grating % 2 else self._y
        waves = np.float32(np.pi) * (3 if grating < 3 else 6)
        depth = self._clarity * (0.03 + 0.22 * draws.depth)
        stripes: Floats = np.float32(1) + depth * np.cos(waves * axis + 2 * np.float32(np.pi) * draws.phase)
        return stripes.astype(np.float32)


def _photographs(size: int) -> NDArray[np.uint32]:
    """Scikit-learn's two photographs, four bytes a pixel, enlarged so that the nearest pixel is near enough."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    layers = []
    for photograph in load_sample_images().images:
        height, width = photograph.shape[:2]
        # First to the detail that a whole scene has at this size, then to twice the pixels to pick from.
        detail, enlarged = ((round(width * f * size / 64), round(height * f * size / 64)) for f in (0.6, 1.2))
        image = Image.fromarray(photograph).resize(detail, Image.Resampling.BOX)
        image = image.resize(enlarged, Image.Resampling.BICUBIC)
        layers.append(np.asarray(image.convert("RGBX")).view(np.uint32)[..., 0])
    return np.stack(layers)
