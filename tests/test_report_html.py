"""The page says what the tables and records say, links every number to its records, and lets no text become markup."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import tomllib
import zlib
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.gradients.tables import shown
from bench.records import Foreign, Record
from bench.render.language import LANGUAGES, Language, translated
from bench.render.stored import STORED, dumps
from bench.render.table import Column, Row, Table, Value
from bench.render.text import cell as as_shown
from bench.report.figures import Picture, plan
from bench.report.groups import groups
from bench.report.page import html as page_of
from bench.report.page.links import Links
from bench.report.report import Report
from bench.report.tables import tables
from tests.gradient_samples import a_mutant, a_planting, an_outcome
from tests.record_samples import DATASET, ENVIRONMENT
from tests.simulated_runs import a_dataset, a_run, a_sweep

ROOT = Path(__file__).parents[1]
COSTS = {"filesystem": 10.0, "hdf5": 7.0, "mmap": 5.0}


class Page(HTMLParser):
    """What a browser makes of a page, as far as the tests ask.

    Attributes:
        tags: how often each element occurs.
        ids: in order.
        links: targets of all ``href`` and ``src``.
        cells: of each table by its id: rows of (element, attributes, text, target of the link within).
        texts: text of each element that has an id, by it.
        raw: content of each style and script.
        labels: text of each ``bdi``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.cells: dict[str, list[list[dict[str, Any]]]] = {}
        self.texts: dict[str, str] = {}
        self._table: list[list[dict[str, Any]]] | None = None
        self._cell: dict[str, Any] | None = None
        self._named: list[tuple[str, str]] = []
        self._raw: str | None = None
        self.raw: list[str] = []
        self.labels: list[str] = []
        self._label = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.attributes.append((tag, found))
        self.links += [target for name in ("href", "src") if (target := found.get(name)) is not None]
        if name := found.get("id"):
            self.ids.append(name)
            self.texts[name] = ""
            self._named.append((tag, name))
        if tag == "table":
            self._table = self.cells.setdefault(str(found.get("id")), [])
        if self._table is not None and tag == "tr":
            self._table.append([])
        if self._table is not None and tag in ("td", "th"):
            self._table[-1].append({"tag": tag, "attributes": found, "text": "", "href": None})
            self._cell = self._table[-1][-1]
        if self._cell is not None and tag == "a":
            self._cell["href"] = found["href"]
        if tag == "bdi":
            self.labels.append("")
        self._label = tag == "bdi"
        if tag in ("style", "script"):
            self.raw.append("")
            self._raw = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table = None
        if tag in ("td", "th"):
            self._cell = None
        self._label = False
        if self._named and self._named[-1][0] == tag:
            self._named.pop()
        if tag == self._raw:
            self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.raw[-1] += data
        if self._label:
            self.labels[-1] += data
        if self._named:
            self.texts[self._named[-1][1]] += data
        if self._cell is not None:
            self._cell["text"] += data


def sweep() -> list[Record]:
    """Two datasets, warm and cold, one loader that is unavailable and one run that failed."""
    records = []
    for place, name in enumerate(("cifar10", "tiny-imagenet")):
        for cache in ("warm", "cold"):
            settings_: dict[str, Any] = {
                "config": {"dataset": name, "cache": cache},
                "dataset": a_dataset(name, 1000 * (place + 1)),
            }
            records += a_sweep(COSTS, seed=place, **settings_)
            records.append(lost("gpu_mmap", "unavailable", "no CUDA device", **settings_))
    records.append(
        lost("hdf5", "failed", "out of memory", 5, config={"dataset": "cifar10"}, dataset=a_dataset("cifar10", 1000))
    )
    return records


def lost(loader: str, status: str, error: str, number: int = 0, **changes: Any) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "resources", "digest"))
    return a_run(loader, number, 1.0, **{**nothing, "epochs": [], "status": status, "error": error, **changes})


