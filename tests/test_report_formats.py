"""Markdown, CSV and LaTeX show the same tables, and no text of a record breaks out of its place."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.records import Record
from bench.render.csv import csv_text
from bench.render.language import Language, joined, translated
from bench.render.latex import PACKAGES, fragment, preview
from bench.render.markdown import Drawing, markdown
from bench.render.table import Column, Row, Table, Value
from bench.render.terminal import tables_of
from bench.render.text import cell, plain, printable
from bench.report.report import Report
from bench.report.tables import tables
from bench.report.write import write
from tests.latex import compiled, complaints
from tests.record_samples import a_record, a_whole_document, a_whole_sweep, an_epoch, notes_of, said

LANGUAGES: list[Language] = ["en", "lv"]
NASTY = "a|b\\ `*_[x]<b>&~#$%^{}\"'--\n\r\t\x00\x1b[31m\u2028\ud800 end"


@pytest.fixture(scope="module")
def made() -> list[Table]:
    """The tables of a sweep with a failure, and text that means something to every format."""
    documents = [*a_whole_sweep(0, 5), *a_whole_sweep(1, 2, "cuda")]
    records = [Record.model_validate(document) for document in documents]
    return tables([*records, a_record("memory", status="failed", error=NASTY, epochs=[])])


def parse_markdown(page: str) -> list[list[list[str]]]:
    """The cells of a page's tables, as GitHub splits and unescapes them; headers first, rules left out."""
    found: list[list[list[str]]] = []
    before = ""
    for line in page.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            parts = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
            found[-1].append([re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part).strip() for part in parts])
        before = line
    return [[table[0], *table[2:]] for table in found]


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&amp;", "&")


# Markdown


def test_markdown_shows_every_table_as_it_is_shown(made: list[Table]) -> None:
    for language in LANGUAGES:
        parsed = parse_markdown(markdown(made, "bench report x", language))
        assert len(parsed) == len(made)
        for table, (header, *rows) in zip(made, parsed, strict=True):
            assert [unescaped(text) for text in header] == [translated(c.title, language) for c in table.shown]
            shown = [[printable(cell(row[c.key], c, language)) for c in table.shown] for row in table.rows]
            assert [[unescaped(text) for text in row] for row in rows] == shown


def test_markdown_says_what_made_it_and_what_columns_mean(made: list[Table]) -> None:
    page = markdown(made, "bench report `x`\n", "en")
    assert "Made by `bench report 'x'` from the records beside this page." in page
    for table in made:
        assert f"- [{said(table.title)}](#{table.key})" in page
        assert f'<a id="{table.key}"></a>\n\n### {said(table.title)}' in page
        for title, definition in table.definitions:
            assert plain(f"- {said(title)}: {said(definition)}") in page
        for note in notes_of(table):
            assert f"- {plain(note)}" in page


def test_a_machine_s_figures_follow_its_tables() -> None:
    made = tables([a_record()])
    drawings = [Drawing(1, "A [title]", "What it shows.", "figures/a.png"), Drawing(2, "", "", "")]
    page = markdown(made, "x", "en", drawings)
    assert page.endswith("\n### A \\[title\\]\n\n![A \\[title\\]](figures/a.png)\n\nWhat it shows.\n")


nasty = st.text(st.sampled_from("a1|\\<>`*_[]()!~&#-+.=$%^{}\n\r\t\x00\x1b\u2028\ud800 :/ņ∞"), max_size=30)


