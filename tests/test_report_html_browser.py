"""The page in headless Chromium: it sorts, filters and follows links by mouse and keyboard, and asks for nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.gradients.tables import shown
from bench.records import Record
from bench.render.language import LANGUAGES, Language
from bench.render.stored import STORED, dumps
from bench.report.figures import plan
from bench.report.page import html
from bench.report.report import Report
from tests.chromium import Browser, chromium
from tests.gradient_samples import an_outcome
from tests.simulated_runs import a_dataset, a_run, a_sweep

MAIN = "main-convnet-warm-table"
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\u2028\"'"


def records() -> list[Record]:
    made = []
    for seed, name in enumerate(("digits", "cifar10")):
        common: dict[str, Any] = {"config": {"dataset": name}, "dataset": a_dataset(name)}
        made += a_sweep({"filesystem": 10.0, "hdf5": 7.0, "mmap": 5.0}, seed=seed, **common)
        nothing: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "resources", "digest"))
        failed: dict[str, Any] = {**nothing, "epochs": [], "status": "failed", "error": HOSTILE}
        made.append(a_run("postgres", 0, 1.0, **failed, **common))
    return [
        *made,
        a_run(
            "memory", 0, 6.0, config={"dataset": "digits", "options": {"note": HOSTILE}}, dataset=a_dataset("digits")
        ),
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[Language, Path]:
    """The page in both languages; it needs a browser, without which nothing is written."""
    made = records()
    found: dict[Language, Path] = {}
    audit = tmp_path_factory.mktemp("audit")
    (audit / STORED).write_text(dumps(shown(an_outcome())), encoding="utf-8")
    for language in LANGUAGES:
        pictures = plan(made)[:1] if language == "en" else []
        found[language] = tmp_path_factory.mktemp(language) / "report.html"
        report = Report(made, "bench report x", language=language, gradients=audit)
        text = html(report, report.tables, pictures)
        found[language].write_text(text, encoding="utf-8")
    return found


@pytest.fixture
def page(browser: Browser, pages: dict[Language, Path]) -> Iterator[Browser]:
    """The page as just opened; afterwards, nothing was asked for and nothing complained."""
    browser.appear()
    browser.open(pages["en"])
    yield browser
    assert not browser.complaints()
    asked = {url.partition(",")[0].rpartition("/")[2] for url in browser.requests()}
    assert asked <= {"report.html", "png;base64", "data:"}


def rows(page: Browser, table: str = MAIN) -> list[list[str]]:
    """The texts of the rows that are shown."""
    script = """[...document.querySelectorAll('#%s tbody tr')].filter((row) => !row.hidden)
      .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""
    found: list[list[str]] = page.run(script % table)
    return found


def values(page: Browser, column: int) -> list[float | None]:
    """The raw numbers of a column of the main table, from above."""
    script = f"[...document.querySelectorAll('#{MAIN} tbody tr')].map(r => r.cells[{column}].dataset.value ?? null)"
    return [None if value is None else float(value) for value in page.run(script)]


def head(column: int) -> str:
    return f"#{MAIN} thead th:nth-child({column + 1})"


def sorting(page: Browser, column: int) -> str:
    return str(page.run(f"document.querySelector('{head(column)}').ariaSort"))


def status(page: Browser) -> str:
    return str(page.run(f"document.querySelector('output[for={MAIN}]').textContent"))


def tools(page: Browser, what: str) -> str:
    """A selector of what stands right above the main table."""
    page.run(f"document.querySelector('#{MAIN}').closest('.scroll').previousElementSibling.id = 'tools'")
    return f"#tools {what}"


def until(page: Browser, condition: str) -> None:
    """Wait until the page has done what it does by itself."""
    page.run(f"new Promise(done => {{ const look = () => {condition} ? done(1) : setTimeout(look, 10); look() }})")


STALL = 3
"""Place of the epoch time in the main table."""


def test_a_click_sorts_up_then_down_then_not(page: Browser) -> None:
    before = values(page, STALL)
    known = sorted(value for value in before if value is not None)
    missing = [None] * (len(before) - len(known))
    assert (len(known), len(missing)) == (7, 2)
    assert sorting(page, STALL) == "none"
    for state, order in (("ascending", known), ("descending", known[::-1])):
        page.click(f"{head(STALL)} button")
        assert sorting(page, STALL) == state
        assert values(page, STALL) == [*order, *missing]
        assert status(page) == f"9 of 9 rows, by data stall, s, {state}"
    page.click(f"{head(STALL)} button")
    assert (sorting(page, STALL), values(page, STALL)) == ("none", before)


def test_another_column_takes_over(page: Browser) -> None:
    page.click(f"{head(STALL)} button")
    page.click(f"{head(1)} button")
    assert (sorting(page, STALL), sorting(page, 1)) == ("none", "ascending")
    names = [row[1] for row in rows(page)]
    assert names == sorted(names)


