"""The one look of all figures: sizes, fonts, colours, and how a figure is made and saved."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import FixedLocator, LogFormatterSciNotation, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from bench.render.whole import write_whole

TEXT_WIDTH = 6.3  # inches: a thesis' text width, which every figure fills without being scaled
LEGEND = 0.2  # inches of height for a line of a legend

# Okabe and Ito's palette, which colour-blind readers can tell apart, and the wine of Tol's, legible as small text.
BLACK, BLUE, VERMILLION, GREEN, WINE = "#000000", "#0072B2", "#D55E00", "#009E73", "#882255"
GREY, PALE = "#6E6E6E", "#BDBDBD"

STEPS: tuple[tuple[float, tuple[int, ...]], ...] = ((10.0, ()), (25.0, (1, 2, 5)), (100.0, (1, 3)))
"""Up to which span, as a factor, an axis is linear, has these ticks in each decade, or these; beyond, decades alone."""
TICKS = 4  # powers of ten on an axis, at most
PLAIN = (0.001, 10_000.0)  # numbers between are written out, not as powers of ten
PLAIN_FEW = 1e6  # up to here numbers are written out where decades have ticks within

FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"metadata": {"CreationDate": None}},  # a date would make the same figure differ from run to run
    "png": {"dpi": 200},
}
COLOURS = 64  # of a PNG: those of lines and markers, with their shades at the edges

_RC: dict[str, Any] = {
    # STIX comes with Matplotlib: the same glyphs everywhere, near to Times and with the mathematics to match.
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9, "axes.titlesize": 9, "axes.titlepad": 4, "axes.labelsize": 9, "axes.labelpad": 2.5,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8.5, "axes.unicode_minus": True,
    "axes.linewidth": 0.6, "axes.edgecolor": "#333333", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E3E3E3", "grid.linewidth": 0.4,
    "xtick.major.width": 0.6, "xtick.major.size": 2.5, "xtick.minor.size": 0,
    "ytick.major.width": 0.6, "ytick.major.size": 2.5, "ytick.minor.size": 0,
    "legend.frameon": False, "legend.handlelength": 2.4, "lines.solid_capstyle": "round",
    "figure.dpi": 100, "savefig.dpi": 200, "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType: text stays text, and printers and journals take it
    "pdf.compression": 6,
}  # fmt: skip


@contextmanager
def thesis() -> Iterator[None]:
    """Matplotlib's defaults and the look above, whatever the user's own settings are; these come back afterwards."""
    with context(["default", _RC]):
        yield


def a_figure(height: float) -> Figure:
    """An empty figure of the text's width and ``height`` inches, known to no window and no global list."""
    return Figure(figsize=(TEXT_WIDTH, height), layout="constrained")


def panels(count: int, columns: int, height: float, legend: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, so many columns in a row of ``height`` inches, with room for a legend on top."""
    if count == 0:
        raise ValueError("a figure needs at least one panel")
    rows = math.ceil(count / columns)
    figure = a_figure(rows * height + legend * LEGEND)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def shared_legend(figure: Figure, grid: Sequence[Axes], columns: int, order: Sequence[str] | None = None) -> None:
    """One legend above all panels, filled column by column, with every label of those in ``grid`` once, in an order."""
    handles: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    labels = list(handles) if order is None else [label for label in order if label in handles]
    shown = [handles[label] for label in labels]
    figure.legend(shown, labels, loc="outside upper center", ncols=columns, columnspacing=1.6)


def fit_scale(
    axes: Axes, name: Literal["x", "y"], values: Iterable[float], *, whole: bool = False, log: bool = False
) -> None:
    """Logarithmic where that shows more, or wherever it can be by ``log``, with ticks that leave room for their labels.

    Of the values shown those that are not finite do not count; ``whole`` puts a linear scale's ticks at whole numbers.
    """
    axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
    finite = [float(value) for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if not (low > 0 and (log or high > STEPS[0][0] * low)):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole))
        return
    axes.set(**{f"{name}scale": "log"})
    axis.set_minor_locator(NullLocator())
    decades = _decades(low, high)
    few = next((subs for span, subs in STEPS[1:] if high <= span * low), None)
    plain = low > PLAIN[0] and high < (PLAIN[1] if few is None else PLAIN_FEW)
    if few is None or (not plain and len(decades) > 1):
        axis.set_major_locator(FixedLocator(decades))
    else:
        axis.set_major_locator(LogLocator(subs=few))
    axis.set_major_formatter("{x:g}" if plain else LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf)))


def _decades(low: float, high: float) -> list[float]:
    """Every power of ten between, or every second, fifth ... where that would be more than ``TICKS``."""
    exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    stride = next((n for n in (1, 2, 5, 10, 20, 50) if len(exponents) <= n * TICKS), 100)
    return [10.0**exponent for exponent in exponents if exponent % stride == 0]


def scientific(value: float) -> str:
    """Two significant digits and a power of ten, for math mode."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return r"\infty"
    digits, exponent = f"{value:.1e}".split("e")
    return rf"{digits}\times10^{{{int(exponent)}}}"


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png`` into ``folder`` and return their paths; drawing itself meets no disk.

    Raises:
        OSError: they cannot be written.
    """
    return [write_whole(folder / f"{name}.{suffix}", drawn(figure, suffix)) for suffix in FORMATS]


def drawn(figure: Figure, suffix: str) -> bytes:
    """The file of a figure: "pdf", or "png" of few colours, which is a third as large and looks the same."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, **FORMATS[suffix])
    if suffix != "png":
        return buffer.getvalue()
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, "png", optimize=True)
    return small.getvalue()
