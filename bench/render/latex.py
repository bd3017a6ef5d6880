r"""Tables as LaTeX to be input into a thesis, and a document that shows them all.

A fragment needs the packages of ``PACKAGES``. Its numbers stand in siunitx's S columns, so that they follow the
document's own settings; it runs over as many pages as it takes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from bench.render import maths
from bench.render.language import Joined, Language, Text, message, translated
from bench.render.table import Column, Row, Table, Value
from bench.render.tex import tex
from bench.render.text import printable, rounded

PACKAGES = ("array", "booktabs", "longtable", "pdflscape", "siunitx")
_SECTION = ("model", "cache", "dataset")
"""Columns whose text heads the rows that share it, so that a page is wide enough for the rest."""
_REMARKS = ("remark", "flags")
"""Columns of sentences, which stand below the table."""

_FIT = r"""\footnotesize\setlength{\tabcolsep}{0.35em}%
\sbox0{\begin{tabular}{@{}SPEC@{}}\benchhead\benchrows\end{tabular}}%
\ifdim\wd0>\linewidth\scriptsize\sbox0{\begin{tabular}{@{}SPEC@{}}\benchhead\benchrows\end{tabular}}\fi
\ifdim\wd0>\linewidth\let\benchend\endlandscape\landscape\else\let\benchend\relax\fi
\setlength{\LTcapwidth}{\linewidth}"""
"""Smaller letters for what is wider than the page, and a page on its side for what is wider still."""


Cells: TypeAlias = Callable[[Value], str]


def fragment(table: Table, command: str, language: Language = "en") -> str:
    """One table with caption and label, its columns' definitions and its notes below; a wide one lies on its side."""
    columns = [column for column in table.shown if column.key not in (*_SECTION, *_REMARKS)]
    fields = [(column.key, *field) for column in columns for field in _fields(column, table, language)]
    spec = "".join(spec for _, spec, _, _ in fields)
    head = " & ".join(head for _, _, head, _ in fields) + r" \\"
    continued = rf"{_text(message('Table'), language)} \thetable, {_text(message('continued'), language)}"
    has_maths = any(column.kind == "maths" for column in columns)
    marker = ",output-decimal-marker={,}" if language == "lv" else ""
    title, caption = _text(table.title, language), _text(table.caption, language)
    lines = [
        _made(command),
        f"% Needs {', '.join((*PACKAGES, *maths.PACKAGES) if has_maths else PACKAGES)}.",
        r"\begingroup",
        *([maths.MACRO] if has_maths else []),
        rf"\sisetup{{table-number-alignment=right,table-text-alignment=right{marker}}}",
        rf"\def\benchhead{{\toprule {head} \midrule}}",
        r"\def\benchrows{%",
        *_body(table, fields, language),
        r"}",
        _FIT.replace("SPEC", spec),
        rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}",
        rf"\caption[{{{title}}}]{{{caption}}}\label{{{table.label}}}\\",
        r"\benchhead \endfirsthead",
        rf"\multicolumn{{{len(fields)}}}{{@{{}}l@{{}}}}{{\itshape {continued}}}\\ \benchhead \endhead",
        r"\bottomrule \endfoot",
        r"\benchrows",
        r"\end{longtable}",
        r"\begingroup\raggedright\parindent0pt\parskip0pt",
        *(rf"{line}\par" for line in _below(table, language)),
        r"\endgroup\benchend\endgroup",
    ]
    return "\n".join(lines) + "\n"


