"""Plain text made safe for LaTeX: any string compiles, in pure ASCII, with LaTeX's own fonts and no further package."""

from __future__ import annotations

import re
import unicodedata

_ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\ttfamily\char34}", "`": r"\textasciigrave{}",
    # What would join with its neighbours to another sign, or be taken for an argument of the end of a row.
    "-": "-{}", "'": "'{}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
_SYMBOLS = {
    0x00AC: r"\neg", 0x00B0: r"\circ", 0x00B1: r"\pm", 0x00B7: r"\cdot", 0x00D7: r"\times",
    0x00F7: r"\div", 0x2016: r"\Vert", 0x2022: r"\bullet", 0x2032: r"^{\prime}", 0x2190: r"\leftarrow",
    0x2191: r"\uparrow", 0x2192: r"\rightarrow", 0x2193: r"\downarrow", 0x2194: r"\leftrightarrow",
    0x21D2: r"\Rightarrow", 0x21D4: r"\Leftrightarrow", 0x2200: r"\forall", 0x2202: r"\partial", 0x2203: r"\exists",
    0x2207: r"\nabla", 0x2208: r"\in", 0x2209: r"\notin", 0x220F: r"\prod", 0x2211: r"\sum", 0x2212: "-",
    0x2218: r"\circ", 0x221A: r"\surd", 0x221D: r"\propto", 0x221E: r"\infty", 0x2227: r"\wedge", 0x2228: r"\vee",
    0x2229: r"\cap", 0x222A: r"\cup", 0x222B: r"\int", 0x2248: r"\approx", 0x2260: r"\neq", 0x2261: r"\equiv",
    0x2264: r"\leq", 0x2265: r"\geq", 0x226A: r"\ll", 0x226B: r"\gg", 0x2282: r"\subset", 0x2286: r"\subseteq",
    0x2295: r"\oplus", 0x2297: r"\otimes", 0x2299: r"\odot", 0x22A4: r"\top", 0x22C5: r"\cdot", 0x03F5: r"\epsilon",
    0x03C6: r"\varphi", 0x03B5: r"\varepsilon", 0x03C2: r"\varsigma",
}  # fmt: skip
"""Code points that are shown by a command of math mode."""
_PUNCTUATION = {
    0x00A0: "~", 0x2020: r"\textdagger{}", 0x2021: r"\textdaggerdbl{}", 0xFFFD: "?",
    0x2010: "-{}", 0x2011: "-{}", 0x2013: "--{}", 0x2014: "---{}", 0x2018: "`{}", 0x2019: "'{}", 0x201C: "``{}",
    0x201D: "''{}", 0x2026: r"\dots{}", 0x2044: "/", 0x00A7: r"\S{}", 0x00DF: r"\ss{}", 0x00E6: r"\ae{}",
    0x00C6: r"\AE{}", 0x00F8: r"\o{}", 0x00D8: r"\O{}", 0x0131: r"\i{}",
}  # fmt: skip
_ACCENTS = {
    0x0300: "`", 0x0301: "'", 0x0302: "^", 0x0303: "~", 0x0304: "=", 0x0306: "u", 0x0307: ".", 0x0308: '"',
    0x030A: "r", 0x030B: "H", 0x030C: "v", 0x0323: "d", 0x0327: "c", 0x0331: "b",
}  # fmt: skip
"""Combining marks and the accents of text mode."""
_BELOW = frozenset("dcb")
"""Those accents that leave a letter's dot alone."""
_LIKE_LATIN = dict(
    zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)  # noqa: RUF001 (LaTeX has no command for Greek letters that look Latin)
)


def tex(text: str) -> str:
    """The text as LaTeX source for text mode, in one line.

    Greek letters, mathematical signs, accents, superscripts and subscripts are set as such. A character that
    LaTeX's own fonts lack is shown by its code point, ``[U+1F600]``, so that nothing is lost in silence.
    """
    done: list[str] = []
    for character in unicodedata.normalize("NFD", re.sub("[^\\S\N{NO-BREAK SPACE}]+", " ", text).strip()):
        accent = _ACCENTS.get(ord(character))
        if accent is not None and done and done[-1].strip():
            letter = done[-1]
            if letter in ("i", "j") and accent not in _BELOW:
                letter = rf"\{letter}"  # without its dot
            done[-1] = rf"\{accent}{{{letter}}}"
        else:
            done.append(_character(character))
    return re.sub(r"-\{\}(?=\d)", r"\\mbox{-}", "".join(done))  # no line ends between a sign and its number


def _character(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return _ASCII.get(character, character)
    if code in _SYMBOLS:
        return rf"\ensuremath{{{_SYMBOLS[code]}}}"
    if code in _PUNCTUATION:
        return _PUNCTUATION[code]
    return _greek(character) or _raised(character) or f"{{[}}U+{code:04X}{{]}}"


def _greek(character: str) -> str:
    """A Greek letter, or nothing."""
    if character in _LIKE_LATIN:
        return _LIKE_LATIN[character]
    if not "\N{GREEK CAPITAL LETTER ALPHA}" <= character <= "\N{GREEK SMALL LETTER OMEGA}":
        return ""
    case, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    if not name:  # the one code point among them that no letter has
        return ""
    name = name.lower().replace("lamda", "lambda")
    return rf"\ensuremath{{\{name if case == 'SMALL' else name.capitalize()}}}"


def _raised(character: str) -> str:
    """A superscript or subscript sign, or a fraction such as one half; or nothing."""
    kind, _, codes = unicodedata.decomposition(character).partition(" ")
    plain = "".join(_character(chr(int(code, 16))) for code in codes.split())
    command = {"<super>": "textsuperscript", "<sub>": "textsubscript"}.get(kind)
    if command:
        return rf"\{command}{{{plain}}}"
    return plain if kind in ("<fraction>", "<compat>") else ""