@settings(max_examples=30, deadline=None)
@given(nasty, nasty)
def test_text_from_a_record_stays_in_its_cell(error: str, value: str) -> None:
    options = {"options": {"dsn": value}}
    failed = a_record(status="failed", error=error, config=options, environment={"cpu": f"x{error}"}, flags=[value])
    page = markdown(tables([failed, a_record(environment={"cpu": f"x{error}"}, flags=[value])]), "bench report", "en")
    header, *rows = parse_markdown(page)[0]
    (shown,) = (dict(zip(header, map(unescaped, row), strict=True)) for row in rows if "dsn" in row[1])
    assert shown["remark"] == printable(f"failed: {error}")
    assert shown["loader"] == printable(f"mmap dsn={value}")
    assert "<" not in re.sub(r'<a id="[a-z0-9-]+"></a>', "", page)
    without_own = re.sub(r"^- \[.*\]\(#[a-z0-9-]+\)$|`bench report`", "", page, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[]", without_own), "no live Markdown"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u2028]", page)
    for line in page.splitlines():
        if line.startswith("- "):
            assert not re.match(r"- ([#>+=-]|\d+[.)])", line), line


# CSV


def test_csv_keeps_the_raw_numbers_of_all_columns(made: list[Table]) -> None:
    for table, language in itertools.product(made, LANGUAGES):
        rows = list(csv.DictReader(io.StringIO(csv_text(table, language))))
        assert len(rows) == len(table.rows)
        for found, row in zip(rows, table.rows, strict=True):
            assert found["run_ids"].split() == list(row.runs)
            for column in table.columns:
                _same(found, row[column.key], column, language)


def _same(found: dict[str, str], value: Value, column: Column, language: Language) -> None:
    if column.kind == "text":
        assert found[column.key] == printable(translated(value.text, language))
        return
    read = [float(found.get(name) or "nan") for name in (column.key, f"{column.key}_low", f"{column.key}_high")]
    kept = [math.nan if number is None else number for number in (value.number, value.low, value.high)]
    np.testing.assert_array_equal(read, kept)
    note = found.get(f"{column.key}_note", "")
    assert note == printable(translated(joined((value.text, value.mark)), language))


@given(nasty, nasty)
@settings(max_examples=30, deadline=None)
def test_csv_keeps_its_rows_whatever_the_text(error: str, value: str) -> None:
    record = a_record(status="failed", error=error, config={"options": {"dsn": value}}, run_id=f"x{value}")
    for table in tables([a_record(), record]):
        lines = list(csv.reader(io.StringIO(csv_text(table))))
        assert len(lines) == len(table.rows) + 1
        assert len({len(line) for line in lines}) == 1
        assert "\r" not in csv_text(table)


# LaTeX


def cells_of(source: str) -> list[list[str]]:
    """The cells of the rows of numbers in a fragment."""
    body = source.split("\\def\\benchrows{%\n")[1].split("\n}\n")[0]
    lines = [line for line in body.splitlines() if line and r"\multicolumn" not in line]
    return [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in lines]


def test_latex_numbers_are_those_of_the_tables(made: list[Table]) -> None:
    for table, language in itertools.product(made, LANGUAGES):
        rows = cells_of(fragment(table, "bench report x", language))
        assert len(rows) == len(table.rows)
        for found, row in zip(rows, table.rows, strict=True):
            text = " ".join(found)
            for column in table.shown:
                value = row[column.key]
                if column.kind == "number" and value.number is not None and not value.text:
                    shown = cell(Value(value.number), column, "en").replace(",", "")
                    assert re.search(rf"(?<![\d.]){re.escape(shown)}(?![\d.])", text), (table.key, column.key, text)


def test_a_fragment_names_its_columns_and_has_caption_and_label(made: list[Table]) -> None:
    for table in made:
        source = fragment(table, "bench report x")
        assert source.startswith(f"% Made by bench report x\n% Needs {', '.join(PACKAGES)}.\n")
        assert rf"\label{{{table.label}}}" in source
        assert r"\caption[{" in source
        (head,) = re.findall(r"\\def\\benchhead\{\\toprule (.*) \\\\ \\midrule\}", source)
        assert {len(row) for row in cells_of(source)} == {head.count("&") + 1}
        for column in table.shown:
            if column.kind == "number":
                words = re.escape(r"\\".join(said(column.heading).split()))
                assert re.search(r"\\shortstack\[r\]\{" + words, head.replace("{}", ""))