def the_text(records: Sequence[Record], language: Language = "en", **more: Any) -> str:
    made = more.pop("made", None) or tables(records)
    pictures, drawn = more.pop("pictures", ()), more.pop("drawn", None)
    return page_of(Report(records, "bench report x", language=language, **more), made, pictures, drawn)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return sweep()


@pytest.fixture(scope="module")
def page(records: list[Record]) -> Page:
    return Page(the_text(records))


def embedded(page: Page) -> dict[str, Any]:
    """The records on the page by their anchors."""
    anchors = [str(a["id"]) for tag, a in page.attributes if tag == "pre" and a.get("class") == "record"]
    texts = json.loads(zlib.decompress(base64.b64decode(page.texts["packed"])))
    return {anchor: json.loads(text) for anchor, text in zip(anchors, texts, strict=True)}


def runs_behind(text: str, page: Page) -> dict[str, set[str]]:
    """The runs that one gets to from a link to each anchor: a record's own, or a list of several."""
    one = {anchor: {run["run_id"]} for anchor, run in embedded(page).items()}
    lists = re.findall(r'<li id="(runs-\d+)".*?</li>', text, re.DOTALL)
    items = re.findall(r'<li id="runs-\d+".*?</li>', text, re.DOTALL)
    several = {
        anchor: {run for link in Page(item).links for run in one[link.removeprefix("#")]}
        for anchor, item in zip(lists, items, strict=True)
    }
    return one | several


def test_every_record_is_on_the_page_whole(records: list[Record], page: Page) -> None:
    found = embedded(page)
    assert list(found) == [anchor for anchor in page.ids if anchor in found]
    assert {run["run_id"]: Record.model_validate(run) for run in found.values()} == {r.run_id: r for r in records}


def test_every_number_is_linked_to_its_records(records: list[Record]) -> None:
    made = tables(records)
    text = the_text(records, made=made)
    page = Page(text)
    behind, linked = runs_behind(text, page), 0
    for table in made:
        heads, *rows = page.cells[f"{table.key}-table"]
        assert len(heads) == len(table.shown)
        assert len(rows) == len(table.rows)
        for cells, row in zip(rows, table.rows, strict=True):
            for cell, column in zip(cells, table.shown, strict=True):
                value = row[column.key]
                assert cell["attributes"].get("data-value") == (None if value.number is None else str(value.number))
                assert bool(cell["href"]) == bool(value.runs and cell["text"])
                if cell["href"]:
                    assert behind[cell["href"].removeprefix("#")] == set(value.runs)
                    linked += 1
    assert linked > 200


def test_cells_show_what_the_other_formats_show(records: list[Record]) -> None:
    made = tables(records)
    for language in LANGUAGES:
        page = Page(the_text(records, language, made=made))
        for table in made:
            shown = [[cell["text"] for cell in row] for row in page.cells[f"{table.key}-table"][1:]]
            assert shown == [[as_shown(row[c.key], c, language) for c in table.shown] for row in table.rows], table.key