def test_the_keyboard_sorts(page: Browser) -> None:
    page.run("document.querySelector('main h3').scrollIntoView()")
    page.click(tools(page, "input"))
    for _ in range(40):
        page.press("Tab")
        if page.run(f"document.activeElement === document.querySelector('{head(STALL)} button')"):
            break
    else:
        pytest.fail("the button was not reached with the tab key")
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    page.press("Enter")
    assert sorting(page, STALL) == "ascending"
    page.press(" ")
    assert sorting(page, STALL) == "descending"
    page.press("Tab", shift=True)
    assert page.run(f"document.activeElement === document.querySelector('{head(STALL - 1)} button')")


def test_the_first_tab_offers_to_skip_to_the_content(page: Browser) -> None:
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to the content"
    assert page.run("document.activeElement.getBoundingClientRect().left") >= 0
    page.press("Enter")
    assert page.run("location.hash") == "#content"
    assert page.run("document.activeElement.id") == "content"


def test_words_filter_rows_and_the_count_is_told(page: Browser) -> None:
    everything = rows(page)
    assert status(page) == "9 of 9 rows"
    assert page.run(f"document.querySelector('output[for={MAIN}]').role ?? ''") in ("", "status")
    page.click(tools(page, "input"))
    page.type("CIFAR mm")
    assert [row[1] for row in rows(page)] == ["mmap"]
    assert status(page) == "1 of 9 rows"
    page.type("!")
    assert (rows(page), status(page)) == ([], "0 of 9 rows")
    page.run("(i => { i.value = ''; i.dispatchEvent(new Event('input')) })(document.querySelector('#tools input'))")
    assert rows(page) == everything


def test_a_choice_filters_together_with_words_and_a_sort(page: Browser) -> None:
    page.run(f"document.querySelector('{tools(page, 'select')}').focus()")
    options = page.run("[...document.activeElement.options].map(o => o.text)")
    assert options[0] == "all"
    assert len(options) == 3
    page.type("d")
    page.click(f"{head(STALL)} button")
    found = rows(page)
    assert {row[0] for row in found} == {option for option in options if option.startswith("d")}
    assert [row[1].split()[0] for row in found] == ["mmap", "memory", "hdf5", "filesystem", "postgres"]
    page.click("#tools input")
    page.type("faster")
    assert [row[1] for row in rows(page)] == ["mmap", "hdf5"]
    assert status(page) == "2 of 9 rows, by data stall, s, ascending"


def test_a_number_of_one_run_leads_to_its_record(page: Browser) -> None:
    row = 1 + [cells[1].split()[0] for cells in rows(page)].index("memory")
    page.click(f"#{MAIN} tbody tr:nth-child({row}) td:nth-child({STALL + 1}) a")
    until(page, "document.activeElement === document.querySelector(':target')?.closest('details').firstElementChild")
    anchor = page.run("location.hash.slice(1)")
    assert page.run("document.querySelector(':target').closest('details').open")
    until(page, "document.querySelector(':target').textContent")
    document = json.loads(page.run("document.querySelector(':target').textContent"))
    assert (document["run_id"], document["loader"]["name"]) == (anchor, "memory")
    assert 0 <= page.run("document.activeElement.getBoundingClientRect().top") < page.run("innerHeight")


def test_a_number_of_many_runs_leads_to_each_of_their_records(page: Browser) -> None:
    page.run(f"document.querySelector('#{MAIN} tbody tr td:nth-child({STALL + 1}) a').focus()")
    page.press("Enter")
    assert page.run("document.querySelector(':target').tagName") == "LI"
    links = page.run("[...document.querySelectorAll(':target a')].map(a => a.hash.slice(1))")
    assert len(links) == 5
    page.press("Tab")
    assert page.run("document.activeElement.hash.slice(1)") == links[0]
    page.press("Enter")
    until(page, "document.querySelector(':target').textContent")
    document = json.loads(page.run("document.querySelector(':target').textContent"))
    assert (document["run_id"], document["loader"]["name"]) == (links[0], "filesystem")
    assert page.run("document.querySelector(':target').closest('details').open")
    page.run("history.back()")
    until(page, "document.querySelector(':target').tagName === 'LI'")


def test_a_page_opened_at_a_record_shows_it(browser: Browser, pages: dict[Language, Path]) -> None:
    run_id = records()[0].run_id
    browser.open(pages["en"], f"#{run_id}")
    assert browser.run("document.querySelector(':target').closest('details').open")
    browser.open(pages["en"], "#%E0%A4%A")
    assert not browser.complaints()


