r"""The audit's results as LaTeX: tables to be input into a thesis, and a document that shows them.

A fragment needs the packages of ``PACKAGES``, and its columns share ``\linewidth``, so that it fits a
portrait page as well as a landscape one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bench.gradients.audit import Finding
from bench.gradients.entry import Entry, Verdict
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.report import numbers, tables
from bench.render.tex import tex

_SPACES = frozenset({r"\ ", r"\,", r"\;", r"\:"})
_ERROR = 5.3
"""Width in em of a column of errors, which fits "differences", too."""
PACKAGES = ("amsmath", "array", "booktabs", "graphicx", "longtable")

_MACROS = r"""\providecommand{\gradcheckformula}{}
\renewcommand{\gradcheckformula}[1]{% in its natural size where the column is wide enough, else as wide as the column
  \sbox0{$\displaystyle #1$}%
  \ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi
  \raisebox{0pt}[\dimexpr\ht0+2pt][\dimexpr\dp0+2pt]{\usebox0}}"""
_PLURALS = {
    "building block": "building blocks",
    "layer": "layers",
    "loss": "losses",
    "update": "updates",
    "model": "models",
}


def audit(outcome: Outcome, command: str) -> str:
    """Every entry with its function, its gradient as written and corrected, the verdicts, errors and causes."""
    body: list[str] = []
    group = ""
    for finding in outcome.corrected.values():
        entry = finding.entry
        if entry.group != group:
            body.append(_spanning(7, rf"\textsc{{{_PLURALS[entry.group]}}}", rule=bool(group)))
            group = entry.group
        body += _entry(entry, [f for f in outcome.findings if f.entry.id == entry.id and f.written], finding)
    caption = (
        "The hand-written gradients, as the notes write them and corrected, against automatic differentiation. "
        r"Errors are the worst of $\lVert a-b\rVert/(\lVert a\rVert+\lVert b\rVert)$ over all cases: against "
        "autograd in float64, against central differences, and against autograd in float32."
    )
    columns = [
        *(_Column("form", share=19), _Column("gradient", share=63), _Column("verdict", share=18)),
        *(_Column("autograd", em=_ERROR), _Column("differences", em=_ERROR), _Column("float32", em=_ERROR)),
        _Column("cases", em=3),
    ]
    return _longtable(command, caption, "tab:gradcheck", columns, body)


def parity(outcome: Outcome, command: str) -> str:
    """Every trained model with the worst distance between the two sides."""
    body = [
        _row(
            _code(row["model"]),
            _code(row["parameter"]),
            tex(f"{row['steps']:,}"),
            _error(row["worst distance"]),
            _error(row["optimum distance"]),
            _error(row["kink margin"]),
            tex(row["kink"] or "smooth"),
        )
        + r" \addlinespace"
        for row in tables.parity(outcome).to_dict("records")
    ]
    caption = (
        "The same models trained by NumPy and by PyTorch: worst relative distance of any parameter tensor after any "
        "step, and relative distance from the optimum where it has a closed form. The margin is the nearest that any "
        "step came to a kink."
    )
    columns = [
        *(_Column("model", share=38), _Column("parameter", share=17), _Column("steps", em=3)),
        *(_Column("distance", em=_ERROR), _Column("optimum", em=_ERROR), _Column("margin", em=_ERROR)),
        _Column("kinks", share=45),
    ]
    return _longtable(command, caption, "tab:gradcheck-parity", columns, body)


def claims(outcome: Outcome, command: str) -> str:
    """What the notes claim, and the verdicts."""
    body = [
        rf"{_row(tex(claim.statement), tex(claim.verdict), tex(claim.evidence))} \addlinespace"
        for claim in outcome.claims
    ]
    columns = [_Column("statement", share=43), _Column("verdict", share=14), _Column("evidence", share=43)]
    caption = "What the notes claim, held against computations."
    return _longtable(command, caption, "tab:gradcheck-claims", columns, body)


def mutants(planting: Planting, command: str) -> str:
    """Planted and caught faults by operator."""
    frame = tables.caught(planting, "operator")
    body = [_row(*(tex(str(cell)) for cell in row)) for row in frame.itertuples(index=False)]
    columns = [_Column("operator", share=100), *(_Column(str(name), em=_ERROR) for name in frame.columns[1:])]
    caption = f"Faults planted into the corrected gradients: {tex(planting.summary())}."
    return _longtable(command, caption, "tab:gradcheck-mutants", columns, body)


def preview(fragments: Iterable[str], command: str) -> str:
    """A whole document with a plain preamble that inputs the fragments, given by their files' names."""
    return "\n".join(
        [
            _made(command),
            r"\documentclass[10pt]{article}",
            r"\usepackage[a4paper,landscape,margin=15mm]{geometry}",
            *(rf"\usepackage{{{name}}}" for name in PACKAGES),
            r"\begin{document}",
            *(rf"\input{{{name}}}" for name in fragments),
            r"\end{document}",
            "",
        ]
    )


def _entry(entry: Entry, written: Sequence[Finding], corrected: Finding) -> Iterator[str]:
    """A heading with the function, a row for each written form, and one for the corrected one."""
    yield _spanning(7, rf"\textbf{{{tex(entry.title)}}} ({_code(entry.id)})\quad{_formula(entry.formula)}")
    for finding in written:
        assert finding.written is not None
        yield _form(finding, finding.written.name, finding.written.latex) + "*[2pt]"  # an entry stays on one page
    yield _form(corrected, "corrected" if entry.written else tables.DERIVED_HERE, entry.corrected_latex)


def _form(finding: Finding, name: str, latex: str) -> str:
    remark = tables.why(finding)
    gradient = _formula(latex) + (rf"\par\textit{{{tex(remark)}}}" if remark else "")
    errors = [_error(value) for value in (finding.autograd, finding.differences, finding.float32)]
    verdict = tex(finding.verdict.value)
    verdict = rf"\textbf{{{verdict}}}" if finding.verdict is Verdict.WRONG else verdict
    return _row(tex(name), gradient, verdict, *errors, str(finding.cases))


class _Column(NamedTuple):
    """A column of numbers, ``em`` wide, or one of text, with its share in percent of what the former leave."""

    name: str
    share: int = 0
    em: float = 0.0


def _longtable(command: str, caption: str, label: str, columns: Sequence[_Column], body: Iterable[str]) -> str:
    """A table over as many pages as it takes; caption and body are LaTeX."""
    width = len(columns)
    text = rf"\linewidth-{sum(column.em for column in columns)}em-{2 * (width - 1)}\tabcolsep"
    spec = "".join(
        rf">{{\raggedleft\arraybackslash}}p{{{column.em}em}}"
        if column.em
        else rf">{{\raggedright\arraybackslash}}p{{\dimexpr({text})*{column.share}/100\relax}}"
        for column in columns
    )
    head = _row(*(tex(column.name) for column in columns))
    return "\n".join(
        [
            _made(command),
            f"% Needs {', '.join(PACKAGES)}.",
            r"\begingroup\footnotesize",
            r"\setlength{\tabcolsep}{0.5em}",
            _MACROS,
            r"\setlength{\LTcapwidth}{\linewidth}",
            rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}",
            rf"\caption{{{caption}}}\label{{{label}}}\\",
            rf"\toprule {head} \midrule \endfirsthead",
            rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\itshape Table \thetable, continued}}\\",
            rf"\toprule {head} \midrule \endhead",
            r"\bottomrule \endfoot",
            *body,
            r"\end{longtable}",
            r"\endgroup",
            "",
        ]
    )


