"""Puts the page together and writes it."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from bench.errors import BenchError
from bench.records import Foreign, Record
from bench.render.language import Language, Text, translated
from bench.render.table import Table
from bench.render.whole import write_whole
from bench.report.figures import Picture
from bench.report.groups import Group, groups
from bench.report.page.advice import Advice, advise
from bench.report.page.gradients import gradient_tables
from bench.report.page.grid import grid
from bench.report.page.links import Links, minute
from bench.report.page.pictures import Inline, inline
from bench.report.page.subject import facts
from bench.report.page.words import Words
from bench.report.tables import BASELINE
from bench.report.tables.part import digests, parts

NAMES: dict[Language, str] = {"en": "report.html", "lv": "report-lv.html"}
FIRST = 6
"""Recommendations that are shown at once; further ones are folded away."""
_SCRIPT_WORDS = ("search", "all", "filter", "shown", "ascending", "descending")


class _Advice(NamedTuple):
    """An `Advice` with the id that leads to its runs."""

    about: str
    pick: str
    sentences: tuple[str, str]
    basis: str
    is_decided: bool
    href: str | None


def write_html(
    tables: Sequence[Table],
    records: Sequence[Record],
    pictures: Sequence[Picture],
    folder: Path,
    *,
    command: str,
    baseline: str = BASELINE,
    language: Language = "en",
    mix: bool = False,
    foreign: Iterable[Foreign] = (),
    drawn: Path | None = None,
    gradients: Path | None = None,
) -> Path:
    """Write ``report.html``, in Latvian ``report-lv.html``: one file that loads nothing.

    Args:
        tables: those of the records, with the same ``baseline``, ``language`` and ``mix``.
        records: all that were read, also those that no table shows.
        pictures: the figures of the same records, in the same language.
        folder: where to.
        command: what made the page, for its foot.
        baseline: name of the loader that needs no conversion.
        language: of the page.
        mix: whether records of different environments were put into one group.
        foreign: files that were no records; they are named.
        drawn: folder that holds the figures as PNG already; they are drawn if it is None.
        gradients: folder of `bench gradcheck`'s files; what it does not hold is left out.

    Raises:
        BenchError: the folder cannot be written, or a file of the gradient audit is none.
    """
    words = Words(language)
    audit = gradient_tables(gradients, words) if gradients is not None else []
    try:
        text = render(
            tables,
            records,
            list(inline(pictures, drawn)),
            command=command,
            baseline=baseline,
            words=words,
            mix=mix,
            foreign=foreign,
            audit=audit,
        )
        path = write_whole(folder / NAMES[language], text)
    except OSError as error:
        raise BenchError(f"cannot write the report into {folder}: {error.strerror}; choose another folder") from error
    return path


def render(
    tables: Sequence[Table],
    records: Sequence[Record],
    pictures: Sequence[Inline],
    *,
    command: str,
    baseline: str,
    words: Words,
    mix: bool = False,
    foreign: Iterable[Foreign] = (),
    audit: Sequence[Table] = (),
) -> str:
    """The page's text; what `write_html` writes."""
    made = groups(records, mix)
    links = Links(records, made, words.language)
    shown_groups = [_group(group, baseline, links, words) for group in made]
    shown_tables = [grid(table, links, words.language) for table in tables]
    shown_audit = [grid(table, links, words.language) for table in audit]
    definitions = sorted(
        {pair for table in tables for pair in _definitions(table, words.language)}, key=lambda pair: pair[0].lower()
    )
    css, js = _file("page.css"), _file("page.js")
    text = _template().render(
        language=words.language,
        policy=policy(css, js),
        css=Markup(css),  # noqa: S704  (the package's own)
        js=Markup(js),  # noqa: S704
        words=words,
        script_words={key: words[key] for key in _SCRIPT_WORDS},
        lede=_lede(records, words),
        groups=shown_groups,
        FIRST=FIRST,
        foreign=[(item.path.name, item.reason) for item in foreign],
        tables=shown_tables,
        figures=pictures,
        gradients=shown_audit,
        definitions=definitions,
        contents=_contents(tables, pictures, audit, bool(definitions), words),
        records=links.records,
        sets=list(links.sets.values()),
        command=command,
    )
    return text.lstrip()


def policy(css: str, js: str) -> str:
    """A Content-Security-Policy that allows this style, this script and inline images, and nothing to be loaded."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable
    )
    return environment.from_string(_file("page.html"))


def _file(name: str) -> str:
    return files("bench.report.page").joinpath(name).read_text(encoding="utf-8")


def _printable(value: Any) -> Any:
    """Text without what HTML or UTF-8 cannot hold: control characters and halves of surrogate pairs."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", value)


def _lede(records: Sequence[Record], words: Words) -> str:
    days = sorted(minute(record.started_at)[:10] for record in records) or ["-"]
    return words.fill(
        "lede",
        runs=len(records),
        loaders=len({record.loader.name for record in records}),
        datasets=len({record.config.dataset for record in records}),
        first=days[0],
        last=days[-1],
    )


def _group(group: Group, baseline: str, links: Links, words: Words) -> dict[str, Any]:
    language = words.language
    given = digests(group)
    trained = [part for part in parts(group, baseline) if part.key.command == "run"]
    found = [advice for part in trained for advice in advise(part, given, words)]
    return {
        "title": translated(group.title, language),
        "advice": [_advice(advice, group.title, links) for advice in found],
        "more": words.fill("more", count=max(0, len(found) - FIRST)),
        "facts": facts(group, words),
        "notes": [translated(note, language) for note in group.notes],
    }


def _advice(advice: Advice, environment: Text, links: Links) -> _Advice:
    href = links.target(environment, advice.runs)
    return _Advice(advice.about, advice.pick, advice.sentences, advice.basis, advice.is_decided, href)


def _definitions(table: Table, language: Language) -> list[tuple[str, str]]:
    return [(translated(title, language), translated(definition, language)) for title, definition in table.definitions]


def _contents(
    tables: Sequence[Table], pictures: Sequence[Inline], audit: Sequence[Table], has_definitions: bool, words: Words
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Sections with their ids and titles, and what stands in them."""
    found = [
        ("recommendation", []),
        ("subject", []),
        ("tables", [(table.key, translated(table.title, words.language)) for table in tables]),
        *([("figures", [(picture.key, picture.title) for picture in pictures])] if pictures else []),
        *([("gradients", [(table.key, translated(table.title, words.language)) for table in audit])] if audit else []),
        *([("definitions", [])] if has_definitions else []),
        ("records", []),
    ]
    return [(key, words[key], inner) for key, inner in found]