def test_every_record_can_be_read_back_and_no_text_has_run(page: Browser) -> None:
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    until(page, "[...document.querySelectorAll('pre.record')].every((each) => each.textContent)")
    texts = page.run("[...document.querySelectorAll('pre.record')].map(p => p.textContent)")
    assert [Record.model_validate_json(text) for text in texts] == sorted(
        records(), key=lambda r: [json.loads(text)["run_id"] for text in texts].index(r.run_id)
    )
    assert page.run("typeof window.hacked") == "undefined"
    assert HOSTILE.split("\u2028")[0] in page.run("document.body.textContent")


class Listener(socketserver.BaseRequestHandler):
    """Notes every connection over which anything is said."""

    def handle(self) -> None:
        self.request.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            if said := self.request.recv(100):
                self.server.heard.append(said)  # type: ignore[attr-defined]


ATTEMPTS = (
    "new Image().src = '{url}'",
    "fetch('{url}').catch(() => 0)",
    "document.head.append(Object.assign(document.createElement('script'), {{src: '{url}'}}))",
    "document.head.append(Object.assign(document.createElement('link'), {{rel: 'stylesheet', href: '{url}'}}))",
    "document.body.append(Object.assign(document.createElement('iframe'), {{src: '{url}'}}))",
    "new WebSocket('{url}'.replace('http', 'ws'))",
)


def test_the_policy_stops_every_request(browser: Browser, pages: dict[Language, Path]) -> None:
    """Even if some text did become a script, nothing would leave; and what is refused shows in the console."""
    with socketserver.TCPServer(("127.0.0.1", 0), Listener) as server:
        server.heard = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(pages["en"])
        url = f"http://127.0.0.1:{server.server_address[1]}/x"
        for attempt in ATTEMPTS:
            browser.run(f"(() => {{ try {{ {attempt.format(url=url)} }} catch {{}} return 1 }})()")
        browser.run("new Promise(done => setTimeout(done, 300))")
        server.shutdown()
        assert server.heard == []  # type: ignore[attr-defined]
    assert sum("Content Security Policy" in text for text in browser.complaints()) >= len(ATTEMPTS)


CONTRAST = """(() => {
  const rgba = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor); if (colour[3] === 1) return colour;
    if (colour[3] > 0) return [255, 0, 255, 1] } return [255, 255, 255, 1] };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = getComputedStyle(e).color + " on " + behind(e);
    found[key] = ratio;
  }
  return found;
})()"""


def test_text_stands_out_from_what_is_behind_it(browser: Browser, pages: dict[Language, Path]) -> None:
    """WCAG 2 AA asks for 4.5:1."""
    for dark, paper in ((False, "rgb(252, 251, 248)"), (True, "rgb(20, 23, 26)")):
        browser.appear(dark=dark)
        browser.open(pages["en"])
        browser.run("document.querySelectorAll('details').forEach((d, i) => d.open = i < 2)")
        found = browser.run(CONTRAST)
        assert len(found) >= 4
        assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
        assert browser.run("getComputedStyle(document.body).backgroundColor") == paper


def test_the_page_fits_its_window(browser: Browser, pages: dict[Language, Path]) -> None:
    """Wide tables scroll within themselves, so that the page does not."""
    browser.open(pages["en"])
    for width in (320, 768, 1600):
        browser.appear(width=width, height=800)
        assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
    scrolled = browser.run("document.querySelectorAll('.scroll[tabindex=\"0\"]').length")
    assert scrolled == browser.run("document.querySelectorAll('table').length")


def test_everything_that_can_be_used_has_a_name(page: Browser) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            kinds.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("link", "button", "searchbox", "combobox", "image", "region", "search", "navigation", "table"):
        assert kinds.get(role), role
        assert all(kinds[role]), role
    assert {"columnheader", "rowheader", "status", "main", "banner"} <= kinds.keys()
    assert "Filter of the table Epoch time: ConvNet, warm cache" in kinds["search"]


def test_headings_skip_no_level(page: Browser) -> None:
    levels = page.run("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_print_leaves_out_what_paper_cannot_use(browser: Browser, pages: dict[Language, Path]) -> None:
    browser.appear()
    browser.open(pages["en"])
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "[...document.querySelectorAll('%s')].some(e => e.checkVisibility())"
        for selector in (".tools", "nav", "thead button", "#records"):
            assert not browser.run(visible % selector), selector
        for selector in ("thead .printed", "table", "figure img", ".advice"):
            assert browser.run(visible % selector), selector
        assert browser.run("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
    assert browser.printed().startswith(b"%PDF")


def test_latvian(browser: Browser, pages: dict[Language, Path]) -> None:
    browser.appear()
    browser.open(pages["lv"])
    assert browser.run("document.documentElement.lang") == "lv"
    browser.click(f"{head(1)} button")
    assert status(browser) == "9 no 9 rindām, pēc ielādētājs, augoši"
    assert not browser.complaints()


def test_without_a_browser_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must have"), chromium():
        pass
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="there is no chromium here"), chromium():
        pass