def test_ids_are_unique_and_every_link_leads_to_one(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    assert all(re.fullmatch(r"\S+", name) for name in page.ids)
    targets = {unquote(link.removeprefix("#")) for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(targets) > 50


def test_nothing_is_loaded_from_elsewhere(page: Page, records: list[Record]) -> None:
    assert {link for link in page.links if not link.startswith("#")} == {"data:,"}
    text = the_text(records)
    assert not re.search(r"https?:|@import|url\(", text)
    assert not any(name in found for _, found in page.attributes for name in ("style", "onclick", "onload", "srcset"))


def test_the_policy_allows_this_style_and_this_script_alone(page: Page) -> None:
    (policy,) = (a["content"] for tag, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    css, _, words, js = page.raw
    json.loads(words)
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", css), ("script", js))
    }
    assert dict(part.split(" ", 1) for part in policy.split("; ")) == {
        "default-src": "'none'",
        "img-src": "data:",
        **{f"{name}-src": f"'sha256-{value}'" for name, value in hashes.items()},
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_tables_have_captions_scopes_and_row_headers(page: Page, records: list[Record]) -> None:
    assert page.tags["caption"] == page.tags["table"] == len(tables(records))
    for rows in page.cells.values():
        assert {(cell["tag"], cell["attributes"].get("scope")) for cell in rows[0]} == {("th", "col")}
        for row in rows[1:]:
            scopes = [(cell["tag"], cell["attributes"].get("scope")) for cell in row]
            assert scopes == sorted(scopes, key=lambda pair: pair[0], reverse=True)  # what names a row comes first
            assert set(scopes) == {("th", "row"), ("td", None)}


def test_loaders_without_a_result_stay_visible(page: Page) -> None:
    rows = page.cells["main-convnet-warm-table"]
    (row,) = [row for row in rows if row[1]["text"] == "gpu_mmap" and row[0]["text"].startswith("cifar10")]
    assert row[-1]["text"] == "unavailable: no CUDA device"


NASTY = [
    "</script><script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "<!--",
    "]]>",
    "\"' onmouseover='x",
    "&lt;b&gt; &amp; &#60;",
    "{{ 7 * 7 }} {% raw %}",
    "a\u2028b\u2029c",
    "\x00\x1b\x7f\x85",
    "\ud800 half",
    "\u202eright to left",
    "javascript:alert(1)",
    "",
]


def spoilt(text: str) -> list[Record]:
    """Records with this text wherever a record may hold any."""
    whole = text.encode(errors="ignore").decode()  # pydantic takes no half of a surrogate pair where a text is declared
    environment = {
        "cpu": text,
        "kernel": text,
        "packages": {**ENVIRONMENT["packages"], "h5py": text},
        "git": {"commit": text, "clean": True},
        "gpu": {"name": text, "driver": text},
        "storage": {"filesystem": text, "device": text},
    }
    common: dict[str, Any] = {
        "environment": environment,
        "dataset": {**DATASET, "name": whole},
        "flags": [whole],
        "started_at": whole,
    }
    config = {"options": {"note": text}, "dataset": whole}
    return [
        a_run("mmap", 0, 1.0, config=config, run_id=whole, **common),
        a_run("hdf5", 0, 1.0, config={"dataset": whole}, **common),
        lost(whole, "failed", whole, config={"dataset": whole}, **common),
    ]


def nasty(test: Any) -> Any:
    for text in NASTY:
        test = example(text)(test)
    return test


@settings(max_examples=15, deadline=None)
@nasty
@given(st.text(max_size=40))
def test_text_from_records_is_never_markup(text: str) -> None:
    made = spoilt(text)
    page = the_text(made, foreign=[Foreign(Path("torn.json"), text)])
    page.encode()
    found, plain = Page(page), the_plain_page()
    assert found.tags.keys() <= plain.tags.keys()
    assert (found.tags["script"], found.tags["style"], found.tags["pre"]) == (3, 1, len(made))
    assert [found.raw[i] for i in (0, 2, 3)] == [plain.raw[i] for i in (0, 2, 3)], "all but the records"
    assert {name for _, a in found.attributes for name in a} <= {name for _, a in plain.attributes for name in a}
    assert all(link.startswith("#") or link == "data:," for link in found.links)
    documents = embedded(found).values()
    assert sorted(map(repr, documents)) == sorted(repr(json.loads(json.dumps(r.model_dump()))) for r in made)
    shown = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\ufffd", f"mmap note={text}".rstrip())
    assert any(label.startswith(f"{shown}, ") for label in found.labels)


@functools.cache
def the_plain_page() -> Page:
    return Page(the_text(spoilt("plain"), foreign=[Foreign(Path("torn.json"), "plain")]))


def test_a_diverged_loss_can_be_read_back() -> None:
    epochs = [{**a_run("mmap", 0, 1.0).epochs[0].model_dump(), "train_loss": loss} for loss in ("NaN", "Infinity")]
    (document,) = embedded(Page(the_text([a_run("mmap", 0, 1.0, epochs=epochs)]))).values()
    assert [epoch["train_loss"] for epoch in document["epochs"]] == ["NaN", "Infinity"]
    assert Record.model_validate(document).epochs[1].train_loss == float("inf")


def test_machines_that_share_a_run_are_told_apart() -> None:
    """The id of a run depends on its settings alone."""
    here, there = (
        a_sweep({"mmap": cost}, rounds=1, environment={"cpu": cpu}) for cpu, cost in (("A", 1.0), ("B", 2.0))
    )
    assert here[0].run_id == there[0].run_id
    page = Page(the_text([*here, *there]))
    found = embedded(page)
    assert list(found) == [here[0].run_id, f"{here[0].run_id}-2"]
    for key, cpu in (("main-convnet-warm-table", "A"), ("2-main-convnet-warm-table", "B")):
        (cell,) = [cell for cell in page.cells[key][1] if cell["attributes"].get("data-value") == "1.0"]
        assert found[cell["href"].removeprefix("#")]["environment"]["cpu"] == cpu


def test_superseded_records_are_on_the_page_too() -> None:
    old, new = (a_run("mmap", 0, 1.0, started_at=f"2026-01-0{day}T00:00:00+00:00") for day in (1, 2))
    page = Page(the_text([old, new]))
    assert [run["started_at"][:10] for run in embedded(page).values()] == ["2026-01-02", "2026-01-01"]


def test_an_unknown_run_has_no_link(records: list[Record]) -> None:
    made = groups(records)
    assert Links(records, made).target(made[0].number, ["no such run"]) is None


def test_facts_of_the_machine(records: list[Record]) -> None:
    text = the_text(records)
    facts = dict(re.findall(r"^<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.MULTILINE))
    assert facts["Processor"] == "Some CPU, 8 cores"
    assert facts["Memory"] == "64.0 GB"
    assert facts["System"] == "Linux, 6.1"
    assert facts["Software"] == "Python 3.12.1, torch 2.11.0, numpy 2.1.0"
    assert facts["Runs"] == "60 ended well, 4 could not run here, 1 failed, 6 rounds"
    assert facts["Measured"] == "2026-01-05 08:00 to 2026-01-05 08:05"
    assert facts["Commit of the harness"] == "000000000000 (clean tree)"
    assert facts["Page cache"] == "warm: shown for 0 of 60 runs"
    assert facts["Datasets"].startswith(
        "cifar10 (synthetic twin): 1,000 training and 200 test images of 3 x 32 x 32, 10 classes; tiny-imagenet ("
    )
    assert facts["Training"] == "convnet, 3 epochs, batches of 128"


def test_facts_of_another_machine() -> None:
    gpu = {"name": "Some GPU", "memory_bytes": 8 * 10**9, "driver": "1.2", "cuda": "13.0", "cudnn": None}
    environment = {"affinity": [0, 2], "virtual": True, "gpu": gpu, "git": {"commit": "a" * 40, "clean": False}}
    text = the_text([a_run("mmap", 0, 1.0, environment=environment)])
    for fact in (
        "Some CPU, 8 cores, of which 2 used",
        "Some GPU, 8.0 GB, driver 1.2, CUDA 13.0",
        "Linux, 6.1, virtual machine",
        "aaaaaaaaaaaa (tree with uncommitted changes)",
    ):
        assert f"<dd>{fact}</dd>" in text


def test_the_page_holds_its_figures_and_names_what_it_left_out(tmp_path: Path) -> None:
    records = a_sweep({"filesystem": 10.0, "mmap": 5.0}, rounds=2)
    made, pictures = tables(records), plan(records)[:2]
    for picture in pictures[1:]:
        (drawn,) = [path for path in picture.save(tmp_path, "lv") if path.suffix == ".png"]
        drawn.write_bytes(drawn.read_bytes() + b"mark")
    foreign = [Foreign(tmp_path / "torn.json", "not readable as JSON")]
    cases: list[tuple[Language, list[Picture], Path | None]] = [
        ("en", pictures[:1], None),
        ("lv", pictures[1:], tmp_path),
    ]
    for language, figures, place in cases:
        text = the_text(records, language, made=made, pictures=figures, drawn=place, foreign=foreign)
        page = Page(text)
        assert f'<html lang="{language}">' in text
        assert "<code>torn.json</code>: not readable as JSON" in text
        (image,) = [a for tag, a in page.attributes if tag == "img"]
        assert image["alt"] == translated(figures[0].alt, language)
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert base64.b64decode(data).endswith(b"mark") == (place is not None), (
            "a figure that is drawn already is taken"
        )
        for section in ("recommendation", "subject", "tables", "figures", "definitions", "records"):
            assert f"#{section}" in page.links
        assert "gradients" not in page.ids
        terms = dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", text))
        definitions = {translated(definition, language) for table in made for _, definition in table.definitions}
        assert {html.unescape(text) for text in terms.values()} == definitions


def test_gradients_are_shown_if_they_liebeside(tmp_path: Path, records: list[Record]) -> None:
    assert 'id="gradients"' not in the_text(records, gradients=tmp_path)
    (tmp_path / STORED).write_text(dumps(shown(an_outcome())), encoding="utf-8")
    page = Page(the_text(records, gradients=tmp_path))
    for name, rows in (("audit", 3), ("parity", 2), ("claims", 2)):
        assert len(page.cells[f"gradients-{name}-table"]) == rows + 1
    (wrong,) = [row for row in page.cells["gradients-audit-table"] if row[0]["text"] == "sigmoid: class"]
    assert [cell["text"] for cell in wrong[1:6]] == ["wrong", "\N{INFINITY}", "5.0e-01", "1.0e+00", "2"]


def test_a_file_that_is_no_audit(tmp_path: Path, records: list[Record]) -> None:
    for content in ("a,b\n1,2\n", "[1]", '[{"key": "x"}]', "\0", dumps([shown(a_planting(a_mutant()))[0]])):
        (tmp_path / STORED).write_text(content, encoding="utf-8")
        with pytest.raises(BenchError, match=r"tables.json is not of `bench gradcheck`"):
            the_text(records, gradients=tmp_path)


def test_a_page_without_any_record() -> None:
    page = Page(the_text([]))
    assert embedded(page) == {}
    assert page.tags["table"] == 0


def test_many_recommendations_are_folded_away() -> None:
    made = [r for n in range(8) for r in a_sweep(COSTS, config={"workers": n})]
    text = the_text(made)
    assert text.count('<p class="pick">') == 8
    assert "2 further recommendations" in text
    assert "further" not in the_text([r for r in made if r.config.workers < 6])


def test_latvian_numbers(records: list[Record]) -> None:
    text = the_text(records, "lv")
    assert "1\N{NO-BREAK SPACE}000 apmācības un 200 testa attēli" in text


def test_files_of_the_page_are_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = patterns["tool"]["setuptools"]["package-data"]["bench"]
    installed = {path for pattern in data for path in (ROOT / "bench").glob(pattern)}
    names = {path.name for path in installed if path.parent == ROOT / "bench" / "report" / "page"}
    assert names == {"page.css", "page.html", "page.js"}
    assert len((ROOT / "bench" / "report" / "page" / "page.js").read_text(encoding="utf-8").splitlines()) < 200


def test_a_made_up_table_needs_no_number(records: list[Record]) -> None:
    column = Column("what", "what", kind="text")
    table = Table("t", "made", "T", "", "tab:t", [column], [Row({"what": Value(text="x")})], [], "nowhere")
    page = Page(the_text(records, made=[table]))
    assert [cell["tag"] for cell in page.cells["t-table"][1]] == ["th"]
