"""Square crops of images of many sizes, made where their pixels are, with the bytes of `crops.resize_into`.

PyTorch resizes bytes on the CPU by a triangle filter in whole numbers (``aten/src/ATen/native/cpu/UpSampleKernel.cpp``,
``_compute_index_ranges_int16_weights``; the SIMD kernels beside it do the same arithmetic): weights are computed in
double precision, scaled to 16 bits by the largest power of two at which the greatest of them fits, and summed up with
rounding to bytes, first along rows, then along columns. Here the same is done for a whole batch at once, by operations
that are exact or round as IEEE 754 says, so that every device gives the same bytes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.formats.gpu_mmap.device import send
from loaders.formats.gpu_mmap.fill import pieces
from loaders.images.crops import Boxes

LIMIT = 2 * 2**30
"""Bytes of temporary memory that a batch may take at most, as long as no single image needs more."""
_MOST_BITS = 22
# Bytes of temporary memory, counted off the code below and rounded up.
_PER_WORD, _PER_RESIZED, _PER_ROW, _PER_WEIGHT = 40, 56, 64, 56


class Filter(NamedTuple):
    """How each of n rows becomes `size` items."""

    first: torch.Tensor  # int64 [n, size], the first item that counts
    weights: torch.Tensor  # int32 [taps, n, size], of it and of those after it; 0 for those beyond the row
    bits: torch.Tensor  # int32 [n]; a weight of 1 is 2 ** bits


def taps(lengths: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many pixels at most become one, where rows of these lengths become `size`."""
    return 2 * np.maximum(1, -(-lengths // size)) + 1


def triangle(lengths: torch.Tensor, size: int, count: int) -> Filter:
    """The filter for rows of these lengths, int64 ``[n]``, with ``count`` weights: the `taps` of the longest."""
    device = lengths.device
    # Divided by a tensor: a device may multiply by the reciprocal of a plain number, which rounds differently.
    scale = (lengths.double() / torch.full_like(lengths, size).double()).unsqueeze(1)
    support = scale.clamp(min=1.0)
    inverse = support.reciprocal()
    centre = scale * (torch.arange(size, dtype=torch.float64, device=device) + 0.5)
    first = (centre - support + 0.5).long().clamp_(min=0)
    end = torch.minimum((centre + support + 0.5).long(), lengths.unsqueeze(1))
    most = 2 * support.ceil().long() + 1  # as many as PyTorch allocates; rounding may need one more
    within = torch.minimum(end - first, most)
    tap = torch.arange(count, device=device).view(-1, 1, 1)
    weights = 1.0 - (((tap + first) - centre + 0.5) * inverse).abs()
    weights.clamp_(min=0.0).masked_fill_(tap >= within, 0.0)
    total = weights[0].clone()
    for each in weights[1:]:  # one by one: the order decides the last bit
        total += each
    weights /= total
    greatest = weights.amax(dim=(0, 2)).unsqueeze(1)
    # Powers of two by shifts: a device's floating-point library may not be exact.
    one = torch.ones((), dtype=torch.int64, device=device)
    bits = ((greatest * (one << torch.arange(1, _MOST_BITS + 1, device=device)) + 0.5).long() < 2**15).sum(dim=1)
    return Filter(first, (weights * (one << bits).unsqueeze(1) + 0.5).int(), bits.int())


def device_crops(
    pixels: torch.Tensor,
    offsets: NDArray[np.int64],
    widths: NDArray[np.int64],
    boxes: Boxes,
    size: int,
    limit: int = LIMIT,
) -> torch.Tensor:
    """Resize a box of each image.

    Args:
        pixels: uint8, flat: images ``[H, W, 3]`` end to end, on any device, padded to whole words of eight bytes.
        offsets: ``[B]``, the start of each image.
        widths: ``[B]``, W of each.
        boxes: ``[B, 4]``, top, left, height and width, within the images: this is not checked.
        size: side of the crops in pixels.
        limit: bytes of temporary memory.

    Returns:
        uint8 ``[B, 3, size, size]`` in channels-last memory, on the device of the pixels.
    """
    out = torch.empty((len(boxes), size, size, 3), dtype=torch.uint8, device=pixels.device)
    if not len(boxes):
        return out.permute(0, 3, 1, 2)
    top, left, heights, crop_widths = boxes.T
    starts = offsets + 3 * (top * widths + left)
    counts = taps(boxes[:, 2:].max(axis=1), size)
    # Images with similar scales are grouped: all of a slice take as many steps as the one that shrinks most.
    alike = np.ceil(np.log2(counts - 1))
    order = np.argsort(alike, kind="stable")
    costs = heights * (3 * size + _PER_ROW) + 2 * size * counts * 2 * _PER_WEIGHT + size * size * _PER_RESIZED
    edges = [0, *(np.flatnonzero(np.diff(alike[order])) + 1).tolist(), len(order)]
    parts = [
        slice(begin + start, begin + stop)
        for begin, end in itertools.pairwise(edges)
        for start, stop in pieces(costs[order[begin:end]], limit // 2)
    ]
    heights = heights[order]
    first_rows = np.concatenate([np.cumsum(heights[part]) - heights[part] for part in parts])
    # Eight bytes to a word; a row may begin at the last byte of one.
    slots = (3 * crop_widths + 7 + 7) // 8
    of_images = np.stack([starts, 3 * widths, slots, crop_widths])[:, order]
    # All numbers from the host are sent in one copy, and no step waits for the device to report a size.
    known = np.concatenate([order[None], first_rows[None], of_images, heights[None]])
    sent = send(known, pixels.device)
    words = pixels.view(torch.int64)
    for part in parts:
        out.index_copy_(0, sent[0, part], _slice(words, known[1:, part], sent[1:, part], size, limit // 2))
    return out.permute(0, 3, 1, 2)


def _slice(words: torch.Tensor, known: NDArray[np.int64], sent: torch.Tensor, size: int, limit: int) -> torch.Tensor:
    """Crops of a few images, uint8 ``[n, size, size, 3]``; ``limit`` is for a band of rows.

    Of each crop ``known``, and ``sent`` on the device, have the number of its first row among those of the slice, the
    byte where it begins, bytes from row to row, words and pixels to a row, and its height.
    """
    device, n = words.device, known.shape[1]
    first_rows, _, _, slots, _, heights = known
    rows, count = int(first_rows[-1] + heights[-1]), int(taps(known[4:].max(), size))
    first_row, start, stride, slot, width, height = sent
    both = triangle(torch.cat([width, height]), size, count)
    image = torch.repeat_interleave(torch.arange(n, device=device), height, output_size=rows)
    begin = start[image] + (torch.arange(rows, device=device) - first_row[image]) * stride[image]
    # Some rows more, which only weights of 0 apply to.
    across = torch.zeros((rows + count, size, 3), dtype=torch.uint8, device=device)
    step = max(1, limit // (int(slots.max()) * _PER_WORD + size * (_PER_RESIZED + 4 * count)))
    edges = np.minimum(np.arange(0, rows + step, step), rows)
    # Words of all images before each of these rows.
    row_ends = first_rows + heights
    at = np.minimum(np.searchsorted(row_ends, edges, side="right"), n - 1)
    before = np.cumsum(heights * slots)[at] - (row_ends[at] - edges) * slots[at]
    for (top, bottom), total in zip(itertools.pairwise(edges.tolist()), np.diff(before).tolist(), strict=True):
        band = image[top:bottom]
        packed, first_bytes = _pack(words, begin[top:bottom], slot[band], total, count)
        across[top:bottom] = _weigh(packed, both, band, first_bytes, 3)
    return _weigh(across, both, slice(n, None), first_row, 1)


def _pack(
    words: torch.Tensor, begin: torch.Tensor, slot: torch.Tensor, total: int, slack: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows end to end in fresh memory as overlapping triples of bytes, ``[bytes, 3]``, and the start of each row.

    Each word is read once here and each pixel several times later: they may be in the host's memory, behind a slow bus
    that is fast for whole words of a row, and slow for single bytes.
    """
    starts = slot.cumsum(0) - slot
    index = torch.repeat_interleave((begin >> 3) - starts, slot, output_size=total)
    index += torch.arange(total, device=words.device)
    index.clamp_(max=len(words) - 1)  # a row's last word may be unused
    packed = torch.zeros(total + slack, dtype=torch.int64, device=words.device)
    torch.index_select(words, 0, index, out=packed[:total])
    return packed.view(torch.uint8).as_strided((8 * len(packed) - 2, 3), (1, 1)), 8 * starts + (begin & 7)


def _weigh(
    source: torch.Tensor, by: Filter, rows: slice | torch.Tensor, start: torch.Tensor, step: int
) -> torch.Tensor:
    """Weighted sums by the filters of these rows, whose items start at ``start`` with a distance of ``step``.

    Returns uint8 ``[n, size, *item]`` of a source ``[items, *item]``.
    """
    first, item = by.first[rows] * step + start.unsqueeze(1), source.shape[1:]
    ones = (1,) * len(item)
    bits = by.bits[rows].view(-1, 1, *ones)
    total = (torch.ones_like(bits) << (bits - 1)).expand(*first.shape, *item).contiguous()
    for i, weights in enumerate(by.weights[:, rows]):
        items = source[step * i :].index_select(0, first.flatten()).view(total.shape)
        total.addcmul_(items, weights.view(*weights.shape, *ones))
    return (total >> bits).clamp_(0, 255).to(torch.uint8)
