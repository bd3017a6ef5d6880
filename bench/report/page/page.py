"""Puts the page together."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bench.records import Record
from bench.render.language import Joined, Language, Message, Number, Text, message, translated
from bench.render.table import Table
from bench.report.figures import Picture
from bench.report.groups import Group, groups
from bench.report.page.advice import advise
from bench.report.page.gradients import gradient_tables
from bench.report.page.grid import grid
from bench.report.page.links import Links, minute
from bench.report.page.subject import facts
from bench.report.report import Report
from bench.report.tables.part import parts

FIRST = 6  # recommendations that are shown at once; further ones are folded away
SCRIPT_WORDS = {
    "search": message("Filter rows"),
    "all": message("all"),
    "filter": message("Filter of the table {table}", table="{table}"),
    "shown": message("{shown} of {all} rows", shown="{shown}", all="{all}"),
    "ascending": message(", by {column}, ascending", column="{column}"),
    "descending": message(", by {column}, descending", column="{column}"),
}
"""What the script says; it fills in what is in braces."""


def html(report: Report, tables: Sequence[Table], pictures: Sequence[Picture] = (), drawn: Path | None = None) -> str:
    """The report with these of its tables and figures as one page that loads nothing.

    The figures are drawn unless a folder holds them as PNG already: ``drawn``.

    Raises:
        BenchError: a file of the gradient audit is none.
    """
    language = report.language
    audit = gradient_tables(report.gradients) if report.gradients is not None else []
    images = [_inline(picture, drawn, language) for picture in pictures]
    made = groups(report.records, report.mix)
    links = Links(report.records, made)
    css, js = _file("page.css"), _file("page.js")
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    pairs = {(translated(a, language), translated(b, language)) for table in tables for a, b in table.definitions}
    text = _template(language).render(
        language=language,
        hashes={"style": style, "script": script},
        css=Markup(css),  # noqa: S704  (the package's own)
        js=Markup(js),  # noqa: S704
        script_words={key: translated(text, language) for key, text in SCRIPT_WORDS.items()},
        lede=_lede(report.records),
        groups=[_group(group, report.baseline, links) for group in made],
        FIRST=FIRST,
        foreign=[(item.path.name, item.reason) for item in report.foreign],
        tables=[grid(table, links, language) for table in tables],
        figures=images,
        gradients=[grid(table, links, language) for table in audit],
        definitions=sorted(pairs, key=lambda pair: (pair[0].lower(), pair)),
        links=links,
        packed=_packed([record.json for record in links.records]),
        command=report.command,
    )
    return text.lstrip()


@functools.cache
def _template(language: Language) -> jinja2.Template:
    """The page, whose every text is translated where it is written."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=functools.partial(_written, language=language),
    )
    environment.globals["message"] = message
    return environment.from_string(_file("page.html"))


def _file(name: str) -> str:
    return files("bench.report.page").joinpath(name).read_text(encoding="utf-8")


def _written(value: Any, language: Language) -> Any:
    """A text in the page's language, without control characters and halves of surrogate pairs, which no page holds."""
    text = translated(value, language) if isinstance(value, Message | Joined | Number) else value
    if isinstance(text, Markup) or not isinstance(text, str):
        return text
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _inline(picture: Picture, drawn: Path | None, language: Language) -> dict[str, Any]:
    """A figure as the page holds it: drawn now, or as `Picture.save` wrote it into a folder."""
    data = picture.png(language) if drawn is None else (drawn / f"{picture.key}.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # of a PNG's first chunk
    uri = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    return {"picture": picture, "uri": uri, "width": width, "height": height}


def _packed(texts: Sequence[str]) -> str:
    """A JSON list of them, compressed: they are most of what there is to say, and much alike."""
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode("ascii")


def _lede(records: Sequence[Record]) -> Text:
    days = sorted(minute(record.started_at)[:10] for record in records) or ["-"]
    done = [record for record in records if record.status == "ok"]
    return message(
        "Runs: {runs}, {first} to {last}, and {others} that failed or could not run. Loaders: {loaders}. Datasets: "
        "{datasets}. Every number leads to the records of the runs that it comes from, at the end of this page.",
        runs=Number(len(done), ",d"),
        others=Number(len(records) - len(done), ",d"),
        loaders=", ".join(sorted({record.loader.name for record in done})) or "-",
        datasets=", ".join(sorted({record.config.dataset for record in done})) or "-",
        first=days[0],
        last=days[-1],
    )


def _group(group: Group, baseline: str, links: Links) -> dict[str, Any]:
    trained = [part for part in parts(group, baseline) if part.key.command == "run"]
    advice = [(advice, links.target(group.number, advice.runs)) for part in trained for advice in advise(part)]
    return {"title": group.title, "advice": advice, "facts": facts(group), "notes": group.notes}
