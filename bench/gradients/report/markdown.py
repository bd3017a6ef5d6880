"""The audit's results as Markdown pages, formulas included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import pandas as pd

from bench.gradients.audit import DIFFERENCES_TOLERANCE, FLOAT32_TOLERANCE, TOLERANCE, Finding
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.parity import OPTIMUM_TOLERANCE
from bench.gradients.parity import TOLERANCE as PARITY_TOLERANCE
from bench.gradients.report import tables
from bench.gradients.report.numbers import NOTE, error
from bench.render.text import plain

ERRORS = (
    "autograd",
    "differences",
    "float32",
    "corrected autograd",
    "worst distance",
    "optimum distance",
    "kink margin",
)
"""Columns that are shown by ``numbers.error``."""


def audit(outcome: Outcome, command: str, figures: Iterable[PurePosixPath]) -> str:
    """The page of the audit: its table, every formula, the trainings and the figures.

    Args:
        outcome: what was found.
        command: what makes this page.
        figures: pictures beside the page, as paths relative to it.
    """
    audited = ["entry", "form", "verdict", "autograd", "differences", "float32", "cases", "wrong gradients", "cause"]
    trained = [
        "model",
        "steps",
        "epochs",
        "worst distance",
        "parameter",
        "optimum distance",
        "kink",
        "kink margin",
        "data",
    ]
    parts = [
        "# The hand-written gradients, against torch.autograd",
        _made(command, outcome.made_with),
        f"{outcome.summary()}.",
        "A form is a gradient as the notes write it; its entry's corrected gradient is held against the same cases, "
        f'and its error is in the last column. A form called "{tables.DERIVED_HERE}" is not in the notes, which name '
        "the function alone. Errors are the worst of ‖hand - referee‖ / (‖hand‖ + ‖referee‖) over all gradients and "
        "cases, with 0/0 = 0 and a random upstream gradient: against autograd in float64 (tolerance "
        f"{error(TOLERANCE)}), against central differences (tolerance {error(DIFFERENCES_TOLERANCE)}), and against "
        f"autograd with both in float32 (tolerance {error(FLOAT32_TOLERANCE)}). {NOTE} Every number is the largest of "
        "its rows in [checks.csv](checks.csv), whose `corrected` is the corrected form, or the one derived here.",
        _table(tables.audit(outcome), [*audited, "corrected autograd"]),
        "## Training parity",
        "The same model is trained by NumPy and by PyTorch from the same start on the same batches. The distance is "
        "the largest ‖ours - theirs‖ / ‖theirs‖ of any parameter tensor over all steps (tolerance "
        f"{error(PARITY_TOLERANCE)}); the distance from the optimum, where one has a closed form, is relative too "
        f"(tolerance {error(OPTIMUM_TOLERANCE)}). The kink margin is the nearest that the inputs of any step came to a "
        "kink. Mean losses of all epochs are in [losses.csv](losses.csv).",
        _table(tables.parity(outcome), trained),
        "## Claims and planted faults",
        "What the notes claim in numbers and deeds is held against computations in [claims.md](claims.md). "
        "`bench gradcheck --mutants` plants faults into every corrected gradient; what became of them is in "
        "[mutants.md](mutants.md).",
        "## Figures",
        *(f"![{path.stem}]({path})" for path in figures),
        "## Formulas",
        *_formulas(outcome),
    ]
    return _page(parts)


def claims(outcome: Outcome, command: str) -> str:
    """The page of the claims."""
    return _page(
        [
            "# What the notes claim, and what a computation says to it",
            _made(command, outcome.made_with),
            _table(tables.claims(outcome), ["id", "statement", "verdict", "evidence"]),
        ]
    )


def mutants(planting: Planting, command: str) -> str:
    """The page of the planted faults: counts, and the survivors one by one."""
    parts = [
        "# Faults planted into the corrected gradients",
        _made(command, planting.made_with),
        f"{planting.summary()}. Each one is listed in [mutants.csv](mutants.csv).",
    ]
    for by in tables.BY:
        parts += [f"## By {by}", _table(tables.caught(planting, by))]
    if planting.faults:
        parts += ["## Not noticed", "\n".join(f"- {plain(fault)}" for fault in planting.faults)]
    return _page(parts)


def _formulas(outcome: Outcome) -> Iterator[str]:
    """Every entry's function, its gradient as written, and the corrected one."""
    for entry_id, corrected in outcome.corrected.items():
        entry = corrected.entry
        yield f"### {plain(entry_id)}: {plain(entry.title)}"
        yield _math(entry.formula)
        for finding in outcome.findings:
            if finding.entry.id == entry_id and finding.written is not None:
                yield _said_of(finding)
                yield _math(finding.written.latex)
        yield "Corrected:" if entry.written else "Derived here:"
        yield _math(entry.corrected_latex)
        if entry.kink:
            yield f"Kink: {plain(entry.kink)}"


def _said_of(finding: Finding) -> str:
    assert finding.written is not None
    why = finding.written.cause or finding.written.remark
    return f"As written ({plain(finding.written.name)}), **{finding.verdict.value}**{': ' if why else ''}{plain(why)}"


def _math(latex: str) -> str:
    upright = re.sub(r"\\operatorname\b\*?", r"\\mathrm", latex.strip())  # GitHub refuses the former
    return f"```math\n{upright}\n```"


def _made(command: str, with_: str) -> str:
    return f"Made by `{command}` with {plain(with_)}."


def _table(frame: pd.DataFrame, columns: Sequence[str] | None = None) -> str:
    """A table of these columns, or of all, in which no cell breaks out of its place."""
    columns = list(frame.columns) if columns is None else columns
    shown = pd.DataFrame(
        [
            [
                error(row[name]) if name in ERRORS else plain("" if row[name] is None else str(row[name]))
                for name in columns
            ]
            for row in frame.to_dict("records")
        ],
        columns=list(columns),
    )
    numbers = {*ERRORS, "cases", "steps", "epochs", "planted", "caught", "by values", "by an error"}
    align = ["right" if name in numbers else "left" for name in columns]
    return str(shown.to_markdown(index=False, disable_numparse=True, colalign=align))


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"