def _row(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _spanning(width: int, cell: str, rule: bool = False) -> str:
    r"""A row over all columns that is not parted from the next."""
    top = r"\midrule " if rule else r"\addlinespace "
    return rf"{top}\multicolumn{{{width}}}{{@{{}}>{{\raggedright\arraybackslash}}p{{\linewidth}}@{{}}}}{{{cell}}} \\*"


def _formula(latex: str) -> str:
    """The formulas that a string parts by space, each in a box, so that lines are broken between them."""
    return r"\hspace{1em}".join(rf"\gradcheckformula{{{part}}}" for part in parts(latex))


def parts(latex: str) -> list[str]:
    r"""What a \quad, or a comma and any other space, parts outside of every group, environment and bracket."""
    found, groups, brackets = [""], 0, 0
    for mark in re.findall(r"\\(?:[A-Za-z]+|.)|.", latex, re.DOTALL):
        groups += (mark in ("{", r"\begin", r"\left")) - (mark in ("}", r"\end", r"\right"))
        brackets += (mark in ("(", "[", r"\{")) - (mark in (")", "]", r"\}"))
        space = mark in (r"\quad", r"\qquad") or (mark in _SPACES and found[-1].rstrip().endswith(","))
        if space and groups == 0 and brackets == 0:
            found.append("")
        else:
            found[-1] += mark
    return [part.strip() for part in found if part.strip()]


def _code(name: str) -> str:
    """An identifier, which may be broken after each of its parts."""
    breakable = re.sub(r"(-\{\}|\\mbox\{-\}|\\_|\.)", r"\1\\allowbreak{}", tex(name))
    return rf"\texttt{{{breakable}}}"


def _error(value: float | None) -> str:
    shown = numbers.error(value)
    if shown == "-":
        return "--"
    mantissa, _, exponent = shown.partition("e")
    if shown == "inf":
        return r"$\infty$"
    return rf"${mantissa}{{\cdot}}10^{{{exponent}}}$" if exponent.strip("0") else f"${mantissa}$"


def _made(command: str) -> str:
    return f"% Made by `{command}`."