def test_table_formats_leave_room_for_every_number() -> None:
    column = Column("x", "x", format=",.2f")
    rows = [Row({"x": Value(number)}) for number in (-1234.5, 0.25, None)]
    table = Table("k", "main", "t", "c", "tab:k", [column], rows, [], "machine")
    assert "S[table-format=-4.2]" in fragment(table, "x")
    assert [row[0].strip() for row in cells_of(fragment(table, "x"))] == ["-1234.50", "0.25", ""]


def test_the_tables_compile_and_stay_on_the_page_in_both_languages(tmp_path: Path) -> None:
    records = [Record.model_validate(document) for document in a_whole_sweep(0, 5, "cuda")]
    for language in LANGUAGES:
        report = Report(records, "bench report x", language=language)
        write(report, tmp_path, ["latex"])
        assert complaints(compiled(tmp_path / report.place("tables") / "preview.tex")) == [], language


def test_any_text_compiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = "".join(map(chr, [*range(0x20, 0x180), *range(0x391, 0x3CA), 0x2020, 0x2021, 0xA7, 0xB1, 0x221E]))
    texts = [NASTY, letters, *("".join(rng.choice(list(letters + NASTY), 12)) for _ in range(20))]
    records = [
        a_record("mmap", status="failed" if n % 2 else "ok", error=text, flags=[text], config={"options": {"o": text}})
        for n, text in enumerate(texts)
    ]
    made = tables(records)
    for table in made:
        source = fragment(table, "bench report")
        assert source.isascii()
        (tmp_path / f"{table.key}.tex").write_text(source)
    document = tmp_path / "preview.tex"
    document.write_text(preview([table.key for table in made], "bench report"))
    assert [line for line in complaints(compiled(document)) if not line.startswith("Overfull")] == []


def test_ci_has_the_packages() -> None:
    script = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    (listed,) = re.findall(r"for name in ([a-z ]+); do\n.*kpsewhich", script)
    assert set(PACKAGES) <= set(listed.split())


# Odd records


odd = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 5e-324, 1e308, -1e308, 1.5])
PARTS = ["dataset", "store", "cache", "setup", "ceiling", "rates", "resources", "digest"]