def preview(keys: Iterable[str], command: str, language: Language = "en", packages: Sequence[str] = PACKAGES) -> str:
    """A whole document with a plain preamble that inputs the fragments, given by their tables' keys."""
    lines = [
        _made(command),
        r"\documentclass[10pt]{article}",
        r"\usepackage[a4paper,margin=25mm]{geometry}",
        *(rf"\usepackage{{{name}}}" for name in packages),
        *([] if language == "en" else [rf"\renewcommand{{\tablename}}{{{_text(message('Table'), language)}}}"]),
        r"\begin{document}",
        *(rf"\input{{{key}}}" for key in keys),
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _fields(column: Column, table: Table, language: Language) -> Iterator[tuple[str, str, Cells]]:
    """Type, heading and cells of a column of text or formulas, or of one of numbers and one of their intervals."""
    if column.kind != "number":
        spec = rf">{{\raggedright\arraybackslash}}p{{{column.share / 100:g}\linewidth}}" if column.share else "l"

        def shown(value: Value) -> str:
            if column.kind == "maths":
                return maths.latex(translated(value.shown_text, language))
            return _text(value.shown_text, language)

        yield spec, _text(column.title, language), shown
        return
    values = [row[column.key] for row in table.rows]
    marks = max((_text(value.mark) for value in values), key=len, default="")
    space = f",table-space-text-post={{{marks}}},table-align-text-post=false" if marks else ""
    spec = f"S[table-format={_siunitx(values, column)}{space}]"
    yield spec, _heading(column, language), lambda value: _number(value, column, language)
    if column.spread == "half" and any(value.low is not None and not value.text for value in values):
        yield "@{~}r", "", lambda value: _half(value, column)
    if column.spread == "limits" and any(value.low is not None for value in values):
        yield "r", "", lambda value: _limits(value, column)


def _siunitx(values: Sequence[Value], column: Column) -> str:
    """The table-format that all the numbers fit: digits before and after the point."""
    shown = [rounded(value.number, column, "en") for value in values if value.number is not None and not value.text]
    sign = "-" if any(text.startswith("-") for text in shown) else ""
    digits = max((len(text.replace(",", "").lstrip("-").partition(".")[0]) for text in shown), default=1)
    exponents = [text.partition("e")[2].lstrip("+") for text in shown if "e" in text]
    signed = "-" if any(exponent.startswith("-") for exponent in exponents) else ""
    exponent = f"e{signed}{max(len(text.lstrip('-')) for text in exponents)}" if exponents else ""
    return f"{sign}{digits}.{column.decimals}{exponent}"


def _number(value: Value, column: Column, language: Language) -> str:
    mark = f" {{{_text(value.mark)}}}" if value.mark else ""
    if value.text or value.number is None:
        return f"{{{_text(value.text, language)}}}{mark}" if value.text else mark
    if math.isinf(value.number):
        return rf"{{$\infty$}}{mark}"
    return rounded(value.number, column, "en").replace(",", "") + mark


def _half(value: Value, column: Column) -> str:
    if value.half_width is None or value.text:
        return "" if value.text else _limits(value, column)
    return rf"$\pm$ {_num(value.half_width, column)}"


def _limits(value: Value, column: Column) -> str:
    if value.low is None:
        return ""
    high = r"$\infty$)" if value.high is None else f"{_num(value.high, column)}{{]}}"
    return f"{{[}}{_num(value.low, column)}, {high}"


def _num(raw: float, column: Column) -> str:
    return rf"\num{{{rounded(raw, column, 'en').replace(',', '')}}}"


def _heading(column: Column, language: Language) -> str:
    """The heading's words and the unit, one above the other, braced against siunitx."""
    lines = [*translated(column.heading, language).split(), *([column.unit] if column.title != column.heading else [])]
    stacked = r"\\".join(_text(line, language) for line in lines)
    return rf"{{\shortstack[r]{{{stacked}}}}}"


def _body(table: Table, fields: Sequence[tuple[str, str, str, Cells]], language: Language) -> Iterator[str]:
    """All rows, below headings where what they share changes."""
    for number, (section, rows) in enumerate(itertools.groupby(table.rows, _section)):
        if section.parts:
            rule = r"\addlinespace " if number else ""
            heading = rf"\textbf{{{_text(section, language)}}}"
            yield rf"{rule}\multicolumn{{{len(fields)}}}{{@{{}}l@{{}}}}{{{heading}}} \\*"
        for row in rows:
            yield " & ".join(of(row[key]) for key, _, _, of in fields) + r" \\"


def _section(row: Row) -> Joined:
    return Joined(tuple(row[key].text for key in _SECTION if row[key].text), ", ")


def _below(table: Table, language: Language) -> Iterator[str]:
    """Definitions, remarks with the rows that they are about, and notes."""
    for title, definition in table.definitions:
        yield rf"\textit{{{_text(title, language)}}}: {_text(definition, language)}"
    about: dict[str, list[Text]] = {}
    for row in table.rows:
        for remark in (row[key].text for key in _REMARKS if row[key].text):
            name = Joined((_section(row), row["loader"].text), ", ")
            about.setdefault(_text(remark, language), []).append(name)
    for said, names in about.items():
        yield f"{said}: {_text(Joined(tuple(names), '; '), language)}"
    yield from (_text(note, language) for note in table.notes)


def _text(text: Text, language: Language = "en") -> str:
    return tex(printable(translated(text, language)))


def _made(command: str) -> str:
    return f"% Made by {' '.join(printable(command).split())}"
