"""All the report says can be said in Latvian, and says the same there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

import bench
from bench.config import CacheState, Model, RateConfig, RunConfig
from bench.records import Record
from bench.render.csv import csv_text
from bench.render.language import Joined, Message, Number, Text, entries, joined, message, translated
from bench.report.groups import NO_MODEL
from bench.report.metrics import METRICS, time_to_accuracy
from bench.report.tables import tables
from bench.report.tables.assemble import CACHES, MODELS, SETTINGS, STATES, VERDICTS
from bench.stats.comparison import Verdict
from tests.record_samples import GPU, a_record, a_whole_sweep

LATVIAN = entries(files("bench.render").joinpath("locale/lv.po").read_text(encoding="utf-8"))
SAME = frozenset(["AU", "CPU", "process", "bench rate", "< resolution ({half})"])
"""Texts that are alike in both languages, or all sign."""


def messages() -> Iterator[str]:
    """Every text that a module or the page hands to ``message``, and those of the metrics, made from parts."""
    yield from re.findall(r'message\("([^"]*)"', (Path(bench.__file__).parent / "report/page/page.html").read_text())
    for path in Path(bench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "message":
                yield from (str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant))
    for metric in [*METRICS.values(), time_to_accuracy(0.5)]:
        about = metric.column.heading, metric.column.unit, metric.column.definition
        yield from (text.text for text in about if isinstance(text, Message))


def test_every_message_has_a_translation_and_every_translation_a_message() -> None:
    assert set(messages()) == LATVIAN.keys()


def test_settings_models_states_and_verdicts_all_have_names() -> None:
    apart = {"command", "loader", "options", "dataset", "model", "cache", "limit", "seed", "repeat", "device", "source"}
    assert set(SETTINGS) == {*RunConfig.model_fields, *RateConfig.model_fields} - apart
    assert set(MODELS) == {NO_MODEL, *get_args(Model)}
    assert set(CACHES) == set(STATES) == set(get_args(CacheState))
    assert set(VERDICTS) == set(get_args(Verdict))


def test_a_translation_has_the_same_places_to_fill_and_no_english() -> None:
    words = {"the", "of", "and", "with", "run", "runs", "epoch", "loader", "batch", "time", "from", "in", "on", "mean"}
    for english, latvian in LATVIAN.items():
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, latvian)]
        assert places[0] == places[1], english
        assert english.count("`") == latvian.count("`"), english
        assert not english.endswith(".") or latvian.endswith("."), english
        assert latvian.strip(" ") == latvian or english.strip(" ") != english, english
        assert english != latvian or english in SAME, english
        assert not words & set(re.findall(r"\w+", re.sub(r"`.*?`|\{\w+\}", "", latvian))), latvian


def test_texts_are_put_together_in_each_language() -> None:
    text = message("{count} of {total} runs failed", count=Number(1234.5, ",.1f"), total=7)
    both = joined(["mmap", "", text], ": ")
    assert translated(both, "en") == "mmap: 1,234.5 of 7 runs failed"
    assert translated(both, "lv") == "mmap: neizdevās 1\N{NO-BREAK SPACE}234,5 no 7 izpildēm"
    assert (joined([]), joined(["", "a"])) == ("", "a")
    sentence = Joined((message("warm cache"), "epochs 3"), ", ", is_sentence=True)
    assert translated(sentence, "lv") == "Silta kešatmiņa, epochs 3."
    for value, format_, english, latvian in ((-0.5, ".1f", "-0.5", "-0,5"), (5, ",", "5", "5")):
        assert [translated(Number(value, format_), language) for language in ("en", "lv")] == [english, latvian]
    assert len({text, both, message("{count} of {total} runs failed", count=1, total=7)}) == 3
    with pytest.raises(KeyError):
        translated(Message("nobody translated this"), "lv")


def test_tables_say_all_they_say_in_latvian() -> None:
    documents = [*a_whole_sweep(0, 5), *a_whole_sweep(1, 5, "cuda")]
    records = [Record.model_validate(document) for document in documents]
    records += [
        a_record("memory", status="failed", error="lost", epochs=[]),
        a_record("postgres", config={"options": {"encoding": "jpeg"}}),
        a_record("postgres", config={"device": "cuda"}, environment={"device": "cuda", "gpu": GPU, "kernel": "1"}),
    ]
    for table in tables(records):
        headings = [column.heading for column in table.columns]
        told = [table.title, table.caption, *headings, *(c.definition for c in table.columns if c.definition)]
        same = {english for text in told if (english := in_english(text)) == translated(text, "lv")}
        assert same <= SAME | {"p"}, table.key
        assert len(csv_text(table, "lv").splitlines()) == len(csv_text(table).splitlines()) == len(table.rows) + 1
        assert csv_text(table, "lv").splitlines()[0] == csv_text(table).splitlines()[0]


def in_english(text: Text) -> str:
    return translated(text, "en")