@st.composite
def odd_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A record that the schema admits, with parts missing and numbers that no run gives."""
    seed, command = draw(st.integers(0, 99)), draw(st.sampled_from(["run", "run", "rate"]))
    config = {
        "command": command,
        "repeat": draw(st.integers(0, 3)),
        "seed": draw(st.integers(0, 1)),
        "dataset": draw(st.sampled_from(["digits", NASTY])),
        **({"cache": draw(st.sampled_from(["warm", "cold", "as-is"]))} if command == "run" else {}),
    }
    loader = draw(st.sampled_from(["filesystem", "mmap", NASTY]))
    document = a_whole_document(np.random.default_rng(seed), loader, config=config)
    document["config"]["loader"] = loader
    for part in draw(st.lists(st.sampled_from(PARTS), unique=True)):
        document[part] = None
    if draw(st.booleans()):
        document["epochs"] = draw(st.lists(odd_epochs(), max_size=3))
    if document["rates"] and draw(st.booleans()):
        document["rates"] = {"loader": draw(st.lists(odd, max_size=3)), "raw": draw(st.lists(odd)), "idiom": NASTY}
    if document["store"] and draw(st.booleans()):
        document["store"] = {**document["store"], "prepare_s": draw(odd), "bytes_per_image": draw(odd)}
    document["status"] = draw(st.sampled_from(["ok", "ok", "ok", "failed", "unavailable"]))
    document["error"] = draw(st.sampled_from([None, NASTY]))
    missing = draw(st.lists(st.sampled_from(sorted(document["environment"])), unique=True))
    document["environment"] = {k: v for k, v in document["environment"].items() if k not in missing}
    document["environment"] |= {key: draw(st.sampled_from([None, [], "odd", -1, {}])) for key in missing[:2]}
    return document


@st.composite
def odd_epochs(draw: st.DrawFn) -> dict[str, Any]:
    fields = ["wall_s", "fetch_s", "transfer_s", "compute_s", "other_s", "train_loss", "test_accuracy", "test_macro_f1"]
    some = [*fields, "others_cpu_s", "stolen_cpu_s", "energy_j", "open_s", "first_batch_s", "device_idle_s"]
    changes: dict[str, Any] = {name: draw(odd) for name in draw(st.lists(st.sampled_from(some), unique=True))}
    return an_epoch(images=draw(st.sampled_from([0, 1, 10**6, -1])), wait_s={}, **changes)


@settings(max_examples=75, deadline=None)
@given(st.lists(odd_documents(), min_size=1, max_size=8), st.sampled_from(LANGUAGES), st.booleans())
def test_odd_records_give_whole_tables(documents: list[dict[str, Any]], language: Language, mix: bool) -> None:
    records = [Record.model_validate(document) for document in documents]
    made = tables(records, mix=mix)
    assert len({table.key for table in made}) == len(made)
    for table in made:
        for row in table.rows:
            for value in row.cells.values():
                assert all(n is None or math.isfinite(n) for n in (value.number, value.low, value.high)), table.key
        assert len(parse_markdown(markdown([table], "x", language))[0]) == len(table.rows) + 1
        assert len(list(csv.reader(io.StringIO(csv_text(table, language))))) == len(table.rows) + 1
        assert fragment(table, "x", language).isascii()
    shown = [row.runs for table in made if table.kind == "statistics" for row in table.rows]
    assert {run for runs in shown for run in runs} <= {record.run_id for record in records}
    assert list(tables_of(made, language)) is not None


# Files


def test_files_are_those_asked_for_and_stale_ones_go(tmp_path: Path) -> None:
    for name in ("tables/stale.csv", "tables/stale.tex", "tables/mine.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    report = Report([a_record()], "bench report runs")
    keys = [table.key for table in report.tables]
    written = write(report, tmp_path, ["md", "csv"])
    assert set(written) == {tmp_path / "report.md", *(tmp_path / f"tables/{key}.csv" for key in keys)}
    assert {path.name for path in (tmp_path / "tables").iterdir()} - {f"{key}.csv" for key in keys} == {
        "stale.tex",
        "mine.pdf",
    }
    write(report, tmp_path, ["latex"])
    assert not (tmp_path / "tables/stale.tex").exists()
    assert r"\input{main-convnet-warm}" in (tmp_path / "tables/preview.tex").read_text()


def test_another_language_has_files_of_its_own(tmp_path: Path) -> None:
    write(Report([a_record()], "bench report runs"), tmp_path, ["md"])
    written = write(Report([a_record()], "bench report runs --language lv", language="lv"), tmp_path, ["md", "csv"])
    assert {path.relative_to(tmp_path).parts[0] for path in written} == {"report-lv.md", "tables-lv"}
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# Results")
    assert (tmp_path / "report-lv.md").read_text(encoding="utf-8").startswith("# Rezultāti")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"cannot write the report into .*: Not a directory; choose another folder"):
        write(Report([a_record()], "bench report"), tmp_path / "file", ["md"])


def test_text_is_made_safe_for_its_place() -> None:
    assert printable(NASTY) == "a|b\\ `*_[x]<b>&~#$%^{}\"'-- \ufffd\ufffd[31m \ufffd end"
    assert printable("a\r\nb") == "a b"
    assert plain("a_b _c_ <d> | e") == "a_b \\_c\\_ &lt;d> \\| e"
    assert printable("1\N{NO-BREAK SPACE}000") == "1\N{NO-BREAK SPACE}000"
