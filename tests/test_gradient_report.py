"""The gradient audit's tables say what was found, in every format, whatever text they are given."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.gradients.entry import Verdict
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.report import latex, markdown, tables, terminal
from bench.gradients.report.numbers import error
from bench.gradients.report.write import csv
from bench.render.tex import tex
from bench.render.text import printable
from tests.gradient_samples import (
    INF,
    a_claim,
    a_finding,
    a_form,
    a_mutant,
    a_parity,
    a_planting,
    an_entry,
    an_outcome,
)
from tests.latex import compiled, complaints

NASTY = "a|b `c` *d* _e_ <f> & [g](h) {i} \\j $k$ 100% #1 x^2 ~ 'l' \"m\"\n-- \u03c3\u2032 \u03b1\u0302"

relative_errors = st.one_of(st.just(0.0), st.just(INF), st.floats(1e-300, 1.0))
optional = st.none() | relative_errors
errors = st.lists(st.tuples(relative_errors, optional, optional), min_size=1, max_size=4)


@given(st.floats(1e-300, 1e300))
def test_an_error_is_shown_to_two_digits(value: float) -> None:
    shown = error(value)
    assert re.fullmatch(r"\d\.\de-?(0|[1-9]\d*)", shown)
    assert float(shown) == pytest.approx(value, rel=0.051)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (INF, "inf"), (None, "-"), (math.nan, "-"), (1.0, "1.0e0"), (0.996, "1.0e0"), (1.24e-16, "1.2e-16")],
)
def test_an_error_that_is_no_number(value: float | None, shown: str) -> None:
    assert error(value) == shown


# What the tables say


def test_a_row_is_a_written_form_or_what_is_derived_here() -> None:
    frame = tables.audit(an_outcome())
    assert frame[["entry", "form", "verdict", "cases"]].to_numpy().tolist() == [
        ["sigmoid", "class", "wrong", 2],
        ["sigmoid", "second source", "convention at a kink", 1],
        ["softmax", tables.DERIVED_HERE, "agrees", 1],
    ]
    assert frame["corrected autograd"].tolist() == [1.25e-16, 1.25e-16, 0.0]
    assert frame["autograd"].tolist() == [INF, 0.25, 0.0]


def assert_traced(audit: pd.DataFrame, checks: pd.DataFrame) -> None:
    """Every number of the audit is the largest of its rows in the raw values."""
    assert len(audit) > 0
    for row in audit.to_dict("records"):
        of_entry = checks[checks["entry"] == row["entry"]]
        form = "corrected" if row["form"] == tables.DERIVED_HERE else row["form"]
        for prefix, name in (("", form), ("corrected ", "corrected")):
            raw = of_entry[of_entry["form"] == name]
            assert len(raw) > 0
            for referee in ("autograd", "differences", "float32"):
                worst, shown = raw[referee].max(), row[prefix + referee]
                assert worst == shown or (math.isnan(worst) and math.isnan(shown)), (row["entry"], name, referee)


@given(errors, errors)
def test_every_number_is_the_worst_of_the_raw_values(mine: Any, theirs: Any) -> None:
    form = a_form("class", Verdict.WRONG, NASTY)
    entry = an_entry(written=(form,))
    outcome = an_outcome(findings=(a_finding(entry, None, theirs), a_finding(entry, form, mine)))
    assert_traced(tables.audit(outcome), tables.checks(outcome).infer_objects().fillna({}))


def test_what_is_not_as_expected_is_named() -> None:
    assert an_outcome().faults == ()
    outcome = an_outcome(
        findings=(a_finding(an_entry(), None, [(1.0, None, None)], faults=("sigmoid: the gradient is wrong",)),),
        parities=(a_parity(faults=("house-linear: W parts",)),),
        claims=(a_claim("arm", verdict="holds", expected="does not hold"),),
    )
    assert outcome.faults == (
        "sigmoid: the gradient is wrong",
        "house-linear: W parts",
        "arm: the verdict is 'holds', expected was 'does not hold'",
    )
    assert outcome.summary().endswith("3 not as expected")


def test_the_summary_counts() -> None:
    assert an_outcome().summary() == (
        "2 entries, 2 corrected gradients agree; 2 written forms: 0 agree, 1 wrong, 1 differ by convention at a kink; "
        "2 models trained twice; 2 claims; all as expected"
    )
    planting = a_planting(a_mutant(), a_mutant(caught=""), a_mutant(entry="tanh", caught="error", wrong=()))
    assert planting.summary() == "2 of 3 planted faults caught, in 2 entries"
    (survivor,) = planting.faults
    assert survivor.startswith("sigmoid: ")


def test_planted_faults_are_counted_by_operator_and_entry() -> None:
    planting = a_planting(
        a_mutant(), a_mutant(caught=""), a_mutant(entry="tanh", operator="branch", caught="error", wrong=())
    )
    assert tables.caught(planting, "operator").to_numpy().tolist() == [["sign", 2, 1, 1, 0], ["branch", 1, 1, 0, 1]]
    assert tables.caught(planting, "entry").to_numpy().tolist() == [["sigmoid", 2, 1, 1, 0], ["tanh", 1, 1, 0, 1]]


@pytest.mark.parametrize(
    ("gradients", "wrong", "said"),
    [
        (("x",), ("x",), "x: cause"),
        (("x", "W"), ("x", "W"), "all: cause"),
        (("x", "W"), ("value", "x", "W"), "all: cause"),
        (("x", "W"), ("W",), "W: cause"),
        (("x", "W"), (), "cause"),
    ],
)
def test_the_wrong_gradients_stand_before_the_cause(
    gradients: tuple[str, ...], wrong: tuple[str, ...], said: str
) -> None:
    finding = a_finding(an_entry(), a_form("class", Verdict.WRONG, "cause"), [(1.0, None, None)], wrong=wrong)
    (check,) = finding.checks
    checks = tuple(dataclasses.replace(check, gradient=name) for name in ("value", *gradients))
    assert tables.why(dataclasses.replace(finding, checks=checks)) == said


# The terminal


def lines_at(width: int, made: Outcome | Planting) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in terminal.tables_of(made):
        console.print(table)
    return console.export_text().splitlines()


LONG = "the inner derivative of a, -1, is lost, so that a step climbs; 1/N is lost too, except for one sample"


def test_the_terminal_shows_every_number_and_word_at_120_columns() -> None:
    form = a_form("dW and db as for the linear model", Verdict.WRONG, LONG)
    entry = an_entry("binary-cross-entropy-of-logits", written=(form,))
    outcome = an_outcome(
        findings=(a_finding(entry, None, [(1.24e-16, 2e-9, 3.3e-8)]), a_finding(entry, form, [(0.98765, 0.5, 0.25)])),
        parities=(a_parity("network-of-layers-and-variables", parameter="layers.weight", kink=LONG),),
        claims=(a_claim("a-long-name-of-a-claim", statement=LONG, evidence=LONG),),
    )
    lines = lines_at(120, outcome)
    assert max(map(len, lines)) <= 120
    text = " ".join(lines)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for number in ("9.9e-1", "5.0e-1", "2.5e-1", "1.2e-16", "2.5e-16"):
        assert f" {number} " in text
    for name in ("binary-cross-entropy-of-logits", "network-of-layers-and-variables", "layers.weight"):
        assert name in text
    for word in set(LONG.split()):
        assert text.count(word) >= 3


def test_the_terminal_marks_a_verdict_that_was_not_expected() -> None:
    form = a_form("class", Verdict.WRONG, "cause")
    finding = a_finding(an_entry(written=(form,)), form, [(0.0, None, None)], verdict=Verdict.AGREES)
    corrected = a_finding(an_entry(written=(form,)), None, [(0.0, None, None)])
    assert "agrees, not" in " ".join(lines_at(120, an_outcome(findings=(corrected, finding))))


def test_the_terminal_takes_text_as_it_is() -> None:
    form = a_form("[red]class[/red]", Verdict.WRONG, "[/] [bold]b[/bold]")
    entry = an_entry(written=(form,))
    outcome = an_outcome(
        findings=(a_finding(entry, None, [(0.0, 0.0, 0.0)]), a_finding(entry, form, [(1.0, 1.0, 1.0)]))
    )
    text = " ".join(lines_at(120, outcome))
    assert "[red]class[/red]" in text
    assert "[/] [bold]b[/bold]" in text


# Markdown


def rows_of(page: str) -> Iterator[list[str]]:
    """The cells of every line of every table."""
    for line in page.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]


def nasty_outcome(text: str) -> Outcome:
    form = a_form("class", Verdict.WRONG, text)
    entry = an_entry(written=(form,), title=text, kink=text)
    findings = (a_finding(entry, None, [(0.0, 0.0, 0.0)]), a_finding(entry, form, [(1.0, 1.0, 1.0)]))
    return an_outcome(findings=findings, claims=(a_claim(statement=text, evidence=text),))


@given(st.text() | st.just(NASTY))
def test_no_text_breaks_a_markdown_table(text: str) -> None:
    outcome = nasty_outcome(text)
    page = markdown.audit(outcome, "bench gradcheck", [])
    assert [len(cells) for cells in rows_of(page)] == [10] * 3 + [9] * 4
    assert [len(cells) for cells in rows_of(markdown.claims(outcome, "bench gradcheck"))] == [4] * 3
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Training parity",
        "## Claims and planted faults",
        "## Figures",
        "## Formulas",
    ]


def test_the_pages_state_command_versions_and_device() -> None:
    outcome = an_outcome()
    made = "Made by `bench gradcheck --out x` with Python 3.12.1, NumPy 2.4.6, device cpu (Some CPU)."
    assert made in markdown.audit(outcome, "bench gradcheck --out x", [])
    assert made in markdown.claims(outcome, "bench gradcheck --out x")
    page = markdown.mutants(a_planting(a_mutant(caught="")), "bench gradcheck --out x")
    assert made in page
    assert "## Not noticed\n\n- sigmoid: gradients/layers/activations.py:31, Sigmoid" in page
    assert "## Not noticed" not in markdown.mutants(a_planting(a_mutant()), "bench gradcheck --out x")


def test_the_page_gives_every_formula_as_github_takes_it() -> None:
    softmax = an_entry("softmax", formula=r"\operatorname{softmax}(x)")
    page = markdown.audit(an_outcome(findings=(a_finding(softmax, None, [(0.0, None, None)]),)), "bench gradcheck", [])
    assert re.findall(r"```math\n(.*?)\n```", page, re.DOTALL) == [r"\mathrm{softmax}(x)", softmax.corrected_latex]
    page = markdown.audit(an_outcome(), "bench gradcheck", [])
    formulas = re.findall(r"```math\n(.*?)\n```", page, re.DOTALL)
    entry = an_entry()
    wrong = a_form("").latex
    assert formulas == [entry.formula, wrong, wrong, entry.corrected_latex, entry.formula, entry.corrected_latex]


# LaTeX

ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126))
COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciicircum{}": "^",
    r"\textasciitilde{}": "~",
    r"\textasciigrave{}": "`",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"{\ttfamily\char34}": '"',
    **{rf"\{sign}": sign for sign in "{}$&#_%"},
    **{f"{{{sign}}}": sign for sign in "[]*"},
    "-{}": "-",
    r"\mbox{-}": "-",
    "'{}": "'",
}


def read_back(source: str) -> str:
    """What the source of plain text shows; it must hold nothing else that LaTeX acts on."""
    pattern = "|".join(re.escape(command) for command in sorted(COMMANDS, key=len, reverse=True))
    rest = re.sub(pattern, "", source)
    assert not re.search(r"[\\{}$&#_%^~\"`<>|\[\]*]", rest), source
    return re.sub(pattern, lambda found: COMMANDS[found[0]], source)


@given(ascii_text)
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert read_back(tex(text)) == " ".join(text.split())


@given(st.text())
def test_any_text_is_plain_ascii_in_one_line(text: str) -> None:
    source = tex(text)
    assert source.isascii()
    assert source.isprintable()


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("\N{GREEK SMALL LETTER SIGMA}'", r"\ensuremath{\sigma}'{}"),
        ("\N{GREEK SMALL LETTER LAMDA}\N{GREEK CAPITAL LETTER DELTA}", r"\ensuremath{\lambda}\ensuremath{\Delta}"),
        ("\N{GREEK CAPITAL LETTER ALPHA}", "A"),
        ("x\N{SUPERSCRIPT THREE}", r"x\textsuperscript{3}"),
        ("w\N{SUBSCRIPT ONE}", r"w\textsubscript{1}"),
        ("\N{VULGAR FRACTION ONE HALF}", "1/2"),
        ("y\N{COMBINING CIRCUMFLEX ACCENT}", r"\^{y}"),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", r"\"{u}"),
        ("a \N{MINUS SIGN} b", r"a \ensuremath{-} b"),
        ("\N{DOUBLE VERTICAL LINE}a\N{DOUBLE VERTICAL LINE}", r"\ensuremath{\Vert}a\ensuremath{\Vert}"),
        ("\N{GRINNING FACE}", "{[}U+1F600{]}"),
        ("a\nb\tc", "a b c"),
        ("x-1 - y", r"x\mbox{-}1 -{} y"),
    ],
)
def test_mathematical_text_is_set_as_such(text: str, source: str) -> None:
    assert tex(text) == source


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=100, max_size=200))
def test_any_text_compiles(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tex")
    every = "".join(map(chr, [*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x22FF)]))
    body = "\n\n".join(rf"\textit{{{tex(text)}}} \texttt{{{tex(text)}}}" for text in [*texts, NASTY, every])
    document = folder / "text.tex"
    packages = "".join(rf"\usepackage{{{name}}}" for name in latex.PACKAGES)
    document.write_text(rf"\documentclass{{article}}{packages}\begin{{document}}" + f"\n{body}\n" + r"\end{document}")
    assert not [line for line in complaints(compiled(document)) if not line.startswith("Overfull")]


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        (r"f(x, y)=x", [r"f(x, y)=x"]),
        (r"a=b,\quad c=d", ["a=b,", "c=d"]),
        (r"a=b,\ c=d,\;e", ["a=b,", "c=d,", "e"]),
        (r"a\,b\;c", [r"a\,b\;c"]),
        (r"\{a,\ b\}", [r"\{a,\ b\}"]),
        (r"\begin{cases}a,\quad b\\ c\end{cases}", [r"\begin{cases}a,\quad b\\ c\end{cases}"]),
        (r"\left(a,\ b\right)\qquad c", [r"\left(a,\ b\right)", "c"]),
        (r"[0,\ 1),\quad x", [r"[0,\ 1),", "x"]),
        (r"x\in{]0,\ 1[},\quad y", [r"x\in{]0,\ 1[},", "y"]),
    ],
)
def test_formulas_are_parted_where_nothing_encloses(formula: str, parts: list[str]) -> None:
    assert latex.parts(formula) == parts


@pytest.mark.parametrize(
    "paper", ["a4paper,landscape,margin=15mm", "a4paper,margin=25mm"], ids=["landscape", "portrait"]
)
def test_the_tables_compile_within_their_page(tmp_path: Path, paper: str) -> None:
    wide = r",\quad ".join(rf"\frac{{\partial L}}{{\partial w_{{{i}}}}}=\sum_n g_n x_{{n{i}}}" for i in range(13))
    unbroken = "+".join(rf"\frac{{\partial L}}{{\partial w_{{{i}}}}}" for i in range(30))
    forms = tuple(a_form(f"form {i}", Verdict.WRONG, NASTY, latex=f) for i, f in enumerate((wide, unbroken)))
    entry = an_entry("wide", written=forms, kink=NASTY, formula=wide)
    findings = [a_finding(entry, None, [(0.0, 0.0, None)])]
    findings += [a_finding(entry, form, [(INF, 1.0, 1e-300)]) for form in forms]
    for i in range(12):
        findings += an_outcome().findings if i == 0 else [a_finding(an_entry(f"e{i}"), None, [(1e-16, 1e-9, 1e-8)])]
    outcome = an_outcome(findings=tuple(findings), claims=(a_claim(statement=NASTY, evidence=LONG),))
    write_texts(tmp_path, outcome)
    planting = a_planting(a_mutant(), a_mutant(operator="missing 1/N", caught=""))
    (tmp_path / "mutants.tex").write_text(latex.mutants(planting, "bench gradcheck"), encoding="utf-8")
    document = tmp_path / "preview.tex"
    preview = latex.preview(["audit", "parity", "claims", "mutants"], "bench gradcheck")
    assert "a4paper,landscape,margin=15mm" in preview
    document.write_text(preview.replace("a4paper,landscape,margin=15mm", paper), encoding="utf-8")
    assert complaints(compiled(document)) == []


def write_texts(folder: Path, outcome: Outcome) -> None:
    for name in ("audit", "parity", "claims"):
        source = getattr(latex, name)(outcome, "bench gradcheck")
        (folder / f"{name}.tex").write_text(source, encoding="utf-8")


# Files


@settings(max_examples=50)
@given(errors, st.text() | st.just(NASTY))
def test_csv_keeps_the_raw_numbers(tmp_path_factory: pytest.TempPathFactory, values: Any, text: str) -> None:
    folder = tmp_path_factory.mktemp("audit")
    form = a_form("class", Verdict.WRONG, text)
    entry = an_entry(written=(form,))
    findings = (a_finding(entry, None, values), a_finding(entry, form, values))
    losses = tuple(value for value, _, _ in values)
    parity = a_parity(losses=losses, torch_losses=losses[::-1], optimum=values[0][1])
    outcome = an_outcome(findings=findings, parities=(parity,))
    for name, make in (("audit", tables.audit), ("checks", tables.checks), ("parity", tables.parity)):
        path = folder / f"{name}.csv"
        path.write_text(csv(make(outcome)), encoding="utf-8")
    assert_traced(pd.read_csv(folder / "audit.csv"), pd.read_csv(folder / "checks.csv"))
    audit = pd.read_csv(folder / "audit.csv", keep_default_na=False, dtype=str)
    assert audit["cause"].tolist() == [printable(text)]
    again = pd.read_csv(folder / "parity.csv", keep_default_na=False).to_dict("records")[0]
    assert float(again["numpy loss"]) == losses[-1]
    assert again["optimum distance"] == "" if values[0][1] is None else float(again["optimum distance"]) == values[0][1]
    assert again["batch size"] == ""
