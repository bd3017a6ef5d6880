"""Numbers on axes, written in the figure's language, and text from records, which Matplotlib must not take for more."""

from __future__ import annotations

import functools
import re
import textwrap

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, ScalarFormatter, StrMethodFormatter

from bench.render.language import Language, Number, translated


class Numbers(ScalarFormatter):
    """Matplotlib's plain numbers, all digits written out, with the language's marks."""

    def __init__(self, language: Language) -> None:
        super().__init__(useOffset=False)
        self.set_scientific(False)
        self._language = language

    def __call__(self, x: float, pos: int | None = None) -> str:
        """As many decimals as Matplotlib needs to tell the ticks apart."""
        decimals = len(super().__call__(x, pos).partition(".")[2])
        return written(x, decimals, self._language)


def localise(figure: Figure, language: Language) -> None:
    """Write the numbers on all axes in a language; labels, and powers of ten, stay as they are."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if type(formatter) is ScalarFormatter:
                axis.set_major_formatter(Numbers(language))
            elif type(formatter) is StrMethodFormatter:
                axis.set_major_formatter(FuncFormatter(lambda x, _: short(x, language)))


def written(value: float, decimals: int, language: Language) -> str:
    """A number with a typographic minus."""
    return translated(Number(value, f",.{decimals}f"), language).replace("-", "\N{MINUS SIGN}")


def short(value: float, language: Language) -> str:
    """A number with the fewest digits that it needs, six at most."""
    decimals = len(f"{value:.6g}".partition(".")[2]) if 1e-4 <= abs(value) < 1e6 or value == 0 else 0
    return written(value, decimals, language)


def plain(text: str) -> str:
    """Text from a record in one line: no mathematics is made of it, and what the font lacks is a question mark."""
    line = re.sub(r"\s+", " ", text).strip()
    return "".join(c if ord(c) in _glyphs() else "?" for c in line).replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """The text in lines of so many characters at most, broken between words as far as may be."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)) or text


@functools.cache
def _glyphs() -> frozenset[int]:
    path = findfont(FontProperties(family="STIXGeneral"))
    return frozenset(get_font(path).get_charmap())
