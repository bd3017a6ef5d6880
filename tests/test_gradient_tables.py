"""The gradient audit's tables say what was found, in every format, whatever text they are given."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.gradients import tables
from bench.gradients import write as writing
from bench.gradients.entry import Verdict
from bench.gradients.outcome import Outcome, Planting
from bench.render import maths, terminal
from bench.render.csv import csv_text
from bench.render.latex import PACKAGES, fragment, preview
from bench.render.markdown import markdown
from bench.render.stored import STORED, dumps, loads
from bench.render.table import Table
from bench.render.tex import tex
from bench.render.text import printable
from tests.gradient_samples import (
    INF,
    a_claim,
    a_figure,
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
LONG = "the inner derivative of a, -1, is lost, so that a step climbs; 1/N is lost too, except for one sample"

relative_errors = st.one_of(st.just(0.0), st.just(INF), st.floats(1e-300, 1.0))
optional = st.none() | relative_errors
errors = st.lists(st.tuples(relative_errors, optional, optional), min_size=1, max_size=4)


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(table))))


def texts(table: Table, *keys: str) -> list[list[str]]:
    return [[str(row[key].text) for key in keys] for row in table.rows]


# What the tables say


def test_a_row_is_a_written_form_or_what_is_derived_here() -> None:
    table = tables.audit(an_outcome())
    assert texts(table, "entry", "form", "verdict") == [
        ["sigmoid", "class", "wrong"],
        ["sigmoid", "second source", "convention at a kink"],
        ["softmax", tables.DERIVED_HERE, "agrees"],
    ]
    assert [row["cases"].number for row in table.rows] == [2, 1, 1]
    assert [row["corrected autograd"].number for row in table.rows] == [1.25e-16, 1.25e-16, 0.0]
    assert [row["autograd"].number for row in table.rows] == [INF, 0.25, 0.0]
    forms = tables.formulas(an_outcome())
    assert [row[0] for row in texts(forms, "form")] == [
        *("function", "as written: class", "as written: second source", "corrected"),
        *("function", tables.DERIVED_HERE),
    ]


def assert_traced(audit: list[dict[str, str]], checks: list[dict[str, str]]) -> None:
    """Every number of the audit is the largest of its rows in the raw values."""
    assert audit
    for row in audit:
        form = "corrected" if row["form"] == tables.DERIVED_HERE else row["form"]
        for prefix, name in (("", form), ("corrected ", "corrected")):
            raw = [check for check in checks if (check["entry"], check["form"]) == (row["entry"], name)]
            assert raw
            for referee in ("autograd", "differences", "float32"):
                worst = max((float(check[referee]) for check in raw if check[referee]), default=None)
                assert worst == (float(row[prefix + referee]) if row[prefix + referee] else None), (row, referee)


@settings(max_examples=40, deadline=None)
@given(errors, errors, st.text() | st.just(NASTY))
def test_the_csv_keeps_raw_numbers_whose_worst_are_in_the_audit(mine: Any, theirs: Any, text: str) -> None:
    form = a_form("class", Verdict.WRONG, text)
    entry = an_entry(written=(form,))
    losses = tuple(value for value, _, _ in mine)
    parity = a_parity(losses=losses, torch_losses=losses[::-1], optimum=mine[0][1])
    findings = (a_finding(entry, None, theirs), a_finding(entry, form, mine))
    outcome = an_outcome(findings=findings, parities=(parity,))
    audit = rows_of(tables.audit(outcome))
    assert_traced(audit, rows_of(tables.checks(outcome)))
    assert [row["cause"] for row in audit] == [printable(text)]
    (again,) = rows_of(tables.parity(outcome))
    assert float(again["numpy loss"]) == losses[-1]
    assert again["optimum distance"] == ("" if mine[0][1] is None else repr(float(mine[0][1])))
    assert again["batch size"] == ""
    assert [float(row["torch"]) for row in rows_of(tables.losses(outcome))] == list(losses[::-1])


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
    assert outcome.summary.endswith("3 not as expected")
    (row,) = tables.claims(outcome).rows
    assert (row["verdict"].text, row["verdict"].mark) == ("holds", ", not does not hold")


def test_the_summaries_count() -> None:
    assert an_outcome().summary == (
        "2 entries, 2 corrected gradients agree; 2 written forms: 0 agree, 1 wrong, 1 differ by convention at a kink; "
        "2 models trained twice; 2 claims; all as expected"
    )
    planting = a_planting(
        a_mutant(), a_mutant(caught=""), a_mutant(entry="tanh", kind="branch", caught="error", wrong=())
    )
    assert planting.summary == "2 of 3 planted faults caught, in 2 entries"
    assert [sentence.partition(":")[0] for sentence in planting.faults] == ["sigmoid"]
    for by, (first, second) in {"kind": ("sign", "branch"), "entry": ("sigmoid", "tanh")}.items():
        table = tables.planted(planting, by)  # type: ignore[arg-type]
        keys = ("planted", "caught", "by values", "by an error")
        assert {row[by].text: [row[key].number for key in keys] for row in table.rows} == {
            first: [2, 1, 1, 0],
            second: [1, 1, 0, 1],
        }


def test_the_wrong_gradients_stand_before_the_cause() -> None:
    for gradients, wrong, said in (
        (("x",), ("x",), "x: cause"),
        (("x", "W"), ("x", "W"), "all: cause"),
        (("x", "W"), ("value", "x", "W"), "all: cause"),
        (("x", "W"), ("W",), "W: cause"),
        (("x", "W"), (), "cause"),
    ):
        finding = a_finding(an_entry(), a_form("class", Verdict.WRONG, "cause"), [(1.0, None, None)], wrong=wrong)
        checks = tuple(dataclasses.replace(finding.checks[0], gradient=name) for name in ("value", *gradients))
        corrected = a_finding(an_entry(), None, [(0.0, None, None)])
        outcome = an_outcome(findings=(corrected, dataclasses.replace(finding, checks=checks)))
        assert texts(tables.audit(outcome), "why")[-1] == [said]


# How they are shown


def shown_at(width: int, made: Outcome | Planting) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    for table, _ in terminal.tables_of(tables.shown(made)):
        console.print(table)
    return console.export_text().splitlines()


def test_the_terminal_shows_every_number_and_word_at_120_columns() -> None:
    form = a_form("[red]class[/red]", Verdict.WRONG, LONG)
    entry = an_entry("binary-cross-entropy", written=(form,))
    outcome = an_outcome(
        findings=(a_finding(entry, None, [(1.24e-16, 2e-9, 3.3e-8)]), a_finding(entry, form, [(0.98765, 0.5, 0.25)])),
        parities=(a_parity("house-linear", parameter="0.W", kink=LONG),),
        claims=(a_claim(statement=LONG, evidence=LONG),),
    )
    lines = shown_at(120, outcome)
    assert max(map(len, lines)) <= 120
    text = " ".join(lines)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for number in ("9.9e-01", "5.0e-01", "2.5e-01", "1.2e-16", "2.5e-16", "house-linear", "0.W", "[red]class[/red]"):
        assert f" {number} " in text, number
    assert not any("planted" in line for line in lines)
    assert any("Planted faults; by entry" in line for line in shown_at(120, a_planting(a_mutant())))


def nasty_outcome(text: str) -> Outcome:
    form = a_form("class", Verdict.WRONG, text)
    entry = an_entry(written=(form,), title=text, kink=text)
    findings = (a_finding(entry, None, [(0.0, 0.0, 0.0)]), a_finding(entry, form, [(1.0, 1.0, INF)]))
    return an_outcome(findings=findings, claims=(a_claim(statement=text, evidence=text),))


@settings(max_examples=30, deadline=None)
@given(st.text() | st.just(NASTY))
def test_no_text_breaks_a_page_or_is_lost_in_the_stored_tables(text: str) -> None:
    made = tables.shown(nasty_outcome(text))
    page = markdown([*made, tables.formulas(nasty_outcome(text))], "bench gradcheck", "en", beside=False)
    lines = [line for line in page.splitlines() if line.startswith("|")]
    widths = {len(t.shown) + 1 for t in [*made, tables.formulas(nasty_outcome(text))]}
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == widths
    assert len(lines) == sum(len(t.rows) + 2 for t in made) + 3 + 2
    assert loads(dumps(made)) == made


def test_formulas_are_shown_as_each_page_takes_them() -> None:
    assert maths.markdown(r"\operatorname{relu}(|x|),\quad y") == r"$`\mathrm{relu}(\vert x\vert ),\quad y`$"
    assert maths.latex(r"a=b,\quad c=d") == r"\benchmaths{a=b,}\hspace{1em}\benchmaths{c=d}"
    source = fragment(tables.formulas(an_outcome()), "bench gradcheck")
    assert "amsmath, graphicx" in source
    assert source.count(r"\benchmaths{") == 6
    assert "amsmath" not in fragment(tables.claims(an_outcome()), "bench gradcheck")


def test_numbers_with_exponents_are_set_as_such() -> None:
    source = fragment(tables.audit(nasty_outcome("x")), "bench gradcheck")
    assert "S[table-format=1.1e2]" in source
    assert r"{$\infty$}" in source
    assert "1.0e+00" in source
    page = markdown([tables.audit(nasty_outcome("x"))], "bench gradcheck", "en", beside=False)
    assert "∞" in page
    assert re.search(r"\| +0 \|", page), "the corrected one's exact zero"


def test_written_files_are_those_of_the_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "figures", lambda _: [a_figure()])
    outcome = an_outcome(parities=())
    written = {path.name for path in writing.write(outcome, tmp_path, ["md"], "bench gradcheck --out x")}
    assert written == {"audit.md", STORED, "figures"} == {path.name for path in tmp_path.iterdir()}
    page = (tmp_path / "audit.md").read_text(encoding="utf-8")
    assert "Made by `bench gradcheck --out x`." in page
    assert f"## {outcome.made_with}" in page
    assert f"{outcome.summary}. A form" in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert pictures == ["figures/backpropagation.png"]
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert [table.key for table in loads((tmp_path / STORED).read_text(encoding="utf-8"))] == [
        *("audit", "parity", "claims")
    ]


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


@settings(max_examples=50, deadline=None)
@given(ascii_text, st.text())
def test_text_is_shown_as_it_is_in_plain_ascii_and_one_line(plain: str, text: str) -> None:
    assert read_back(tex(plain)) == " ".join(plain.split())
    assert tex(text).isascii()
    assert tex(text).isprintable()


def test_mathematical_text_is_set_as_such() -> None:
    for text, source in (
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
    ):
        assert tex(text) == source


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=100, max_size=200))
def test_any_text_compiles(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tex")
    every = "".join(map(chr, [*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x22FF)]))
    body = "\n\n".join(rf"\textit{{{tex(text)}}} \texttt{{{tex(text)}}}" for text in [*texts, NASTY, every])
    document = folder / "text.tex"
    document.write_text(r"\documentclass{article}\begin{document}" + f"\n{body}\n" + r"\end{document}")
    assert not [line for line in complaints(compiled(document)) if not line.startswith("Overfull")]


def test_the_tables_compile_within_their_page(tmp_path: Path) -> None:
    wide = r",\quad ".join(rf"\frac{{\partial L}}{{\partial w_{{{i}}}}}=\sum_n g_n x_{{n{i}}}" for i in range(13))
    unbroken = "+".join(rf"\frac{{\partial L}}{{\partial w_{{{i}}}}}" for i in range(30))
    forms = tuple(a_form(f"form {i}", Verdict.WRONG, NASTY, latex=f) for i, f in enumerate((wide, unbroken)))
    entry = an_entry("wide", written=forms, kink=NASTY, formula=wide)
    findings = [a_finding(entry, None, [(0.0, 0.0, None)])]
    findings += [a_finding(entry, form, [(INF, 1.0, 1e-300)]) for form in forms]
    findings += [a_finding(an_entry(f"e{i}"), None, [(1e-16, 1e-9, 1e-8)]) for i in range(12)]
    outcome = an_outcome(findings=tuple(findings), claims=(a_claim(statement=NASTY, evidence=LONG),))
    made = [*tables.shown(outcome), tables.formulas(outcome)]
    for table in made:
        (tmp_path / f"{table.key}.tex").write_text(fragment(table, "bench gradcheck"), encoding="utf-8")
    document = tmp_path / "preview.tex"
    packages = (*PACKAGES, *maths.PACKAGES)
    document.write_text(preview([table.key for table in made], "bench gradcheck", "en", packages), encoding="utf-8")
    assert complaints(compiled(document)) == []


def test_what_is_no_table_is_not_read() -> None:
    for text in ("", "{}", '[{"key": 1}]', "[1]"):
        with pytest.raises(ValueError, match="validation error"):
            loads(text)
    assert math.isinf(loads(dumps([tables.audit(an_outcome())]))[0].rows[0]["autograd"].number or 0.0)
