"""All the report says can be said in Latvian, and says the same there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import bench.render
import bench.report
from bench.config import CacheState, RateConfig, RunConfig
from bench.records import Record
from bench.render.language import number, say
from bench.render.latvian import LATVIAN
from bench.render.table import Table
from bench.report.metrics import METRICS, time_to_accuracy
from bench.report.tables import tables
from bench.report.tables.assemble import _CACHES, MODELS, SETTINGS
from bench.report.tables.simple import ENERGY_SOURCES
from bench.stats.comparison import Verdict
from tests.record_samples import GPU, a_record, a_whole_sweep

REPORT = Path(bench.report.__file__).parent
RENDER = Path(bench.render.__file__).parent
SAME = frozenset(
    ["s", "ms", "%", "B", "MB", "J", "W", "p", "AU", "CPU", "process", "bench rate", "< resolution ({half})"]
)
"""Texts that are alike in both languages, or all sign."""


def spoken() -> Iterator[str]:
    """Every text that the tables' code hands to ``say``, or keeps for it."""
    for path in [*REPORT.glob("*.py"), *(REPORT / "tables").glob("*.py"), *RENDER.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                yield from (str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant))
            # A note for later is a pair of text and what to fill in.
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
                yield from (text for text in [str(node.elts[0].value)] if re.search(r"\{(count|list)\}", text))
    for metric in [*METRICS.values(), time_to_accuracy(0.5)]:
        yield from (metric.name, metric.definition, *([metric.unit] if metric.unit else []))
    yield from ENERGY_SOURCES.values()
    yield from [*SETTINGS.values(), *_CACHES.values(), *get_args(Verdict), *get_args(CacheState)]
    yield from ["failed", "unavailable", "MB"]


def test_every_text_has_a_translation_and_every_translation_a_text() -> None:
    assert set(spoken()) == set(LATVIAN)


def test_settings_and_models_all_have_names() -> None:
    kept_apart = {
        "command",
        "loader",
        "options",
        "dataset",
        "model",
        "cache",
        "limit",
        "seed",
        "repeat",
        "device",
        "source",
    }
    assert set(SETTINGS) == {*RunConfig.model_fields, *RateConfig.model_fields} - kept_apart
    assert set(MODELS) == set(get_args(RunConfig.model_fields["model"].annotation))
    assert set(_CACHES) == set(get_args(CacheState))


@pytest.mark.parametrize("english", sorted(LATVIAN))
def test_a_translation_has_the_same_places_to_fill(english: str) -> None:
    latvian = LATVIAN[english]
    places = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, latvian)]
    assert places[0] == places[1]
    assert english.count("`") == latvian.count("`")
    assert not english.endswith(".") or latvian.endswith(".")
    assert latvian.strip() == latvian
    if english not in SAME:
        assert english != latvian


def test_no_translation_is_left_in_english() -> None:
    words = {"the", "of", "and", "with", "run", "runs", "epoch", "loader", "batch", "time", "from", "in", "on", "mean"}
    assert {text for text in LATVIAN.values() if words & set(re.findall(r"\w+", re.sub("`.*?`", "", text)))} == set()


def test_an_unknown_text_is_an_error() -> None:
    with pytest.raises(KeyError):
        say("nobody translated this", "lv")


@pytest.mark.parametrize(
    ("value", "format_", "english", "latvian"),
    [(1234567.891, ",.2f", "1,234,567.89", "1 234 567,89"), (-0.5, ".1f", "-0.5", "-0,5"), (5, ",", "5", "5")],
)
def test_numbers_are_written_as_each_language_does(value: float, format_: str, english: str, latvian: str) -> None:
    assert number(value, format_, "en") == english
    assert number(value, format_, "lv").replace("\N{NO-BREAK SPACE}", " ") == latvian


def both() -> list[tuple[Table, Table]]:
    documents = [*a_whole_sweep(0, 5), *a_whole_sweep(1, 5, "cuda")]
    records = [Record.model_validate(document) for document in documents]
    records += [
        a_record("memory", status="failed", error="lost", epochs=[]),
        a_record("postgres", config={"options": {"encoding": "jpeg"}}),
        a_record("postgres", config={"device": "cuda"}, environment={"device": "cuda", "gpu": GPU, "kernel": "1"}),
    ]
    return list(zip(tables(records), tables(records, language="lv"), strict=True))


def test_tables_are_alike_in_all_but_the_text() -> None:
    for english, latvian in both():
        assert (english.key, english.label, english.kind) == (latvian.key, latvian.label, latvian.kind)
        assert [c.key for c in english.columns] == [c.key for c in latvian.columns]
        assert len(english.rows) == len(latvian.rows)
        assert len(english.notes) == len(latvian.notes)
        for ours, theirs in zip(english.rows, latvian.rows, strict=True):
            for column in english.columns:
                a, b = ours[column.key], theirs[column.key]
                assert (a.number, a.low, a.high, a.mark, a.runs) == (b.number, b.low, b.high, b.mark, b.runs)
                assert bool(a.text) == bool(b.text)


def test_headings_captions_and_definitions_are_translated() -> None:
    for english, latvian in both():
        assert english.title != latvian.title
        assert english.caption != latvian.caption
        for ours, theirs in zip(english.columns, latvian.columns, strict=True):
            assert ours.heading in SAME or ours.heading != theirs.heading, ours.heading
            assert not ours.definition or ours.definition != theirs.definition
